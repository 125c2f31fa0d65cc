"""Who writes, purges and follows while sequencers are stopped: a few records, again and again."""

import asyncio
import contextlib
import itertools
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, NamedTuple

import aiohttp
import asyncpg

from favsync.core import timestamp
from favsync.core.record import Key, Record, Version, entity_key, owner_key
from favsync.store import purging, sql
from favsync.store.records import arguments
from tests.e2e.service import Service, token
from tests.simulation.copies import ENTITY, Copy, live_records
from tests.simulation.gates import Gates, until

KEY = entity_key(ENTITY)
ITEMS = ["one", "two", "three", "four"]  # of each of the writers: few, so that they are written again and again
PAUSE_WRITING_S = 0.06
_PUSH = sql.query("records/push")


class Side(NamedTuple):
    """A service, and the role that it connects as."""

    service: Service
    role: str

    def signal(self, number: signal.Signals) -> None:
        self.service.process.send_signal(number)

    async def start(self) -> None:
        await asyncio.to_thread(self.service.start)


class Change(NamedTuple):
    item: str
    deleted: bool


class Crowd:
    """`resting`: nobody writes, and nobody purges."""

    def __init__(self, dsn: str, gates: Gates, session: aiohttp.ClientSession, seed: str) -> None:
        self.purges = 0
        self._dsn = dsn
        self._gates = gates
        self._session = session
        self._seed = seed
        self._clock_ms = itertools.count(int(time.time() * 1000))
        self._tasks: list[asyncio.Task[None]] = []
        self._goes = asyncio.Event()
        self._busy = 0
        self._goes.set()

    # What goes on all the time.

    def begin(self, *work: Coroutine[Any, Any, None]) -> None:
        self._tasks += [asyncio.create_task(each) for each in work]

    async def write_by_sql(self, user: str) -> None:
        chance = random.Random(f"{self._seed} {user}")
        async with connected(self._dsn) as connection:
            while True:
                async with self._turn():
                    await self.push(connection, user, _some(chance))
                await asyncio.sleep(chance.uniform(0, PAUSE_WRITING_S))

    async def write_through(self, service: Service, user: str) -> None:
        chance = random.Random(f"{self._seed} {user}")
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with self._turn():
                    await self.post(service, user, _some(chance))
            await asyncio.sleep(chance.uniform(0, PAUSE_WRITING_S))

    async def purge_again_and_again(self) -> None:
        chance = random.Random(f"{self._seed} purge")
        async with connected(self._dsn) as connection:
            while True:
                async with self._turn():
                    await purge(connection, older_than_s=chance.choice([0, 0, 0.2]))
                    self.purges += 1
                await asyncio.sleep(chance.uniform(0, PAUSE_WRITING_S))

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        while not self._goes.is_set():  # it may be cleared again before this goes on
            await self._goes.wait()
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    @contextlib.asynccontextmanager
    async def resting(self) -> AsyncIterator[None]:
        """From when all that was written is placed and settled."""
        self._goes.clear()
        try:
            await self.until(self.quiet)
            yield
        finally:
            self._goes.set()

    async def quiet(self) -> bool:
        return not self._busy and not await self._gates.busy()

    async def until(self, found: Callable[[], Awaitable[Any]]) -> Any:
        """What `found` gives, once that is true; what went wrong meanwhile is raised at once."""

        async def look() -> Any:
            for task in self._tasks:
                if task.done():
                    task.result()
            return await found()

        return await until(look)

    # What is done once.

    async def push(self, connection: asyncpg.Connection, user: str, changes: Iterable[Change]) -> None:
        """By SQL."""
        [*changes] = changes
        now_us = next(self._clock_ms) * timestamp.US_PER_MS
        records = [Record(Key(owner_key(user), KEY, one.item), Version(now_us, one.deleted)) for one in changes]
        await connection.execute(_PUSH, *arguments(records, [None] * len(records)))

    async def post(self, service: Service, user: str, changes: Iterable[Change]) -> None:
        """Through a service. Raises aiohttp.ClientError or OSError where it is away: then it is perhaps written."""
        at = timestamp.render(next(self._clock_ms) * timestamp.US_PER_MS)
        sent = [{"item": item, "actionDate": at, "action": "DELETE" if dead else "ADD"} for item, dead in changes]
        headers = {"Authorization": f"Bearer {token(user)}"}
        async with self._session.post(f"{service.url}/sync/{ENTITY}", json=sent, headers=headers) as answer:
            if answer.status == 503:
                raise aiohttp.ClientConnectionError(await answer.text())
            assert answer.status == 200, await answer.text()

    async def seqs(self, user: str, items: list[str]) -> list[int]:
        rows = await self._gates.connection.fetch(
            "SELECT item, seq FROM records WHERE (user_id, entity) = ($1, $2)", owner_key(user), KEY
        )
        known = {row["item"]: row["seq"] for row in rows}
        return [known[item] for item in items]

    async def finish(self, copies: list[Copy]) -> None:
        """Lets all that was written be placed and settled, and judges what the feed holds, and what the copies do.

        Raises AssertionError.
        """
        async with self.resting():
            await self._end()
            faults = await self._gates.faults()
            assert not faults, faults
            expected = await live_records(self._gates.connection)
            for copy in copies:
                while await copy.page(limit=1000) or not copy.whole:
                    pass
                assert copy.live == expected

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
        self._tasks.clear()

    async def leave(self) -> None:
        """Nobody goes on, whatever had become of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


async def purge(connection: asyncpg.Connection, *, older_than_s: float) -> None:
    before = await connection.fetchval("SELECT clock_timestamp() - make_interval(secs => $1)", older_than_s)
    await purging.purge(connection, KEY, before)


@contextlib.asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        connection.terminate()


def _some(chance: random.Random) -> list[Change]:
    return [Change(item, chance.random() < 0.5) for item in chance.sample(ITEMS, chance.randrange(1, 4))]
