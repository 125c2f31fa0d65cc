"""Third parties written from the seed's text alone: each ends equal to us, and then in silence."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from favsync.core import timestamp
from favsync.core.reconcile import Absence, Rules
from favsync.peering import Direction
from tests.peers.conftest import INTERVAL_S, Serve, Service, peer
from tests.peers.third_party import MS, S, ThirdParty, until

Start = Callable[..., Awaitable[ThirdParty]]

KINDS: dict[str, tuple[dict[str, Any], Rules]] = {
    "as the seed has it": ({}, Rules()),
    "no ETag": ({"etags": False}, Rules()),
    "newer only": ({"newer_only": True}, Rules()),
    "newer only, and 409 for what is not": ({"newer_only": True, "conflicts": True}, Rules()),
    "no date beyond milliseconds": ({"exact": True}, Rules()),
    "no date beyond seconds": ({"exact": True, "precision_us": S}, Rules(precision_us=S)),
    "seconds only": ({"precision_us": S}, Rules(precision_us=S)),
    "newer only, seconds, no ETag": (
        {"newer_only": True, "precision_us": S, "etags": False}, Rules(precision_us=S)
    ),
    "no tombstones": ({"tombstones": False}, Rules(absence=Absence.DELETE, max_delete_percent=100)),
}  # fmt: skip


def live(records: list[dict[str, str]]) -> list[str]:
    return [record["item"] for record in records if record["action"] == "ADD"]


async def silence(party: ThirdParty, service: Service, intervals: int = 20) -> None:
    """No write crosses the wire, and nothing changes here."""
    posts, before = party.posts(), await service.has()
    await asyncio.sleep(intervals * INTERVAL_S)
    assert party.posts() == posts
    assert await service.has() == before


@pytest.mark.parametrize("kind", KINDS)
async def test_it_ends_equal_and_silent(kind: str, serve: Serve, third_party: Start) -> None:
    ways, rules = KINDS[kind]
    party = await third_party(**ways)
    service = await serve(peer(party.url, rules=rules))
    party.edit("theirs", "2026-01-01T00:00:00.700Z")
    party.edit("gone there", "2026-01-01T00:00:01.200Z", deleted=True)
    await service.edit("ours", "2026-01-01T00:00:02.345678Z")
    await service.edit("gone here", "2026-01-01T00:00:03.100Z", deleted=True)
    await service.edit("tie", "2026-01-01T00:00:04.500Z", deleted=True)
    party.edit("tie", "2026-01-01T00:00:04.500Z")
    await service.link()
    await until(lambda: _equal(service, party))
    assert live(await service.has()) == ["ours", "theirs"]
    await silence(party, service)

    await service.edit("theirs", "2026-02-01T00:00:00.000Z", deleted=True)
    party.edit("ours", "2026-02-01T00:00:00.000Z", deleted=True)
    party.edit("new", "2026-02-02T00:00:00.000Z")
    await until(lambda: _equal(service, party))
    assert live(await service.has()) == ["new"]
    await silence(party, service)


async def _equal(service: Service, party: ThirdParty) -> bool:
    return live(await service.has()) == live(party.shown())


async def test_one_that_is_only_read(serve: Serve, third_party: Start) -> None:
    party = await third_party(writes=False)
    service = await serve(peer(party.url, direction=Direction.PULL))
    party.edit("theirs", "2026-01-01T00:00:00.000Z")
    await service.edit("ours", "2026-01-01T00:00:00.000Z")
    await service.link()
    await until(lambda: _has(service, ["ours", "theirs"]))
    party.edit("theirs", "2026-01-02T00:00:00.000Z", deleted=True)
    await until(lambda: _has(service, ["ours"]))
    assert {method for method, _, _ in party.requests} == {"GET"}


async def _has(service: Service, items: list[str]) -> bool:
    return live(await service.has()) == items


async def test_one_without_post_that_is_written_to_says_so(serve: Serve, third_party: Start) -> None:
    party = await third_party(writes=False)
    service = await serve(peer(party.url))
    await service.edit("ours", "2026-01-01T00:00:00.000Z")
    await service.link()

    async def told() -> bool:
        error = (await service.state())["lastError"]
        return error is not None and error["detail"] == "it answered 404"

    await until(told)


async def test_one_that_ignores_what_it_is_sent_is_left_alone(serve: Serve, third_party: Start) -> None:
    party = await third_party(ignores=True)
    service = await serve(peer(party.url))
    await service.edit("ours", "2026-01-01T00:00:00.000Z")
    await service.link()

    async def parked() -> bool:
        counts = (await service.state())["counts"]
        return counts is not None and counts["parked"] == 1

    await until(parked)
    assert party.posts() <= 4
    await silence(party, service)
    party.ignores = False
    await service.edit("ours", "2026-01-02T00:00:00.000Z")
    await until(lambda: party.has.get("ann"))


async def test_what_it_finds_too_early_arrives_in_time(serve: Serve, third_party: Start) -> None:
    party = await third_party()
    refused = 0

    async def refuse(request: web.Request) -> web.Response | None:
        nonlocal refused
        sent = [timestamp.parse(one["actionDate"]) for one in await request.json()] if request.method == "POST" else []
        if not any(date_us > time.time_ns() // 1000 for date_us in sent):
            return None
        refused += 1
        return web.Response(status=422)

    party.instead = refuse
    service = await serve(peer(party.url))
    await service.edit("soon", timestamp.render(time.time_ns() // 1000 // MS * MS + 3 * S))
    await service.link()
    await until(lambda: party.has.get("ann"))
    assert refused == 1


async def test_its_items_have_a_prefix_here(serve: Serve, third_party: Start) -> None:
    party = await third_party()
    service = await serve(peer(party.url, prefix="eau:"))
    party.edit("session_1", "2026-01-01T00:00:00.000Z")
    await service.edit("eau:session_2", "2026-01-01T00:00:00.000Z")
    await service.edit("eau", "2026-01-01T00:00:00.000Z")
    await service.edit("session_3", "2026-01-01T00:00:00.000Z")
    await service.link()
    await until(lambda: len(party.has["ann"]) == 2)
    assert live(party.shown()) == ["session_1", "session_2"]
    assert live(await service.has()) == ["eau", "eau:session_1", "eau:session_2", "session_3"]


async def test_what_vanished_stays_here_and_away_there(serve: Serve, third_party: Start) -> None:
    party = await third_party(tombstones=False)
    service = await serve(peer(party.url))
    await service.edit("ours", "2026-01-01T00:00:00.000Z")
    await service.link()
    await until(lambda: party.has.get("ann"))
    await silence(party, service, 3)
    party.edit("ours", "2026-01-01T00:00:00.000Z", deleted=True)
    assert party.has["ann"] == {}
    await silence(party, service)
    assert live(await service.has()) == ["ours"]
    assert party.has["ann"] == {}
