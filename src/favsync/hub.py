"""News within this process: who waits for something to change hears of it at once, whoever it was that found out.

Nothing here is a promise. Who hears of news looks for itself, and looks now and then without having heard of any.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

_T = TypeVar("_T")


class Topic(NamedTuple):
    """What news is of: the feed of a stored entity, or one owner's records of it."""

    entity: str
    owner: str | None = None


class Board:
    """Where the news of one topic is posted. `number`: of the latest. `turns`: of those who read."""

    def __init__(self, turns: asyncio.Semaphore) -> None:
        self.number = 0
        self.followers = 0
        self._changed = asyncio.Event()
        self._reads: dict[Hashable, asyncio.Task[Any]] = {}
        self._turns = turns

    def post(self) -> None:
        self.number += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def beyond(self, number: int, *, wait_s: float) -> bool:
        """Returns when there is news beyond `number`; False where there is none within `wait_s`."""
        if self.number == number:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
        return self.number != number

    async def read(self, what: Hashable, reader: Callable[[], Awaitable[_T]]) -> _T:
        """What `reader` gives, read once for all who want the same at once.

        It began after the latest news that was posted when this was called. `what`: tells apart what is read.
        """
        key = (self.number, what)
        task = self._reads.get(key)
        if task is None:
            task = self._reads[key] = asyncio.create_task(self._in_turn(reader))
            task.add_done_callback(lambda done: self._forget(key, done))
        result: _T = await asyncio.shield(task)
        return result

    async def _in_turn(self, reader: Callable[[], Awaitable[_T]]) -> _T:
        async with self._turns:
            return await reader()

    def _forget(self, key: Hashable, done: asyncio.Task[Any]) -> None:
        del self._reads[key]
        if not done.cancelled():
            done.exception()  # for whoever is still there to await it


class Hub:
    """The boards of all topics that somebody follows.

    `woken`: set when there is something for the sequencer to do. `written`: the entities of which records were written
    since it took them, or None where they may be any.
    `reads`: how many of those who follow may read at once, so that a crowd leaves others a connection.
    """

    def __init__(self, *, reads: int = 5) -> None:
        self._turns = asyncio.Semaphore(reads)
        self.woken = asyncio.Event()
        self.written: set[str] | None = set()
        self._boards: dict[str, dict[str | None, Board]] = {}

    @contextlib.contextmanager
    def follow(self, topic: Topic) -> Iterator[Board]:
        """The topic's board. What changed before this is to be read; of what changes from now on there is news."""
        of_entity = self._boards.setdefault(topic.entity, {})
        board = of_entity.setdefault(topic.owner, Board(self._turns))
        board.followers += 1
        try:
            yield board
        finally:
            board.followers -= 1
            if not board.followers:
                del of_entity[topic.owner]
                if not of_entity:
                    del self._boards[topic.entity]

    def wrote(self, topics: Iterable[Topic]) -> None:
        """Records were written: of these topics, or, where there are none, perhaps of any."""
        changed = list(topics)
        if not changed:
            self.written = None
        elif self.written is not None:
            self.written.update(topic.entity for topic in changed)
        self.woken.set()
        for topic in changed:
            self.post(topic)

    def post(self, topic: Topic) -> None:
        """There is news of the topic."""
        if board := self._boards.get(topic.entity, {}).get(topic.owner):
            board.post()

    def post_all(self) -> None:
        """There may be news of everything."""
        for of_entity in self._boards.values():
            for board in of_entity.values():
                board.post()

    def owners(self, entity: str) -> set[str]:
        """Those whose records of a stored entity somebody follows."""
        return {owner for owner in self._boards.get(entity, ()) if owner is not None}
