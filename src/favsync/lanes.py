"""Lanes: the writes of one user go one after another, so that a user who is blocked blocks nobody else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
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

    @contextlib.asynccontextmanager
    async def enter(self, users: Iterable[str], *, wait_s: float) -> AsyncIterator[None]:
        """Waits for the lanes of all `users`, in one order for everybody, but not for longer than `wait_s`.

        Raises LockTimeout then, and where too many wait already.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(wait_s):
                    for user in sorted(set(users)):
                        await stack.enter_async_context(self._one(user))
            except TimeoutError:
                raise LockTimeout from None
            yield

    @contextlib.asynccontextmanager
    async def _one(self, user: str) -> AsyncIterator[None]:
        lane = self._lanes.setdefault(user, _Lane())
        if lane.inside > WAITING_MAX:
            raise LockTimeout("Too many writes of this user are waiting. This one was not stored; send it again.")
        lane.inside += 1
        try:
            async with lane.lock:
                yield
        finally:
            lane.inside -= 1
            if not lane.inside:
                del self._lanes[user]
