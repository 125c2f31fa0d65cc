"""Who may keep a connection, and for how long: bounded in number, and in time wherever it waits for its client."""

import asyncio
import enum
import time
from collections.abc import Mapping
from typing import Protocol

import structlog

_log = structlog.get_logger(__name__)

READER_S = 30.0  # for a client to go on reading, or to go
TICK_S = 0.25
BATCH = 100  # ended in one go; the rest a moment later, so that a flood that expires at once stalls nobody
BATCH_PAUSE_S = 0.01
REPORT_S = 10.0
HELD_BYTES_MAX = 256 * 1024 * 1024  # of bodies that are coming and answers that are going, all taken together


class Wait(enum.IntEnum):
    """What a connection waits for its client to do."""

    HEAD = 0  # to send a whole head
    IDLE = 1  # to begin another request
    BODY = 2  # to send the body
    REST = 3  # to send what nobody reads, take its answer and go
    READ = 4  # to read an answer that is too large to be sent at once


class Connection(Protocol):
    waits_for: Wait | None  # kept by `Connections`

    def expire(self, wait: Wait) -> None:
        """It has waited for longer than it may: ends it, or has it wait anew."""

    def abort(self) -> None:
        """Ends it at once, and removes it."""


class Connections:
    """At most `limit` connections: a new one takes the place of the one that has waited longest for its client.

    A connection that is being worked on keeps its place. `patience_s`: for how long each kind of waiting may last.
    """

    def __init__(self, limit: int, patience_s: Mapping[Wait, float]) -> None:
        self._limit = limit
        self._patience_s = patience_s
        # Those that wait, and since when. In each kind the oldest come first, so nobody has to look at the others.
        self._waiting: list[dict[Connection, float]] = [{} for _ in Wait]
        self._open: set[Connection] = set()
        self._held_bytes: dict[Connection, int] = {}  # the oldest first
        self._held_bytes_sum = 0
        self._sweep: asyncio.TimerHandle | None = None
        self._evicted = self._refused = 0
        self._report_at = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Connection) -> bool:
        """Takes a new connection, which waits for its head; False where all places are taken by work under way."""
        if len(self._open) >= self._limit and not self._evict():
            self._refused += 1
            return False
        self._open.add(connection)
        self.wait(connection, Wait.HEAD)
        return True

    def wait(self, connection: Connection, wait: Wait, *, held_bytes: int = 0) -> None:
        """From now on it waits for its client, and may hold so much memory meanwhile."""
        if connection not in self._open:
            return
        self.work(connection)
        connection.waits_for = wait
        self._waiting[wait][connection] = time.monotonic()
        self.hold(connection, held_bytes)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(TICK_S, self._end_what_is_over)

    def hold(self, connection: Connection, held_bytes: int) -> None:
        """So much memory it holds from now on, until it is worked on, or waits anew.

        Where all of them hold too much, those that have held some for longest give way.
        """
        if connection in self._held_bytes:
            self._held_bytes_sum -= self._held_bytes[connection]
        if not held_bytes or connection not in self._open:
            self._held_bytes.pop(connection, None)
            return
        self._held_bytes[connection] = held_bytes
        self._held_bytes_sum += held_bytes
        while self._held_bytes_sum > HELD_BYTES_MAX and len(self._held_bytes) > 1:
            self._end(next(iter(self._held_bytes)))

    def work(self, connection: Connection) -> None:
        """From now on it does not."""
        wait = connection.waits_for
        if wait is not None:
            del self._waiting[wait][connection]
            connection.waits_for = None
        if self._held_bytes:
            self.hold(connection, 0)

    def remove(self, connection: Connection) -> None:
        self.work(connection)
        self._open.discard(connection)

    def _evict(self) -> bool:
        firsts = [next(iter(waiting.items())) for waiting in self._waiting if waiting]
        if not firsts:
            return False
        connection, _since = min(firsts, key=lambda first: first[1])
        self._end(connection)
        return True

    def _end(self, connection: Connection) -> None:
        self._evicted += 1
        connection.abort()

    def _end_what_is_over(self) -> None:
        self._sweep = None
        now, left = time.monotonic(), BATCH
        for wait in Wait:
            waiting = self._waiting[wait]
            while waiting and left:
                connection, since = next(iter(waiting.items()))
                if now < since + self._patience_s[wait]:
                    break
                left -= 1
                self.work(connection)
                connection.expire(wait)
        if (self._evicted or self._refused) and now >= self._report_at:
            _log.warning(
                "connections were ended to make room",
                open=len(self._open), limit=self._limit, evicted=self._evicted, refused=self._refused,
            )  # fmt: skip
            self._evicted = self._refused = 0
            self._report_at = now + REPORT_S
        if self._sweep is None and any(self._waiting):
            self._sweep = asyncio.get_running_loop().call_later(
                TICK_S if left else BATCH_PAUSE_S, self._end_what_is_over
            )
