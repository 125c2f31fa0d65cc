"""Turns at what there is little of: whoever asks much waits behind the others, and not they behind all of that."""

import asyncio
from collections import OrderedDict, deque
from typing import Generic, TypeVar

from favsync.core.errors import Overloaded

_T = TypeVar("_T")
_BUSY = "Too many requests as large as this one wait just now. Send the same request again."


class Lines(Generic[_T]):
    """What waits: a line for each caller, whose first ones go in turn."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[_T]] = OrderedDict()

    def put(self, caller: str, one: _T) -> None:
        self._lines.setdefault(caller, deque()).append(one)

    def first(self) -> _T | None:
        """Whose turn it is; None: nothing waits."""
        return next(iter(self._lines.values()))[0] if self._lines else None

    def drop_first(self, *, served: bool) -> None:
        """Takes it out. `served`: that was its caller's turn; what nobody waits for any more costs none."""
        caller, line = next(iter(self._lines.items()))
        line.popleft()
        if not line:
            del self._lines[caller]
        elif served:
            self._lines.move_to_end(caller)


class Turns:
    """So `many` at once. Where others wait, one of each caller goes in turn."""

    def __init__(self, many: int) -> None:
        self._free = many
        self._lines: Lines[asyncio.Future[None]] = Lines()

    async def take(self, caller: str, *, wait_s: float) -> None:
        """Returns when it is the caller's turn, which is to be given back. Raises Overloaded after `wait_s`."""
        if self._free:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.put(caller, place)
        try:
            async with asyncio.timeout(wait_s):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self.give_back()  # it came as its caller left
            if isinstance(error, TimeoutError):
                raise Overloaded(_BUSY) from None
            raise

    def give_back(self) -> None:
        while place := self._lines.first():
            waits = not place.done()
            self._lines.drop_first(served=waits)
            if waits:
                place.set_result(None)
                return
        self._free += 1
