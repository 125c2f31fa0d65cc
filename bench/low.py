"""What a POST costs where nobody else asks.

It is set against its one statement, called directly, and HTTP: that of a bare round trip, and that of a POST, which is
read, checked and answered, but not stored. And against the same service without write combining, where HTTP calls the
statement directly.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import uvloop

from bench import stock
from bench.quantiles import quantile
from bench.results import Spread, Table
from bench.servers import PROGRAM, ROOT, Machine
from bench.sides import Sides
from bench.tokens import token
from bench.wire import Poster
from favsync.core.record import Key, Record, Version
from favsync.settings import Settings
from favsync.store import sql
from favsync.store.database import SESSION
from favsync.store.records import arguments

PAUSE_S = (0.01, 0.02)  # the sequencer has done with one write before the next comes
MUST = 1.1
WARM = 20  # of each, before the first that counts
_PUSH = sql.query("records/push")
_APPLIED, _FUTURE = b'"outcome":"applied"', b'"outcome":"future"'
_TOO_FAR_AHEAD = datetime(2099, 1, 1, tzinfo=UTC)
_ALONE = (str(ROOT / "bench" / "direct.py"),)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Client:
    """One client, which does one thing after another."""

    def __init__(self, poster: Poster, connection: asyncpg.Connection, users: int) -> None:
        self._poster = poster
        self._connection = connection
        self._users = users
        self._chance = random.Random(1)  # noqa: S311 -- so that the pauses keep no step with anything
        self._now = datetime.combine(stock.next_day(), datetime.min.time(), UTC)

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, url: str, target: dict[str, Any], users: int) -> AsyncIterator["_Client"]:
        """`target`: of the database of the service at `url`, as `asyncpg.connect` takes it."""
        poster = await Poster.opened(url)
        connection = await asyncpg.connect(**target, server_settings=SESSION | {"application_name": "bench"})
        yield cls(poster, connection, users)
        poster.close()
        await connection.close()

    async def post(self) -> float:
        """Seconds; as each of these."""
        user, item, now = self._next()
        return await self._post(user, item, now, _APPLIED)

    async def refused(self) -> float:
        """A POST, but for its statement."""
        user, item, _ = self._next()
        return await self._post(user, item, _TOO_FAR_AHEAD, _FUTURE)

    async def _post(self, user: str, item: str, at: datetime, outcome: bytes) -> float:
        date = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = f'[{{"item":"{item}","actionDate":"{date}","action":"ADD"}}]'.encode()
        who = token(user)
        began = time.perf_counter()
        answer = await self._poster.post("/postUserFavorites", who, body)
        lasted_s = time.perf_counter() - began
        if outcome not in answer:
            raise RuntimeError(f"not {outcome!r}: {answer!r}")
        return lasted_s

    async def push(self) -> float:
        user, item, now = self._next()
        action_us = (now - _EPOCH) // timedelta(microseconds=1)
        record = Record(Key(f"main/main/{user}", "main/favorites", item), Version(action_us, deleted=False))
        limits: list[Any] = [Settings.__dataclass_fields__["max_items"].default]
        began = time.perf_counter()
        await self._connection.fetch(_PUSH, *arguments([record], limits))
        return time.perf_counter() - began

    async def ask(self) -> float:
        began = time.perf_counter()
        await self._poster.get("/healthz")
        return time.perf_counter() - began

    async def pause(self, bounds_s: tuple[float, float]) -> None:
        await asyncio.sleep(self._chance.uniform(*bounds_s))

    def _next(self) -> tuple[str, str, datetime]:
        """A user, an item, and a time after all before."""
        self._now += timedelta(milliseconds=1)
        user, item = self._chance.randint(1, self._users), self._chance.randrange(stock.ITEMS)
        return f"user-{user}", f"session_{item}", self._now


Step = Callable[[_Client], Awaitable[float]]
_STEPS: tuple[Step, ...] = (_Client.post, _Client.push, _Client.ask, _Client.refused)


def measure(machine: Machine, *, users: int, rounds: int, count: int) -> list[Table]:
    """Each in turn; with pauses between, and without, where the sequencer works on one write during the next."""
    with Sides.stocked(machine, users) as sides:
        calm = [_medians(sides, count, _STEPS, PAUSE_S) for _ in range(rounds)]
        dense = [_medians(sides, count, _STEPS, None) for _ in range(rounds)]
    title = f"One client, p50 of {count} of each in turn, ms, {rounds} times"
    table = Table("low", title, ["with pauses", "one after another", "must be at most"])
    for row, what in enumerate(
        ("POST of one record", "its statement, called directly", "GET /healthz", "POST, not stored")
    ):
        table.add(what, *(Spread.of([each[row] for each in told]) for told in (calm, dense)), None)
    for http, what in ((2, "GET /healthz"), (3, "such a POST")):
        ratios = [Spread.of([each[0] / (each[1] + each[http]) for each in told]) for told in (calm, dense)]
        table.add(f"ratio of the POST to its statement and {what}", *ratios, MUST)
    return [table, _combining(machine, users, rounds, count)]


def _combining(machine: Machine, users: int, rounds: int, count: int) -> Table:
    """Each in turn, started anew; the service as it is comes last, and stays."""
    alone: list[float] = []
    combined: list[float] = []
    for _ in range(rounds):
        for program, found in ((_ALONE, alone), (PROGRAM, combined)):
            machine.service.stop()
            machine.service.start(program)
            with Sides.stocked(machine, users) as sides:
                found.extend(_medians(sides, count, [_Client.post], PAUSE_S))
    title = f"The same POST, p50 of {count}, with pauses, ms, {rounds} times"
    table = Table("combining", title, ["p50", "must be at most"])
    table.add("combined", Spread.of(combined), None)
    table.add("each a statement of its own", Spread.of(alone), None)
    table.add("ratio", Spread.of([ours / theirs for ours, theirs in zip(combined, alone, strict=True)]), MUST)
    return table


def _medians(sides: Sides, count: int, steps: Sequence[Step], pause_s: tuple[float, float] | None) -> list[float]:
    """Of each step, `count` times in turn with the others, in milliseconds."""

    async def times_s() -> list[list[float]]:
        found: list[list[float]] = [[] for _ in steps]
        async with _Client.opened(sides.url, sides.machine.target(), sides.users) as client:
            for number in range(-WARM, count):
                for step, lasted_s in zip(steps, found, strict=True):
                    if pause_s:
                        await client.pause(pause_s)
                    one_s = await step(client)
                    if number >= 0:
                        lasted_s.append(one_s)
        return found

    return [1000 * quantile(each, 0.5) for each in uvloop.run(times_s())]
