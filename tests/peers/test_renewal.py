"""Tokens that end, and the refresh token that gives another: RFC 6749, section 6, over real HTTP."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from favsync.core.errors import Unavailable
from favsync.peering import Renewal
from favsync.peers import attempt
from favsync.store import links
from tests.peers.conftest import Serve, Service, peer
from tests.peers.test_third_parties import Start
from tests.peers.third_party import ThirdParty, until

pytestmark = pytest.mark.usefixtures("quick")

DATE = "2026-01-01T00:00:00.000Z"
SECRET = "our secret & so on"


@dataclass
class Tokens:
    """Whoever gives tokens for a third party: each refresh token once, and a new one with each answer."""

    party: ThirdParty
    asked: list[dict[str, Any]] = field(default_factory=list)
    given: int = 0
    rotates: bool = True
    instead: Callable[[], Awaitable[web.Response]] | None = None
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        self.asked.append(form)
        if self.instead is not None:
            return await self.instead()
        if form["refresh_token"] != (f"refresh-{self.given}" if self.rotates else "refresh-0"):
            return web.json_response({"error": "invalid_grant"}, status=400)
        self.given += 1
        self.party.tokens = {f"token-{self.given}": "ann"}
        rotated = {"refresh_token": f"refresh-{self.given}"} if self.rotates else {}
        return web.json_response({"access_token": f"token-{self.given}", "token_type": "Bearer"} | rotated)


def always(body: object, status: int = 400, **headers: str) -> Callable[[], Awaitable[web.Response]]:
    async def answer() -> web.Response:
        return web.json_response(body, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return answer


@pytest.fixture
async def tokens(third_party: Start) -> Any:
    made = Tokens(await third_party(tokens={}))
    app = web.Application()
    app.router.add_post("/token", made.answer)
    server = TestServer(app)
    await server.start_server()
    made.url = str(server.make_url("/token"))
    yield made
    await server.close()


async def linked(serve: Serve, tokens: Tokens, **values: Any) -> Service:
    """With a token that has ended, and a record to send."""
    given = {"renewal": Renewal(tokens.url, "us", SECRET)} | values
    service = await serve(peer(tokens.party.url, **given))
    await service.edit("ours", DATE)
    await service.link(token="token-0", refreshToken="refresh-0")
    return service


async def test_a_token_is_renewed_again_and_again(serve: Serve, tokens: Tokens) -> None:
    """Each time with the refresh token that came with the last answer: those before have ended."""
    service = await linked(serve, tokens)
    await until(lambda: tokens.party.has.get("ann"))
    for number in range(3):
        tokens.party.tokens = {}
        await service.edit(f"more-{number}", DATE)
        await until(functools.partial(_has, tokens.party, f"more-{number}"))
    assert [form["refresh_token"] for form in tokens.asked] == [f"refresh-{number}" for number in range(4)]
    assert {(form["grant_type"], form["client_id"], form["client_secret"]) for form in tokens.asked} == {
        ("refresh_token", "us", SECRET)
    }
    assert await service.fault() is None


def _has(party: ThirdParty, item: str) -> bool:
    return item in party.has["ann"]


async def test_tokens_that_end_twice_in_a_cycle_are_both_kept(serve: Serve, tokens: Tokens) -> None:
    """The GET is answered 401, and the POST after it again: of two rotated refresh tokens the second one is kept."""
    ended: list[str] = []

    async def ends(request: web.Request) -> web.StreamResponse | None:
        if request.method == "POST" and not ended:
            ended.append("")
            tokens.party.tokens = {}
            return web.Response(status=401)
        return None

    tokens.party.instead = ends
    service = await linked(serve, tokens)
    await until(lambda: tokens.party.has.get("ann"))
    assert tokens.given == 2
    tokens.party.tokens = {}
    await service.edit("more", DATE)
    await until(lambda: len(tokens.party.has["ann"]) == 2)
    assert (tokens.given, await service.fault()) == (3, None)


async def test_a_refresh_token_that_stays_is_used_again(serve: Serve, tokens: Tokens) -> None:
    tokens.rotates = False
    service = await linked(serve, tokens)
    await until(lambda: tokens.party.has.get("ann"))
    tokens.party.tokens = {}
    await service.edit("more", DATE)
    await until(lambda: len(tokens.party.has["ann"]) == 2)
    assert [form["refresh_token"] for form in tokens.asked] == ["refresh-0", "refresh-0"]


async def test_a_403_is_renewed_too_once(serve: Serve, tokens: Tokens) -> None:
    async def forbids(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=403) if request.headers["Authorization"].endswith("token-0") else None

    tokens.party.instead = forbids
    service = await linked(serve, tokens)
    await until(lambda: tokens.party.has.get("ann"))

    async def forbids_all(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=403)

    tokens.party.instead = forbids_all
    await service.edit("more", DATE)
    await until(service.waits)
    assert tokens.given == 2


@pytest.mark.parametrize(
    "answer",
    [always({"error": "invalid_grant"}), always({"error": "invalid_grant"}, 401), always({}, 401), always({}, 403)],
    ids=["400 with the code", "401 with the code", "401", "403"],
)
async def test_a_refresh_token_that_has_ended_waits_for_a_new_one(
    answer: Callable[[], Awaitable[web.Response]], serve: Serve, tokens: Tokens
) -> None:
    tokens.instead = answer
    service = await linked(serve, tokens)
    await until(service.waits)
    assert await service.fault() == "it answered 401"
    await asyncio.sleep(0.5)
    assert len(tokens.asked) == 1
    tokens.instead = None
    await service.link(token="token-0", refreshToken="refresh-0")
    await until(lambda: tokens.party.has.get("ann"))
    assert not await service.waits()


DOWN = {
    "500": (always({}, 500), "it answered 500"),
    "a page": (always("<html>", 200), "it answered without one"),
    "no token": (always({"token": "token-1"}, 200), "it answered without one"),
    "a token that none can send": (always({"access_token": "two words"}, 200), "it answered without one"),
    "we are not known": (always({"error": "invalid_client"}, 401), "it answered 401: invalid_client"),
    "a 400 without a reason": (always([], 400), "it answered 400"),
    "a redirect": (
        always({}, 307, Location="http://169.254.169.254/"),
        "it answered 307, a redirect: none is followed",
    ),
}


@pytest.mark.parametrize("kind", DOWN)
async def test_whoever_gives_tokens_may_be_down(kind: str, serve: Serve, tokens: Tokens) -> None:
    """That is no reason to have users log in again."""
    tokens.instead, reason = DOWN[kind]
    service = await linked(serve, tokens)
    await until(service.fault)
    await until(lambda: len(tokens.asked) > 1)
    state = await service.state()
    assert (state["needsLogin"], state["lastError"]["detail"]) == (False, f"whoever gives tokens: {reason}")
    tokens.instead = None
    await until(lambda: tokens.party.has.get("ann"))


async def test_nobody_there_who_gives_tokens(serve: Serve, tokens: Tokens) -> None:
    service = await linked(serve, tokens, renewal=Renewal("http://127.0.0.1:9/token", "us", SECRET))
    await until(service.fault)
    state = await service.state()
    assert (state["needsLogin"], state["failures"] > 0) == (False, True)


async def test_whoever_gives_tokens_is_asked_again_when_they_say(serve: Serve, tokens: Tokens) -> None:
    tokens.instead = always({}, 503, Retry_After="2")
    service = await linked(serve, tokens)
    await until(service.fault)
    await asyncio.sleep(1.2)
    assert len(tokens.asked) == 1
    tokens.instead = None
    await until(lambda: tokens.party.has.get("ann"))


async def test_who_gives_tokens_may_be_down_without_the_peer(serve: Serve, tokens: Tokens) -> None:
    """Links whose tokens are good go on."""
    tokens.instead = always({}, 500)
    service = await linked(serve, tokens)
    for number in range(8):
        await service.link(user=f"user-{number}", token=f"ended-{number}", refreshToken=f"refresh-of-{number}")
    await until(lambda: len(tokens.asked) > 8)
    tokens.party.tokens = {"good": "bob"}
    await service.edit("ours", DATE, user="bob")
    await service.link(user="bob", token="good")
    await until(lambda: tokens.party.has.get("bob"), timeout_s=3)


async def test_a_renewal_is_kept_whatever_happens_to_the_cycle(serve: Serve, tokens: Tokens) -> None:
    """The service stops while the answer with the new refresh token is under way."""
    under_way = asyncio.Event()

    async def slow() -> web.Response:
        under_way.set()
        await asyncio.sleep(0.5)
        tokens.instead = None
        tokens.given = 1
        tokens.party.tokens = {"token-1": "ann"}
        return web.json_response({"access_token": "token-1", "refresh_token": "refresh-1"})

    tokens.instead = slow
    service = await linked(serve, tokens)
    await under_way.wait()
    await service.stop()
    again = await serve(peer(tokens.party.url, renewal=Renewal(tokens.url, "us", SECRET)))
    await until(lambda: tokens.party.has.get("ann"), timeout_s=5)
    assert await again.fault() is None
    assert len(tokens.asked) == 1


async def test_a_renewal_is_kept_once_our_database_is_back(
    serve: Serve, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "KEPT_PAUSE_S", 0.05)
    kept, failures = links.renewed, iter([True, True])

    async def away(*args: Any) -> None:
        if next(failures, False):
            raise Unavailable
        await kept(*args)

    monkeypatch.setattr(links, "renewed", away)
    service = await linked(serve, tokens)
    await until(lambda: tokens.party.has.get("ann"))
    tokens.party.tokens = {}
    await service.edit("more", DATE)
    await until(lambda: len(tokens.party.has["ann"]) == 2)
    assert [form["refresh_token"] for form in tokens.asked] == ["refresh-0", "refresh-1"]


async def test_a_renewal_does_not_undo_a_new_token(serve: Serve, tokens: Tokens) -> None:
    """The user gives another one while the cycle that renews the old one is under way."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow() -> web.Response:
        asked.set()
        await go.wait()
        return web.json_response({"access_token": "renewed", "refresh_token": "refresh-1"})

    tokens.instead = slow
    service = await linked(serve, tokens)
    await asked.wait()
    tokens.party.tokens = {"given": "ann"}
    await service.link(token="given")
    go.set()
    await until(lambda: tokens.party.has.get("ann"))
    await service.edit("more", DATE)
    await until(lambda: len(tokens.party.has["ann"]) == 2)
    assert await service.fault() is None
