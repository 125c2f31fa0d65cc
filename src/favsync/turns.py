"""Turns at what there is little of: whoever asks much waits behind the others, and not they behind all of that."""

import asyncio
from collections import OrderedDict, deque

from favsync.core.errors import Overloaded

_BUSY = "Too many requests as large as this one wait just now. Send the same request again."


class Turns:
    """So `many` at once. Where others wait, one of each caller goes in turn."""

    def __init__(self, many: int) -> None:
        self._free = many
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def take(self, caller: str, *, wait_s: float) -> None:
        """Returns when it is the caller's turn, which is to be given back. Raises Overloaded after `wait_s`."""
        if self._free:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(caller, deque()).append(place)
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
        while self._lines:
            caller, line = next(iter(self._lines.items()))
            place = line.popleft()
            if not line:
                del self._lines[caller]
            if place.done():
                continue  # nobody waits there any more
            if line:
                self._lines.move_to_end(caller)
            place.set_result(None)
            return
        self._free += 1
