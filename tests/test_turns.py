"""Turns at what there is little of."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from favsync.core.errors import Overloaded
from favsync.turns import Turns


async def test_callers_take_turns_however_much_one_of_them_asks_for() -> None:
    turns, told = Turns(1), []

    async def ask(caller: str) -> None:
        await turns.take(caller, wait_s=10)
        told.append(caller)
        await asyncio.sleep(0)
        turns.give_back()

    await asyncio.gather(*(ask(caller) for caller in ["hog"] * 5 + ["ann", "bob", "ann"]))
    assert told == ["hog", "hog", "ann", "bob", "hog", "ann", "hog", "hog"]


async def test_who_has_waited_for_long_is_told_so_and_takes_no_turn() -> None:
    turns = Turns(1)
    await turns.take("ann", wait_s=0)
    with pytest.raises(Overloaded, match="Too many"):
        await turns.take("bob", wait_s=0.01)
    turns.give_back()
    await turns.take("bob", wait_s=0)


async def test_who_has_left_costs_its_caller_no_round() -> None:
    turns, told = Turns(1), []

    async def ask(caller: str) -> None:
        await turns.take(caller, wait_s=10)
        told.append(caller)
        turns.give_back()

    await turns.take("zoe", wait_s=0)
    left = asyncio.create_task(ask("ann"))
    await asyncio.sleep(0)
    left.cancel()
    tasks = [asyncio.create_task(ask(caller)) for caller in ("ann", "bob", "cy")]
    await asyncio.sleep(0)
    turns.give_back()
    await asyncio.gather(*tasks)
    assert told == ["ann", "bob", "cy"]


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 3), st.integers(0, 9)), max_size=30),
)
def test_no_turn_is_lost_or_made_whoever_leaves(many: int, askers: list[tuple[str, int, int, int]]) -> None:
    """At whichever turn of the event loop somebody comes, works, and leaves."""
    under_way = 0

    async def ask(turns: Turns, caller: str, works: int) -> None:
        nonlocal under_way
        await turns.take(caller, wait_s=10)
        under_way += 1
        assert under_way <= many
        try:
            for _ in range(works):
                await asyncio.sleep(0)
        finally:
            under_way -= 1
            turns.give_back()

    async def play() -> None:
        turns, tasks = Turns(many), []
        for caller, pause, works, leaves in askers:
            task = asyncio.create_task(ask(turns, caller, works))
            tasks.append(task)
            for _ in range(pause):
                await asyncio.sleep(0)
            if leaves < len(tasks):
                tasks[leaves].cancel()
        async with asyncio.timeout(10):
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(one) for one in found} <= {type(None), asyncio.CancelledError}
            for _ in range(many):
                await turns.take("d", wait_s=0.1)
            with pytest.raises(Overloaded):
                await turns.take("d", wait_s=0)

    asyncio.run(play())
