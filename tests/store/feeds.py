"""What tests of the feeds have in common: writing, and looking at what came of it behind the service's back."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import asyncpg

from favsync.core.record import Key, Record, Version
from favsync.store import placing, records
from favsync.store.database import Database
from favsync.store.placing import Placed

EVER = datetime(2100, 1, 1, tzinfo=UTC)
DEADLINE_S = 60.0


def change(item: str, date: int = 1, *, user: str = "ann", entity: str = "e", deleted: bool = False) -> Record:
    return Record(Key(user, entity, item), Version(date, deleted))


async def push(database: Database, *offered: Record) -> None:
    await records.push(database, offered, [None] * len(offered))


async def place_all(connection: asyncpg.Connection) -> list[Placed]:
    """As a sequencer does, until nothing waits."""
    done = []
    while found := await placing.waiting(connection):
        for entity, until, _ in found:
            done.append(await placing.place(connection, entity, until))
            await placing.settle(connection, done[-1])
    return done


async def placed(connection: asyncpg.Connection, entity: str = "e") -> dict[str, int]:
    """The position of each item of a feed, in order."""
    rows = await connection.fetch("SELECT item, position FROM feed WHERE entity = $1 ORDER BY position", entity)
    return {row["item"]: row["position"] for row in rows}


async def head(connection: asyncpg.Connection, entity: str = "e") -> int:
    return (await placing.heads(connection)).get(entity, 0)


async def pending(connection: asyncpg.Connection) -> list[tuple[str, int]]:
    """The items that wait, each with the seq that does."""
    rows = await connection.fetch("SELECT unnest(items) AS item, unnest(seqs) AS seq FROM feed_pending ORDER BY 1, 2")
    return [(row["item"], row["seq"]) for row in rows]


_COLUMNS = "entity, user_id, item, seq, action_us, deleted, digest, fields::text"


async def is_all_that_is_recorded(connection: asyncpg.Connection, *, purged: frozenset[str] = frozenset()) -> None:
    """The feeds have each record once, at its version; but for what was `purged`; at places that were given away."""
    standing = await connection.fetch(f"SELECT {_COLUMNS} FROM records ORDER BY 1, 2, 3")
    shown = await connection.fetch(f"SELECT {_COLUMNS} FROM feed ORDER BY 1, 2, 3")
    assert [tuple(row) for row in shown] == [tuple(row) for row in standing if row["item"] not in purged]
    heads = await placing.heads(connection)
    tops = await connection.fetch("SELECT entity, max(position), min(position) FROM feed GROUP BY 1")
    for entity, top, bottom in tops:
        assert 0 < bottom <= top <= heads[entity]


async def until(true: Callable[[], Awaitable[object]], what: str) -> None:
    """Looks until it is so; AssertionError where it never is."""
    deadline = time.monotonic() + DEADLINE_S
    while not await true():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)
