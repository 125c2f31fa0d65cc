"""Reads that share a statement."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.lists(
        st.tuples(st.sampled_from(["ann", "bob", "cy"]), st.integers(0, 5), st.booleans()), min_size=1, max_size=40
    ),
)
def test_whoever_asks_and_stays_hears_what_stood_no_earlier(
    most: int, statements: int, askers: list[tuple[str, int, bool]]
) -> None:
    """However many ask at once, at whichever turn of the event loop they come, and whoever leaves."""
    clock, under_way = itertools.count(), 0

    async def read(keys: Sequence[str]) -> Mapping[str, int]:
        nonlocal under_way
        under_way += 1
        assert len(keys) <= most
        assert under_way <= statements
        values = dict.fromkeys(keys, next(clock))
        await asyncio.sleep(0)
        under_way -= 1
        return values

    async def ask(gathering: Gathering[str, int], key: str) -> None:
        asked = next(clock)
        assert await gathering.get(key) > asked

    async def play() -> None:
        gathering, tasks, leavers = Gathering(read, most=most, statements=statements), [], []
        for key, turns, leaves in askers:
            tasks.append(asyncio.create_task(ask(gathering, key)))
            for _ in range(turns):
                await asyncio.sleep(0)
            if leaves and tasks[-1].cancel():
                leavers.append(tasks[-1])
        async with asyncio.timeout(10):
            found = await asyncio.gather(*tasks, return_exceptions=True)
        for task, one in zip(tasks, found, strict=True):
            assert one is None or (task in leavers and isinstance(one, asyncio.CancelledError)), one

    asyncio.run(play())
