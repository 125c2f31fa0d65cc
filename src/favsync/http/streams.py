"""Places for answers that go on for as long as there may be news: event streams, and reads that wait."""

import asyncio
import contextlib
from collections.abc import Iterator
from enum import StrEnum
from typing import cast

from aiohttp import web

from favsync.core.errors import Unavailable


class Reason(StrEnum):
    """Why an answer ended that would have gone on."""

    TOKEN = "token"  # noqa: S105 -- no secret
    CURSOR = "cursor"
    ROOM = "room"
    SHUTDOWN = "shutdown"
    FAULT = "fault"
    LEFT = "left"


class Ended(Exception):
    """A place was taken back."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason)


class _Place:
    def __init__(self, task: asyncio.Task[object]) -> None:
        self._task = task
        self.reason: Reason | None = None

    def end(self, reason: Reason) -> None:
        if self.reason is None:
            self.reason = reason
            self._task.cancel()


class Streams:
    """At most `limit` answers that go on. Where all places are taken, the caller who has most gives up its oldest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._places: dict[str, dict[_Place, None]] = {}  # by owner, the oldest first
        self._closed = False

    def __len__(self) -> int:
        return self._count

    @contextlib.contextmanager
    def place(self, request: web.Request, owner: str) -> Iterator[None]:
        """A place for the task that calls this. Raises Ended in the block, when it is taken back."""
        place = _Place(cast("asyncio.Task[object]", asyncio.current_task()))
        connection = request.protocol
        self._add(owner, place)
        connection.hold_head()  # type: ignore[attr-defined]  # of http/protocol.py
        connection.on_lost = lambda: place.end(Reason.LEFT)  # type: ignore[attr-defined]
        try:
            yield
        except asyncio.CancelledError:
            if place.reason is None or cast("asyncio.Task[object]", asyncio.current_task()).uncancel():
                raise
            raise Ended(place.reason) from None
        finally:
            connection.on_lost = None  # type: ignore[attr-defined]
            self._remove(owner, place)

    def close(self) -> None:
        """Ends them all; there will be no others."""
        self._closed = True
        for places in list(self._places.values()):
            for place in list(places):
                place.end(Reason.SHUTDOWN)

    def _add(self, owner: str, place: _Place) -> None:
        if self._closed:
            raise Unavailable("The service ends.")
        if self._count >= self._limit:
            greediest = max(self._places, key=lambda one: len(self._places[one]))
            oldest = next(iter(self._places[greediest]))
            oldest.end(Reason.ROOM)
            self._remove(greediest, oldest)
        self._places.setdefault(owner, {})[place] = None
        self._count += 1

    def _remove(self, owner: str, place: _Place) -> None:
        places = self._places.get(owner, {})
        if place in places:
            del places[place]
            self._count -= 1
            if not places:
                del self._places[owner]
