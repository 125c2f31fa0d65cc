"""What is read before it is asked for."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from favsync.ahead import Ahead
from favsync.core.errors import Unavailable


class Well:
    """Where values come from, once `open`; `begun`, `ended`: the keys for which that was tried, and given up."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.fault: Exception | None = None

    def read(self, key: int) -> Callable[[], Awaitable[str | None]]:
        async def read() -> str | None:
            self.begun.append(key)
            try:
                await self.open.wait()
            except asyncio.CancelledError:
                self.ended.append(key)
                raise
            if self.fault:
                raise self.fault
            return f"value of {key}"

        return read


@pytest.fixture
def well() -> Well:
    return Well()


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def _being_taken(well: Well) -> tuple[Ahead[int, str], asyncio.Task[tuple[bool, str | None]]]:
    """Somebody waits for what is being read."""
    ahead: Ahead[int, str] = Ahead(most=4)
    ahead.expect(1, well.read(1))
    await _settled()
    taking = asyncio.create_task(ahead.take(1))
    await _settled()
    return ahead, taking


async def test_a_value_is_given_once(well: Well) -> None:
    ahead: Ahead[int, str] = Ahead(most=4)
    well.open.set()
    ahead.expect(1, well.read(1))
    await _settled()
    assert well.begun == [1], "before anybody asks"
    assert await ahead.take(1) == (True, "value of 1")
    assert await ahead.take(1) == (False, None)
    ahead.expect(2, None)
    assert await ahead.take(2) == (True, None)
    assert await ahead.take(2) == (False, None)
    assert not ahead._expected
    assert not ahead._reads


async def test_who_comes_while_it_is_read_waits_for_it(well: Well) -> None:
    ahead, taking = await _being_taken(well)
    assert not taking.done()
    assert await ahead.take(1) == (False, None), "a second one does not"
    well.open.set()
    assert await taking == (True, "value of 1")
    assert well.begun == [1]


async def test_a_fault_is_for_who_asks_to_meet(well: Well) -> None:
    ahead: Ahead[int, str] = Ahead(most=4)
    well.fault = Unavailable()
    well.open.set()
    ahead.expect(1, well.read(1))
    ahead.expect(2, well.read(2))
    await _settled()
    assert await ahead.take(1) == (True, None)


async def test_what_nobody_takes_goes(well: Well) -> None:
    """And stops being read; a value is no older than that, however often it was expected."""
    ahead: Ahead[int, str] = Ahead(most=4, keep_s=0.05)
    ahead.expect(1, well.read(1))
    ahead.expect(2, None)
    await asyncio.sleep(0.1)
    assert well.ended == [1]
    assert await ahead.take(1) == (False, None)
    assert await ahead.take(2) == (False, None)
    well.open.set()
    ahead.expect(3, well.read(3))
    for _ in range(5):
        await asyncio.sleep(0.02)
        ahead.expect(3, None)
    assert (await ahead.take(3))[1] is None


async def test_one_is_read_at_a_time_and_a_few_are_kept(well: Well) -> None:
    ahead: Ahead[int, str] = Ahead(most=3)
    ahead.expect(1, well.read(1))
    ahead.expect(2, well.read(2))
    await _settled()
    assert well.begun == [1]
    well.open.set()
    await _settled()
    for key in (3, 4, 5):
        ahead.expect(key, well.read(key))
        await _settled()
    assert well.begun == [1, 3, 4]
    assert await ahead.take(2) == (True, None)
    assert await ahead.take(3) == (True, "value of 3")
    ahead.expect(6, well.read(6))
    assert await ahead.take(6) == (True, "value of 6")


async def test_who_goes_away_ends_the_reading(well: Well) -> None:
    _, taking = await _being_taken(well)
    taking.cancel()
    await asyncio.wait([taking])
    assert taking.cancelled()
    assert well.ended == [1]


async def test_it_ends_with_what_it_has_begun(well: Well) -> None:
    ahead: Ahead[int, str] = Ahead(most=4)
    ahead.expect(1, well.read(1))
    ahead.expect(2, None)
    await _settled()
    await ahead.close()
    assert well.ended == [1]
    assert await ahead.take(1) == (False, None)
    assert await ahead.take(2) == (False, None)
    await ahead.close()
