"""Turns at what there is little of: whoever asks much waits behind the others, and not they behind all of that."""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator

from favsync.core.errors import Overloaded

WAIT_S = 3.0

_BUSY = "Too many requests as large as this one wait just now. Send the same request again."


class Turns:
    """So `many` at once. Where others wait, one of each caller goes in turn."""

    def __init__(self, many: int) -> None:
        self._free = many
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @contextlib.asynccontextmanager
    async def turn(self, caller: str, *, wait_s: float | None = WAIT_S) -> AsyncIterator[None]:
        """Until it is the caller's turn, and then for as long as the block takes. Raises Overloaded after `wait_s`."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(caller, wait_s)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, caller: str, wait_s: float | None) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(caller, deque()).append(place)
        try:
            async with asyncio.timeout(wait_s):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self._pass_on()  # it came as its caller left
            if isinstance(error, TimeoutError):
                raise Overloaded(_BUSY) from None
            raise

    def _pass_on(self) -> None:
        while self._lines:
            caller, line = next(iter(self._lines.items()))
            place = line.popleft()
            self._lines.move_to_end(caller)
            if not line:
                del self._lines[caller]
            if not place.done():  # else nobody waits there any more
                place.set_result(None)
                return
        self._free += 1
