"""Peers that do what they should not, over real HTTP: refused, counted, waited for. Nothing is lost, nobody waits."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web

from favsync.core import timestamp
from favsync.peers import attempt, findings, patience
from tests.peers.conftest import INTERVAL_S, Serve, Service, peer
from tests.peers.test_third_parties import Start, live
from tests.peers.third_party import ThirdParty, until

DATE = "2026-01-01T00:00:00.000Z"


def says(status: int, text: str = "", **headers: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status, text=text, headers={name.replace("_", "-"): v for name, v in headers.items()}
        )

    return answer


async def linked(serve: Serve, party: ThirdParty, **values: Any) -> Service:
    """A service with a record of its own, and a link that is not to go at once."""
    service = await serve(peer(party.url, **values))
    await service.edit("ours", DATE)
    await service.link()
    return service


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_that_has_ended_waits_for_a_new_one(
    status: int, serve: Serve, third_party: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    party = await third_party()

    async def names_somebody(_request: web.Request) -> web.StreamResponse:
        problem = {"detail": "this token of Ann Smith has ended"}
        return web.json_response(problem, status=status, content_type="application/problem+json")

    party.instead = names_somebody
    service = await linked(serve, party)
    await until(service.waits)
    state = await service.state()
    said = f"it answered {status}: this token of Ann Smith has ended"
    assert (state["nextAt"], state["lastError"]["detail"]) == (None, said)
    asked = len(party.requests)
    await service.edit("more", DATE)
    await asyncio.sleep(1.5)
    assert len(party.requests) == asked, "and is not asked again"
    log = "".join(capsys.readouterr())
    assert (log.count("a link needs a new token"), log.count(f"status={status}"), "Smith" in log) == (1, 1, False)
    party.instead, party.tokens = None, {"a new token": "ann"}
    await service.link(token="a-new-token")
    party.tokens = {"a-new-token": "ann"}
    await until(lambda: len(party.has.get("ann", {})) == 2)
    assert (await service.state())["needsLogin"] is False


@pytest.mark.parametrize(("method", "as_date"), [("GET", False), ("POST", True)], ids=["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.usefixtures("quick")
async def test_who_is_busy_is_asked_again_when_it_says(
    method: str, status: int, as_date: bool, serve: Serve, third_party: Start
) -> None:
    party = await third_party()
    times: list[float] = []

    async def busy(request: web.Request) -> web.StreamResponse | None:
        if request.method != method:
            return None
        times.append(time.monotonic())
        when = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True) if as_date else "2"
        return web.Response(status=status, headers={"Retry-After": when}) if len(times) == 1 else None

    party.instead = busy
    service = await linked(serve, party)
    await until(service.fault)
    assert await service.fault() == f"it answered {status}"
    await service.edit("more", DATE)  # which does not hurry it
    await until(lambda: len(party.has.get("ann", {})) == 2)
    assert times[1] - times[0] >= 1.9  # a date is of whole seconds
    await until(lambda: _recovered(service))


async def test_a_user_who_asks_too_often_is_no_matter_of_others(serve: Serve, third_party: Start) -> None:
    party = await third_party(tokens={"token-of-ann": "ann", "token-of-bob": "bob"})

    async def busy(request: web.Request) -> web.StreamResponse | None:
        if request.headers["Authorization"].endswith("bob"):
            return web.Response(status=429, headers={"Retry-After": "3600"})
        return None

    party.instead = busy
    service = await serve(peer(party.url))
    await service.link(user="bob")
    await until(lambda: service.fault(user="bob"))
    await service.edit("ours", DATE)
    await service.link()
    await until(lambda: party.has.get("ann"))


BAD = {
    "a page for people": (says(200, "<html>Welcome", Content_Type="text/html"), "the answer is HTML, and not JSON"),
    "half a JSON": (says(200, '[{"item": "a", "actio'), "the answer is no JSON, or not all of it"),
    "no list": (says(200, '{"records": []}'), "the answer is JSON, and no list of records"),
    "a part": (says(206, "[]", Content_Range="items 0-0/9"), "it answered 206, which is no whole list"),
    "nothing": (says(200), "the answer is empty"),
    "a fault": (says(500), "it answered 500"),
    "not there": (says(404), "it answered 404"),
    "304 unasked": (says(304), "it answered 304, and was not asked whether anything changed"),
    "a million records": (says(200, "[" + "0," * 10**6 + "0]"), "the list has more than 100000 records"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.usefixtures("quick")
async def test_what_is_no_answer_changes_nothing(bad: str, serve: Serve, third_party: Start) -> None:
    party = await third_party()
    party.instead, reason = BAD[bad]
    service = await linked(serve, party)
    await until(service.fault)
    state = await service.state()
    assert (state["needsLogin"], state["failures"] > 0, live(await service.has())) == (False, True, ["ours"])
    assert (state["lastError"]["detail"], state["lastSync"], state["counts"]) == (reason, None, None)
    party.instead = None
    await until(lambda: party.has.get("ann"))
    await until(lambda: _recovered(service))


async def _recovered(service: Service) -> bool:
    state = await service.state()
    return (state["failures"], state["lastError"]) == (0, None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.usefixtures("quick")
async def test_a_redirect_leads_nowhere(status: int, serve: Serve, third_party: Start) -> None:
    """Neither to a private address nor to any other, with the user's token least of all."""
    party, elsewhere = await third_party(), await third_party()
    party.instead = says(status, Location=f"{elsewhere.url}/getUserFavorites")
    service = await linked(serve, party)
    await until(service.fault)
    assert await service.fault() == f"it answered {status}, a redirect: none is followed"
    await asyncio.sleep(0.3)
    assert elsewhere.requests == []


@pytest.mark.usefixtures("quick")
async def test_a_link_to_the_next_page_leads_nowhere_else(serve: Serve, third_party: Start) -> None:
    party, elsewhere = await third_party(), await third_party()
    party.instead = says(200, "[]", Link=f'<{elsewhere.url}/getUserFavorites?page=2>; rel="next"')
    service = await linked(serve, party)
    await until(service.fault)
    assert elsewhere.requests == []


@pytest.mark.usefixtures("quick")
async def test_pages_without_end_come_to_one(serve: Serve, third_party: Start) -> None:
    party = await third_party()
    party.instead = says(200, "[]", Link='</getUserFavorites?page=again>; rel="next"')
    service = await linked(serve, party)
    await until(service.fault)
    assert await service.fault() == "the list has more than 100 pages"


@pytest.mark.usefixtures("quick")
async def test_large_pages_come_to_an_end_together(
    serve: Serve, third_party: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "LIST_BYTES_MAX", 1000)
    party = await third_party()
    party.instead = says(200, f"[{' ' * 398}]", Link='</getUserFavorites?page=again>; rel="next"')
    service = await linked(serve, party)
    await until(service.fault)
    assert await service.fault() == "the list has more than 1000 bytes"


async def test_a_name_that_stands_for_a_private_address_is_not_called(serve: Serve, third_party: Start) -> None:
    """As an https peer is: the connection itself is refused, whatever the name says."""
    party = await third_party()
    port = party.url.rpartition(":")[2]
    service = await serve(peer(f"https://localhost:{port}"))
    await service.link()
    await until(service.fault)
    assert await service.fault() == "the name stands for an address that is not allowed"
    assert party.requests == []


async def test_an_answer_that_trickles_is_given_up(serve: Serve, third_party: Start) -> None:
    party = await third_party()

    async def trickles(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(200):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    party.instead = trickles
    service = await linked(serve, party, timeout_s=0.5)
    await until(service.fault, timeout_s=5)
    assert live(await service.has()) == ["ours"]


async def test_an_endless_answer_ends(serve: Serve, third_party: Start) -> None:
    party = await third_party()
    sent: list[int] = []

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while len(sent) < 10_000:
            await response.write(b"[" * 65536)
            sent.append(65536)
        return response

    party.instead = endless
    service = await linked(serve, party)
    await until(service.fault, timeout_s=30)
    assert await service.fault() == "the answer has more than 16777216 bytes"
    assert sum(sent) < 64 * 2**20, "what is under way may be more than what is read, but not for ever"


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_record_that_is_refused_is_found_and_waits_for_its_change(
    status: int, serve: Serve, third_party: Start
) -> None:
    party = await third_party()

    async def picky(request: web.Request) -> web.StreamResponse | None:
        if request.method == "POST" and any(
            one["item"] == "bad" and one["actionDate"] == DATE for one in await request.json()
        ):
            return web.Response(status=status)
        return None

    party.instead = picky
    service = await serve(peer(party.url, batch=16))
    await service.edit("bad", DATE)
    for number in range(20):
        await service.edit(f"good-{number}", DATE)
    await service.link()

    async def parked() -> bool:
        counts = (await service.state())["counts"]
        return counts is not None and (counts["parked"], counts["sent"]) == (1, 20)

    await until(parked)
    assert len(party.has["ann"]) == 20
    assert party.posts() <= 10, "16, of them 8, 4, 2 and 1 with it, as many without, and the other 5"
    requests, lists = party.posts(), len(party.conditions)
    await service.edit("another", DATE)  # and it is not tried with others
    await until(lambda: len(party.has["ann"]) == 21)
    await until(lambda: len(party.conditions) > lists + 3)
    assert party.posts() == requests + 1
    await service.edit("bad", "2026-01-02T00:00:00.000Z")
    await until(lambda: "bad" in party.has["ann"])


@pytest.mark.usefixtures("quick")
async def test_one_that_ignores_what_it_is_sent_and_fails_after_it_is_not_sent_it_for_ever(
    serve: Serve, third_party: Start
) -> None:
    party = await third_party(ignores=True)

    async def fails_after_a_post(request: web.Request) -> web.StreamResponse | None:
        after = bool(party.requests) and party.requests[-1][0] == "POST"
        return web.Response(status=500) if request.method == "GET" and after else None

    party.instead = fails_after_a_post
    service = await linked(serve, party)
    await until(lambda: party.posts() == 3)
    seen = len(party.conditions)
    await until(lambda: len(party.conditions) > seen + 5)
    assert party.posts() == 3
    state = await service.state()
    assert (state["counts"]["parked"], state["failures"]) == (1, 0)


@pytest.mark.usefixtures("quick")
async def test_one_that_ignores_what_it_is_sent_and_then_fails_is_not_sent_it_for_ever(
    serve: Serve, third_party: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PROBE_MAX_S", 0.1)
    party = await third_party(ignores=True)
    fails = {"item": "second", "actionDate": DATE, "action": "ADD"}

    async def fails_at_the_second(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=500) if request.method == "POST" and await request.json() == [fails] else None

    party.instead = fails_at_the_second
    service = await serve(peer(party.url, batch=1))
    await service.edit("first", DATE)
    await service.edit("second", DATE)
    await service.link()
    await until(lambda: len(party.conditions) > 6)
    assert len(party.bodies) == 3


async def test_what_is_future_there_is_sent_when_its_time_has_come(serve: Serve, third_party: Start) -> None:
    """As a service like this one says it whose clock is behind. It is not parked before that."""
    party = await third_party()
    due_s = time.time() + 4

    async def early(request: web.Request) -> web.StreamResponse | None:
        if request.method != "POST" or time.time() >= due_s:
            return None
        told = [{"item": one["item"], "outcome": "future"} for one in await request.json()]
        return web.json_response({"receipts": told})

    party.instead = early
    service = await serve(peer(party.url))
    await service.edit("ours", timestamp.render_ms(int(due_s * 1000)))
    await service.link()
    await until(lambda: party.posts() == 1)
    await asyncio.sleep(5 * INTERVAL_S)
    assert party.posts() == 1, "it is not asked at each interval"
    await until(lambda: party.has.get("ann"))


@pytest.mark.parametrize("status", [400, 409, 422])
async def test_a_tie_that_is_refused_aloud_gets_a_later_date_once(
    status: int, serve: Serve, third_party: Start
) -> None:
    party = await third_party(newer_only=True)

    async def refuses_ties(request: web.Request) -> web.StreamResponse | None:
        if request.method == "GET":
            return None
        has = {one["item"]: one["actionDate"] for one in party.shown()}
        old = any(one["actionDate"] <= has.get(one["item"], "") for one in await request.json())
        return web.Response(status=status) if old else None

    party.instead = refuses_ties
    party.edit("tie", DATE)
    service = await serve(peer(party.url))
    await service.edit("tie", DATE, deleted=True)
    await service.link()
    await until(lambda: party.has["ann"]["tie"].deleted)
    assert (await service.has())[0]["actionDate"] == "2026-01-01T00:00:00.001Z"
    assert party.posts() == 2


@pytest.mark.usefixtures("quick")
async def test_what_is_refused_is_found_though_the_peer_is_busy_after_a_few_requests(
    serve: Serve, third_party: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each cycle goes on where the one before was cut short."""
    monkeypatch.setattr(patience, "PROBE_MAX_S", 0.1)
    party = await third_party()

    async def picky(request: web.Request) -> web.StreamResponse | None:
        if request.method == "GET":
            return None
        since = [method for method, _, _ in party.requests]
        if "GET" not in since[-5:]:
            return web.Response(status=429)
        bad = any(one["item"].startswith("bad") for one in await request.json())
        return web.Response(status=422) if bad else None

    party.instead = picky
    service = await serve(peer(party.url, batch=16))
    for item in ("bad-1", "bad-2", *(f"good-{number}" for number in range(14))):
        await service.edit(item, DATE)
    await service.link()
    await until(lambda: len(party.has.get("ann", {})) == 14, timeout_s=20)


async def test_a_batch_is_as_large_as_the_settings_say(serve: Serve, third_party: Start) -> None:
    party = await third_party()
    service = await serve(peer(party.url, batch=600))
    records = [{"item": f"item-{number}", "actionDate": DATE, "action": "ADD"} for number in range(700)]
    assert (await service.ask("POST", "/sync/favorites", json=records))[0] == 200
    await service.link()
    await until(lambda: len(party.has.get("ann", {})) == 700)
    assert [len(body) for body in party.bodies] == [600, 100]


async def test_a_dead_peer_slows_no_other(serve: Serve, third_party: Start) -> None:
    dead, alive = await third_party(), await third_party()

    async def hangs(_request: web.Request) -> web.StreamResponse | None:
        await asyncio.sleep(60)
        return None

    dead.instead = hangs
    service = await serve(peer(dead.url, "dead", timeout_s=1.0), peer(alive.url, "alive"))
    users = [f"user-{number}" for number in range(20)]
    alive.tokens = {f"token-of-{user}": user for user in users}
    for user in users:
        await service.edit("ours", DATE, user=user)
        await service.link("dead", user)
    began = time.monotonic()
    for user in users:
        await service.link("alive", user)
    await until(lambda: len(alive.has) == len(users))
    assert time.monotonic() - began < 5


async def test_who_fails_is_asked_less_and_less(serve: Serve, third_party: Start) -> None:
    """By all links together: the breaker opens after a few, and lets one at a time try."""
    party = await third_party()
    party.instead = says(500)
    service = await serve(peer(party.url, at_once=2))
    for number in range(30):
        await service.link(user=f"user-{number}")
    await until(lambda: len(party.requests) >= 5)
    await asyncio.sleep(2)
    assert len(party.requests) <= 7, "five in a row, and what was under way"


@pytest.mark.usefixtures("quick")
async def test_who_is_alive_again_is_found_to_be(
    serve: Serve, third_party: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A probe that shows nothing about the peer, since what it tries with cannot be opened, is followed by another."""
    monkeypatch.setattr(patience, "PROBE_MIN_S", 0.1)
    monkeypatch.setattr(findings, "KEYLESS_S", 0.1)
    users = [f"user-{number}" for number in range(12)]
    party = await third_party(tokens={f"token-of-{user}": user for user in users})
    party.instead = says(500)
    service = await serve(peer(party.url))
    for user in users:
        await service.edit("ours", DATE, user=user)
        await service.link(user=user)
    await until(lambda: len(party.requests) >= 8)
    async with service.database.connection() as connection:
        await connection.execute("UPDATE links SET secret = 'gAAAAA' WHERE user_id LIKE '%-1%'")
    party.instead = None
    await until(lambda: len(party.has) == 9, timeout_s=20)
    said = "".join(capsys.readouterr())
    assert [said.count(what) for what in ("a peer fails again and again", "a peer is there again")] == [1, 1]
