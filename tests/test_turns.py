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
        async with turns.turn(caller):
            told.append(caller)
            await asyncio.sleep(0)

    await asyncio.gather(*(ask(caller) for caller in ["hog"] * 5 + ["ann", "bob", "ann"]))
    assert told == ["hog", "hog", "ann", "bob", "hog", "ann", "hog", "hog"]


async def test_who_has_waited_for_long_is_told_so_and_takes_no_turn() -> None:
    turns = Turns(1)
    async with turns.turn("ann"):
        with pytest.raises(Overloaded, match="Too many"):
            async with turns.turn("bob", wait_s=0.01):
                pass
    async with asyncio.timeout(1), turns.turn("bob"):
        pass


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 3), st.integers(0, 9)), max_size=30),
)
def test_no_turn_is_lost_or_made_whoever_leaves(many: int, askers: list[tuple[str, int, int, int]]) -> None:
    """At whichever turn of the event loop somebody comes, works, and leaves."""
    under_way = 0

    async def ask(turns: Turns, caller: str, works: int) -> None:
        nonlocal under_way
        async with turns.turn(caller):
            under_way += 1
            assert under_way <= many
            try:
                for _ in range(works):
                    await asyncio.sleep(0)
            finally:
                under_way -= 1

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
            together = asyncio.Barrier(many)  # all of them are there to be had again

            async def meet() -> None:
                async with turns.turn("d"):
                    await together.wait()

            await asyncio.gather(*(meet() for _ in range(many)))

    asyncio.run(play())
