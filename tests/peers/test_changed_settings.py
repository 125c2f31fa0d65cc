"""What a link remembers was so by the settings of then."""

import asyncio
import dataclasses

from favsync.catalog.entity import FAVORITES
from favsync.core.reconcile import Absence, Rules
from favsync.peering import Direction
from tests.peers.conftest import INTERVAL_S, Serve, Service, peer
from tests.peers.test_links import DATE
from tests.peers.test_third_parties import Start, live
from tests.peers.third_party import ThirdParty, until


async def _quiet(service: Service, party: ThirdParty) -> None:
    """Until it asks whether anything has changed, or has asked often enough."""
    await until(lambda: len(party.conditions) > 2)
    await service.stop()


async def test_one_that_was_only_read_is_written_to_at_once(serve: Serve, third_party: Start) -> None:
    party = await third_party()
    party.edit("theirs", DATE)
    service = await serve(peer(party.url, direction=Direction.PULL))
    await service.edit("ours", DATE)
    await service.link()
    await _quiet(service, party)
    await serve(peer(party.url))
    await until(lambda: "ours" in party.has["ann"])


async def test_what_was_beyond_the_limit_comes_when_that_is_higher(serve: Serve, third_party: Start) -> None:
    party = await third_party()
    party.edit("one", DATE)
    party.edit("two", DATE)
    service = await serve(peer(party.url), entities=(dataclasses.replace(FAVORITES, max_items=1),))
    await service.link()
    await _quiet(service, party)
    service = await serve(peer(party.url))
    await until(lambda: _has(service, ["one", "two"]))


async def _has(service: Service, items: list[str]) -> bool:
    return live(await service.has()) == items


async def test_what_another_backend_never_had_is_not_deleted(serve: Serve, third_party: Start) -> None:
    before, after = await third_party(), await third_party()
    items = [f"item-{number}" for number in range(9)]
    for item in items:
        before.edit(item, DATE)
    rules = Rules(absence=Absence.DELETE)
    service = await serve(peer(before.url, rules=rules))
    await service.link()
    await until(lambda: _has(service, items))
    await _quiet(service, before)
    for item in items[:-1]:
        after.edit(item, DATE)
    service = await serve(peer(after.url, rules=rules))
    await until(lambda: after.conditions)
    await asyncio.sleep(5 * INTERVAL_S)
    assert live(await service.has()) == items
