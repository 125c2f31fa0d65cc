"""Long work, with turns for others in between."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

_T = TypeVar("_T")
_AT_A_STRETCH_S = 0.002
_MANY = 2000  # records, each of which takes some microseconds


async def in_turns(items: Iterable[_T]) -> AsyncIterator[_T]:
    """The items, one by one; whoever else has something to do in this loop gets to it every other millisecond."""
    pause_at = time.monotonic() + _AT_A_STRETCH_S
    for one in items:
        if time.monotonic() > pause_at:
            await asyncio.sleep(0)
            pause_at = time.monotonic() + _AT_A_STRETCH_S
        yield one


async def aside(work: Callable[[], _T], *, records: int) -> _T:
    """What `work` gives; done in a thread where it is of so many records that others would wait for it."""
    return await asyncio.to_thread(work) if records > _MANY else work()
