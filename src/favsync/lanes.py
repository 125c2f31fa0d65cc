"""Lanes: the writes of one user go one after another, so that a user who is blocked blocks nobody else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field

from favsync.core.errors import LockTimeout

WAITING_MAX = 100


@dataclass(slots=True)
class _Lane:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    inside: int = 0


class Lanes:
    """One lane a user while somebody is in it: a user takes one database connection at a time, however busy."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}

    @contextlib.contextmanager
    def join(self, users: Iterable[str]) -> Iterator["Queue"]:
        """A place in the lanes of all `users`. Raises LockTimeout where too many wait in one of them already."""
        with contextlib.ExitStack() as stack:
            yield Queue([stack.enter_context(self._one(user)) for user in sorted(set(users))])

    @contextlib.contextmanager
    def _one(self, user: str) -> Iterator[asyncio.Lock]:
        lane = self._lanes.setdefault(user, _Lane())
        if lane.inside > WAITING_MAX:
            raise LockTimeout("Too many writes of this user are waiting. This one was not stored; send it again.")
        lane.inside += 1
        try:
            yield lane.lock
        finally:
            lane.inside -= 1
            if not lane.inside:
                del self._lanes[user]


class Queue:
    """A place in some lanes, whose locks are taken in one order by everybody."""

    def __init__(self, locks: list[asyncio.Lock]) -> None:
        self._locks = locks

    @contextlib.asynccontextmanager
    async def turn(self, *, wait_s: float) -> AsyncIterator[None]:
        """Waits until nobody else has a turn in any of the lanes. LockTimeout after `wait_s`."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(wait_s):
                    for lock in self._locks:
                        await stack.enter_async_context(lock)
            except TimeoutError:
                raise LockTimeout from None
            yield
