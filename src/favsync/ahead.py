"""What will be asked for next, read before it is: while who asks takes what came before it."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")

KEEP_S = 1.0  # how old a value may be, from when its reading began


class Ahead(Generic[_Key, _Value]):
    """Values that were read ahead. Each is given once, and dropped where nobody comes for it within `keep_s`.

    One is read at a time, beside those that somebody waits for; and none while there are `most` of them.
    """

    def __init__(self, *, most: int, keep_s: float = KEEP_S) -> None:
        self._most = most
        self._keep_s = keep_s
        self._expected: dict[_Key, asyncio.TimerHandle] = {}  # no more than are answered within `keep_s`
        self._reads: dict[_Key, asyncio.Task[_Value | None]] = {}

    def expect(self, key: _Key, read: Callable[[], Awaitable[_Value | None]] | None) -> None:
        """Somebody may ask for `key` soon; where `read` is given, it is read now, if there is room.

        `read`: gives None for what is not to be kept. Nobody hears of what it raises.
        """
        if key in self._reads:
            return  # which grows no younger by being expected again
        if known := self._expected.pop(key, None):
            known.cancel()
        self._expected[key] = asyncio.get_running_loop().call_later(self._keep_s, self._drop, key)
        if read is None or len(self._reads) >= self._most:
            return
        if all(task.done() for task in self._reads.values()):
            # Not in the context of the request before, whose id would stand in the log.
            self._reads[key] = asyncio.create_task(_quietly(read), context=contextvars.Context())

    async def take(self, key: _Key) -> tuple[bool, _Value | None]:
        """Whether `key` was expected, and its value, where it was read ahead; from then on it is not there."""
        expected, reading = self._expected.pop(key, None), self._reads.pop(key, None)
        if expected is not None:
            expected.cancel()
        return expected is not None, None if reading is None else await reading

    async def close(self) -> None:
        """Drops everything; for when nobody takes or expects any more."""
        reads = list(self._reads.values())
        for key, timer in list(self._expected.items()):
            timer.cancel()
            self._drop(key)
        if reads:
            await asyncio.wait(reads)

    def _drop(self, key: _Key) -> None:
        del self._expected[key]
        if reading := self._reads.pop(key, None):
            reading.cancel()


async def _quietly(read: Callable[[], Awaitable[_Value | None]]) -> _Value | None:
    try:
        return await read()
    except Exception:  # noqa: BLE001 -- whoever asks reads for itself, and meets it there
        return None
