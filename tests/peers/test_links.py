"""Links as their users have them: what they tell, whose they are, and what happens to them while a cycle runs."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from favsync.core.errors import Unavailable
from favsync.core.reconcile import Absence, Rules
from favsync.core.record import Version
from favsync.peering import Direction, Renewal
from favsync.peers import worker
from favsync.peers.cycle import Cycle, Done
from tests.peers.conftest import INTERVAL_S, Serve, Service, peer
from tests.peers.test_third_parties import Start, live
from tests.peers.third_party import MS, ThirdParty, until

DATE, LATER = "2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z"
BACKEND = ("sync:any",)


class Gate:
    """Holds up the next request for a list, until it is opened; then nothing more."""

    def __init__(self, party: ThirdParty) -> None:
        self.reached, self.opened, self._closed = asyncio.Event(), asyncio.Event(), True
        party.instead = self._answer

    async def _answer(self, request: web.Request) -> web.StreamResponse | None:
        if self._closed and request.method == "GET":
            self._closed = False
            self.reached.set()
            await self.opened.wait()
        return None


async def quiet(service: Service, party: ThirdParty) -> None:
    """The link has come to where its cycles end with a 304."""
    seen = len(party.conditions)
    await until(lambda: any(party.conditions[seen:]))
    assert await service.fault() is None


# While a cycle runs


async def test_a_new_token_counts_at_once(serve: Serve, third_party: Start) -> None:
    """It does not wait for what the peer has not answered to the old one."""
    party = await third_party(tokens={"token-of-ann": "ann", "another": "anna"})
    gate = Gate(party)
    service = await serve(peer(party.url, timeout_s=30))
    await service.edit("ours", DATE)
    await service.link()
    await gate.reached.wait()
    await service.link(token="another")
    await until(lambda: party.has.get("anna"), timeout_s=5)
    assert "ann" not in party.has


@pytest.mark.parametrize("deleted", [False, True], ids=["put again", "deleted and put again"])
async def test_a_cycle_of_the_old_token_leaves_nothing(deleted: bool, serve: Serve, third_party: Start) -> None:
    """What it has found is another account's: taken for the new one's, it would delete here what is not there."""
    party = await third_party(tokens={"token-of-ann": "ann", "another": "anna"}, tombstones=False)
    party.edit("of ann", DATE)
    rules = Rules(absence=Absence.DELETE, max_delete_percent=100)
    service = await serve(peer(party.url, timeout_s=30, rules=rules))
    await service.link()
    await until(lambda: _has(service, ["of ann"]))
    gate = Gate(party)
    await gate.reached.wait()
    if deleted:
        assert (await service.ask("DELETE", "/peers/other/link"))[0] == 204
    await service.link(token="another")
    await until(lambda: party.has.get("anna"))
    gate.opened.set()
    await asyncio.sleep(5 * INTERVAL_S)
    assert live(await service.has()) == live(party.shown("anna")) == ["of ann"]


async def test_a_deleted_link_stays_deleted(serve: Serve, third_party: Start) -> None:
    party = await third_party()
    gate = Gate(party)
    service = await serve(peer(party.url, timeout_s=30))
    await service.link()
    await gate.reached.wait()
    assert (await service.ask("DELETE", "/peers/other/link"))[0] == 204
    gate.opened.set()
    await asyncio.sleep(5 * INTERVAL_S)
    assert (await service.ask("GET", "/peers/other/link"))[0] == 404
    assert (await service.ask("DELETE", "/peers/other/link"))[0] == 404
    async with service.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM links") == 0


async def test_a_service_that_stops_leaves_its_links_to_others(serve: Serve, third_party: Start) -> None:
    """At once: none waits until a lease has run out."""
    party = await third_party()
    party.edit("theirs", DATE)
    gate = Gate(party)
    service = await serve(peer(party.url, timeout_s=30))
    await service.link()
    await gate.reached.wait()
    await service.stop()
    again = await serve(peer(party.url))
    await until(lambda: _has(again, ["theirs"]), timeout_s=5)


async def test_a_cycle_that_our_database_ends_begins_anew(
    serve: Serve, third_party: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Soon, and it is no failure of the peer's."""
    monkeypatch.setattr(worker, "FAILED_S", 0.1)
    party, run, failures = await third_party(), Cycle.run, iter(range(8))

    async def away(self: Cycle, *args: Any) -> Done:
        if next(failures, None) is not None:
            raise Unavailable
        return await run(self, *args)

    monkeypatch.setattr(Cycle, "run", away)
    service = await serve(peer(party.url))
    await service.edit("ours", DATE)
    await service.link()
    await until(lambda: party.has.get("ann"), timeout_s=15)
    assert (await service.state())["failures"] == 0


async def _has(service: Service, items: list[str]) -> bool:
    return live(await service.has()) == items


# What they tell


async def test_counts_are_of_the_last_cycle_that_saw_a_list(serve: Serve, third_party: Start) -> None:
    party = await third_party()
    party.edit("theirs", DATE)
    party.edit("x" * 300, DATE)  # longer than an item may be here
    service = await serve(peer(party.url))
    await service.edit("ours", DATE)
    await service.link()
    await until(lambda: party.has["ann"].get("ours"))
    await quiet(service, party)
    first = await service.state()
    seen = len(party.conditions)
    await until(lambda: len(party.conditions) > seen + 2)
    state = await service.state()
    assert state["lastSync"] > first["lastSync"]
    assert state["counts"] == first["counts"]
    assert (state["counts"]["received"], state["counts"]["refused"]) == (3, 1)


async def test_a_tag_is_sent_only_where_nothing_is_open(serve: Serve, third_party: Start) -> None:
    party = await third_party()
    service = await serve(peer(party.url))
    await service.link()
    await quiet(service, party)
    seen = len(party.conditions)
    await service.edit("ours", DATE)
    await until(lambda: party.has.get("ann"))
    assert None in party.conditions[seen:], "our records have changed: the whole list is asked for"
    await quiet(service, party)
    party.edit("of tomorrow", "2099-01-01T00:00:00.000Z")
    await until(lambda: _counted(service, future=1))
    seen = len(party.conditions)
    await until(lambda: len(party.conditions) > seen + 4)
    assert set(party.conditions[seen + 1 :]) == {None}, "one day it is no longer of the future"


async def test_what_is_too_much_to_delete_is_asked_for_again(serve: Serve, third_party: Start) -> None:
    party = await third_party(tombstones=False)
    for number in range(4):
        party.edit(f"theirs-{number}", DATE)
    service = await serve(peer(party.url, rules=Rules(absence=Absence.DELETE, max_delete_percent=30)))
    await service.link()
    await until(lambda: _counted(service, received=4))
    await quiet(service, party)
    party.edit("theirs-0", LATER, deleted=True)
    party.edit("theirs-1", LATER, deleted=True)
    await until(lambda: _counted(service, heldBack=2))
    assert len(live(await service.has())) == 4
    seen = len(party.conditions)
    await until(lambda: len(party.conditions) > seen + 3)
    assert set(party.conditions[seen + 1 :]) == {None}


async def _counted(service: Service, **counts: int) -> bool:
    found = (await service.state())["counts"] or {}
    return {name: found.get(name) for name in counts} == counts


async def test_nothing_that_was_entrusted_is_told_again(
    serve: Serve, third_party: Start, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in an answer nor in a log; even where the peer says it back."""
    party = await third_party()

    async def says_it_back(request: web.Request) -> web.StreamResponse:
        said = request.headers["Authorization"]
        return web.json_response({"detail": f"not {said}"}, status=500, content_type="application/problem+json")

    party.instead = says_it_back
    service = await serve(peer(party.url, renewal=Renewal(f"{party.url}/token", "us", "seesecret-3")))
    told = [await service.link(token="seesecret-1", refreshToken="seesecret-2")]
    await until(service.fault)
    told += [await service.state(), await service.link(token="seesecret-4", refreshToken="seesecret-5")]
    for wrong in ({"token": "seesecret 6"}, {"token": ["seesecret-7"]}, {"tokens": "seesecret-8"}, {}, "seesecret-9"):
        status, answer = await service.ask("PUT", "/peers/other/link", json=wrong)
        assert status == 422, answer
        told.append(answer)

    async def gives_nothing(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            return web.json_response({"error": (await request.text())[:200]}, status=400)
        return web.Response(status=401)

    party.instead = gives_nothing
    await service.link(token="seesecret-10", refreshToken="seesecret-11")
    await until(lambda: _told_of_tokens(service))
    told.append(await service.state())
    written = "".join(capsys.readouterr()) + caplog.text
    assert "/peers/{peer}/link" in written, "that logs are seen here"
    assert "seesecret" not in str(told) + written


async def _told_of_tokens(service: Service) -> bool:
    return "whoever gives tokens" in (await service.fault() or "")


async def test_nothing_is_sent_for_a_link_that_was_forgotten(serve: Serve, third_party: Start) -> None:
    party = await third_party()

    async def slow(request: web.Request) -> web.StreamResponse | None:
        if request.method == "POST":
            await asyncio.sleep(0.1)
        return None

    party.instead = slow
    service = await serve(peer(party.url, batch=1))
    for number in range(20):
        await service.edit(f"item-{number}", DATE)
    await service.link()
    await until(lambda: party.posts() >= 2)
    assert (await service.ask("DELETE", "/peers/other/link"))[0] == 204
    posts = party.posts()
    await asyncio.sleep(1)
    assert party.posts() <= posts + 1


# Whose they are


async def test_a_backend_links_whom_it_names(serve: Serve, third_party: Start) -> None:
    party = await third_party()
    party.edit("theirs", DATE)
    service = await serve(peer(party.url))
    status, _ = await service.ask("PUT", "/peers/other/link?user=bob", json={"token": "token-of-ann"}, scopes=BACKEND)
    assert status == 200
    await until(lambda: _bob_has(service))
    assert (await service.ask("GET", "/peers/other/link"))[0] == 404
    assert (await service.ask("GET", "/peers/other/link?user=bob"))[0] == 403
    assert (await service.ask("PUT", "/peers/other/link?user=bob", json={"token": "t"}))[0] == 403
    assert (await service.ask("DELETE", "/peers/other/link?user=bob"))[0] == 403
    assert (await service.ask("GET", "/peers/none/link"))[0] == 404
    assert (await service.ask("DELETE", "/peers/other/link?user=bob", scopes=BACKEND))[0] == 204


async def _bob_has(service: Service) -> bool:
    return live(await service.has("bob")) == ["theirs"]


def by_key(party: ThirdParty, **values: Any) -> Any:
    """A peer that our own key opens, for all of its users."""
    given = {"header": ("Authorization", "Bearer the-key"), "direction": Direction.PULL}
    return peer(party.url, get="/users/{user}/list?of={user}", **given | values)


async def serves_lists(party: ThirdParty) -> list[URL]:
    """Has the party answer for accounts; what it was asked for."""
    asked: list[URL] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.rel_url)
        assert request.headers["Authorization"] == "Bearer the-key"
        return web.json_response(party.shown(request.query["of"]))

    party.instead = answer
    return asked


async def test_nobody_can_have_the_list_of_another_with_our_key(serve: Serve, third_party: Start) -> None:
    """A user is who they are here; a backend says it where they are called otherwise there."""
    party = await third_party()
    asked = await serves_lists(party)
    party.has = {name: {f"of {name}": Version(MS, deleted=False)} for name in ("ann", "victim")}
    service = await serve(by_key(party))
    status, answer = await service.ask("PUT", "/peers/other/link", json={"account": "victim"})
    assert (status, answer["detail"][:9], answer["scope"]) == (403, "`account`", "sync:any")
    assert (await service.ask("PUT", "/peers/other/link", json={}))[0] == 200
    await until(lambda: _has(service, ["of ann"]))
    assert {*map(str, asked)} == {"/users/ann/list?of=ann"}
    status, _ = await service.ask("PUT", "/peers/other/link?user=bob", json={"account": "victim"}, scopes=BACKEND)
    assert status == 200
    await until(lambda: _is_victims(service))


async def _is_victims(service: Service) -> bool:
    return live(await service.has("bob")) == ["of victim"]


@pytest.mark.parametrize("account", ["a n/n", "../../admin?x=1&of=b#", "{user}{entity}%2e%2E", "+%2B%"])
async def test_an_account_is_one_part_of_the_path(account: str, serve: Serve, third_party: Start) -> None:
    party = await third_party()
    asked = await serves_lists(party)
    party.has[account] = {"theirs": Version(MS, deleted=False)}
    service = await serve(by_key(party))
    status, _ = await service.ask("PUT", "/peers/other/link?user=ann", json={"account": account}, scopes=BACKEND)
    assert status == 200
    await until(lambda: _has(service, ["theirs"]))
    assert asked[0].parts == ("/", "users", account, "list")
    assert [*asked[0].query.items()] == [("of", account)]


@pytest.mark.parametrize("account", [".", "..", "victim;x"])
async def test_an_account_that_is_another_path_is_refused(account: str, serve: Serve, third_party: Start) -> None:
    party = await third_party()
    service = await serve(by_key(party))
    status, answer = await service.ask("PUT", "/peers/other/link?user=ann", json={"account": account}, scopes=BACKEND)
    assert (status, answer["errors"][0]["pointer"]) == (422, "/account")


async def test_what_no_request_would_use_is_not_kept(serve: Serve, third_party: Start) -> None:
    party = await third_party()
    service = await serve(peer(party.url), by_key(party, name="keyed"))
    for name, entrusted, pointer in (
        ("other", {}, "/token"),
        ("other", {"token": "t", "refreshToken": "r"}, "/refreshToken"),
        ("keyed", {"token": "t"}, "/token"),
    ):
        status, answer = await service.ask("PUT", f"/peers/{name}/link", json=entrusted)
        assert (status, [fault["pointer"] for fault in answer["errors"]]) == (422, [pointer])
