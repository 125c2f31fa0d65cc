"""Reads that share a statement."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from favsync.core.errors import Unavailable
from favsync.gathering import TURNS, Gathering


class Shelf:
    """What is read; `asked`: the keys of each statement."""

    def __init__(self) -> None:
        self.values = {"ann": 1, "bob": 2, "cy": 3}
        self.asked: list[list[str]] = []
        self.open = asyncio.Event()
        self.gone = False

    async def read(self, keys: Sequence[str]) -> Mapping[str, int]:
        self.asked.append(list(keys))
        values = {key: self.values[key] for key in keys}
        await self.open.wait()
        if self.gone:
            raise Unavailable("gone")
        return values


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


async def _begun(gathering: Gathering[str, int], *keys: str) -> "list[asyncio.Task[int]]":
    tasks = [asyncio.create_task(gathering.get(key)) for key in keys]
    await asyncio.sleep(0.01)
    return tasks


async def test_what_is_asked_meanwhile_is_asked_together_and_afterwards(shelf: Shelf) -> None:
    """And not answered by what is under way, which may have been read before."""
    gathering = Gathering(shelf.read, most=1000)
    first = await _begun(gathering, "ann")
    shelf.values["ann"] = 10
    rest = await _begun(gathering, "bob", "ann", "bob", "cy")
    assert shelf.asked == [["ann"]]
    shelf.open.set()
    assert await asyncio.gather(*first, *rest) == [1, 2, 10, 2, 3]
    assert shelf.asked == [["ann"], ["bob", "ann", "cy"]]
    assert await gathering.get("cy") == 3


async def test_there_are_so_many_statements_at_once(shelf: Shelf) -> None:
    gathering = Gathering(shelf.read, most=1000, statements=2)
    tasks = await _begun(gathering, "ann") + await _begun(gathering, "bob")
    tasks += await _begun(gathering, "cy", "ann")
    assert shelf.asked == [["ann"], ["bob"]]
    shelf.open.set()
    assert await asyncio.gather(*tasks) == [1, 2, 3, 1]
    assert shelf.asked == [["ann"], ["bob"], ["cy", "ann"]]


async def test_who_asks_as_the_last_is_answered_is_answered_too(shelf: Shelf) -> None:
    """At whichever turn of the event loop that is."""
    shelf.open.set()
    gathering = Gathering(shelf.read, most=1000, statements=2)
    for turns in range(12):
        first = asyncio.create_task(gathering.get("ann"))
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            assert await asyncio.gather(*(gathering.get(key) for key in ("bob", "cy"))) == [2, 3]
            assert await first == 1


async def test_a_statement_has_so_many_keys(shelf: Shelf) -> None:
    gathering = Gathering(shelf.read, most=2)
    tasks = await _begun(gathering, "ann", "bob", "cy")
    shelf.open.set()
    assert await asyncio.gather(*tasks) == [1, 2, 3]
    assert max(map(len, shelf.asked)) == 2


async def test_a_fault_is_told_to_all_and_over(shelf: Shelf) -> None:
    gathering = Gathering(shelf.read, most=1000)
    shelf.gone = True
    tasks = await _begun(gathering, "ann") + await _begun(gathering, "bob", "cy")
    tasks[1].cancel()
    shelf.open.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in found] == [Unavailable, asyncio.CancelledError, Unavailable]
    assert shelf.asked == [["ann"], ["cy"]], "who has left is not asked for"
    shelf.gone = False
    assert await gathering.get("ann") == 1
    with pytest.raises(KeyError):
        await gathering.get("nobody")


async def test_where_several_asked_the_next_ones_wait_for_each_other(shelf: Shelf) -> None:
    """For a few turns of the event loop, which one who is alone does not wait for."""
    shelf.open.set()
    gathering = Gathering(shelf.read, most=1000)

    async def statements(*keys: str) -> int:
        """For these, when they are asked one after another."""
        before, tasks = len(shelf.asked), []
        for key in keys:
            tasks.append(asyncio.create_task(gathering.get(key)))
            for _ in range(TURNS):
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return len(shelf.asked) - before

    assert await statements("ann", "bob") == 2
    await asyncio.gather(gathering.get("ann"), gathering.get("bob"))
    assert await statements("ann", "bob") == 1
    assert await statements("cy") == 1
    assert await statements("ann", "bob") == 2
