"""Reads that share a statement: what is asked while one is under way is asked in the next, for everybody at once."""

import asyncio
import contextvars
import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

from favsync.core.errors import Unavailable

TURNS = 3  # of the event loop, for others to ask, where several have asked lately: batches twice as large under load

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Gathering(Generic[_Key, _Value]):
    """`read`: the values of some keys, `most` of them at a time, in so many `statements` at once.

    Each is read after it was asked for, whoever else asked for it before.
    """

    def __init__(
        self, read: Callable[[Sequence[_Key]], Awaitable[Mapping[_Key, _Value]]], *, most: int, statements: int = 1
    ) -> None:
        self._read = read
        self._most = most
        self._statements = statements
        self._asked: list[tuple[_Key, asyncio.Future[_Value]]] = []
        self._reading = 0  # statements, under way
        self._several = False  # asked, the latest time
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, key: _Key) -> _Value:
        """The value of `key`. Raises what `read` raises; KeyError where that leaves it out."""
        answer: asyncio.Future[_Value] = asyncio.get_running_loop().create_future()
        self._asked.append((key, answer))
        if self._reading < self._statements:
            self._reading += 1
            # Not in the context of who happens to come first, whose request's id would stand in the log.
            task = asyncio.create_task(self._go_on(), context=contextvars.Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    async def _go_on(self) -> None:
        try:
            while self._asked:
                for _ in range(TURNS if self._several else 0):
                    await asyncio.sleep(0)
                now, self._asked = self._asked[: self._most], self._asked[self._most :]
                if not now:
                    break  # other statements took them meanwhile
                self._several = len(now) > 1
                if awaited := [(key, answer) for key, answer in now if not answer.done()]:
                    await self._answer(awaited)
        finally:
            self._reading -= 1  # at once: who asks from here on begins anew

    async def _answer(self, asked: list[tuple[_Key, asyncio.Future[_Value]]]) -> None:
        try:
            values = await self._read(list({key: None for key, _ in asked}))
            for key, answer in asked:
                if not answer.done():
                    answer.set_result(values[key])
        except BaseException as error:  # noqa: BLE001 -- whatever it was, everybody who asked hears of it
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(copy.copy(error) if isinstance(error, Exception) else Unavailable())
