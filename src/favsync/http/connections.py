"""Who may keep a connection, and for how long: bounded in number, and in time wherever it waits for its client."""

import asyncio
import enum
import time
from collections.abc import Mapping
from typing import Protocol

import structlog

_log = structlog.get_logger(__name__)

TICK_S = 0.25
BATCH = 100  # ended in one go; the rest a moment later, so that a flood that expires at once stalls nobody
BATCH_PAUSE_S = 0.01
REPORT_S = 10.0


class Wait(enum.Enum):
    """What a connection waits for its client to do."""

    HEAD = "send a whole head"
    IDLE = "begin another request"
    BODY = "send the body"
    REST = "send what nobody reads, and go"
    READ = "read the answer"


class Connection(Protocol):
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
        self._open: dict[Connection, Wait | None] = {}
        # Of each kind, oldest first, with the time since when: so the first ones are the only ones to look at.
        self._waiting: dict[Wait, dict[Connection, float]] = {wait: {} for wait in Wait}
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
        self._open[connection] = None
        self.wait(connection, Wait.HEAD)
        return True

    def wait(self, connection: Connection, wait: Wait) -> None:
        """From now on it waits for its client."""
        if connection not in self._open:
            return
        self.work(connection)
        self._open[connection] = wait
        self._waiting[wait][connection] = time.monotonic()
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(TICK_S, self._end_what_is_over)

    def work(self, connection: Connection) -> None:
        """From now on it does not."""
        wait = self._open.get(connection)
        if wait is not None:
            del self._waiting[wait][connection]
            self._open[connection] = None

    def waits_for(self, connection: Connection) -> Wait | None:
        return self._open.get(connection)

    def remove(self, connection: Connection) -> None:
        self.work(connection)
        self._open.pop(connection, None)

    def _evict(self) -> bool:
        firsts = [next(iter(waiting.items())) for waiting in self._waiting.values() if waiting]
        if not firsts:
            return False
        connection, _since = min(firsts, key=lambda first: first[1])
        self._evicted += 1
        connection.abort()
        return True

    def _end_what_is_over(self) -> None:
        self._sweep = None
        now, left = time.monotonic(), BATCH
        for wait, waiting in self._waiting.items():
            while waiting and left:
                connection, since = next(iter(waiting.items()))
                if now < since + self._patience_s[wait]:
                    break
                left -= 1
                self.work(connection)
                connection.expire(wait)
        if (self._evicted or self._refused) and now >= self._report_at:
            _log.warning("connections are full", limit=self._limit, evicted=self._evicted, refused=self._refused)
            self._evicted = self._refused = 0
            self._report_at = now + REPORT_S
        if self._sweep is None and any(self._waiting.values()):
            self._sweep = asyncio.get_running_loop().call_later(
                TICK_S if left else BATCH_PAUSE_S, self._end_what_is_over
            )
