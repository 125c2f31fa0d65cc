"""A push looks before it locks. Who comes between is met as if the look had been under the lock."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest

from favsync.core.merge import merge
from favsync.core.record import Key, Record, Version
from favsync.store import records
from favsync.store.database import SESSION, Database
from favsync.store.records import Seen

SEED = 20170502
USERS = ["ann", "bob", "eve"]


def record(user: str, item: str, date: int, *, deleted: bool = False) -> Record:
    return Record(Key(user, "e", item), Version(date, deleted))


class Patient(Database):
    """Waits for locks as long as it takes."""

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        async with super().connection() as connection:
            await connection.execute("SET lock_timeout = '60s'")
            yield connection
            await connection.execute(f"SET lock_timeout = '{SESSION['lock_timeout']}'")


@pytest.fixture
async def patient(dsn: str) -> AsyncIterator[Database]:
    opened = Patient(pool_size=1)
    await opened.open({"dsn": dsn})
    yield opened
    await opened.close()


async def push_late(
    patient: Database,
    connection: asyncpg.Connection,
    offered: Sequence[Record],
    *between: Sequence[Record],
    limit: int | None = None,
) -> list[Seen]:
    """Offers records. They are looked at before, and their streams are locked after, all of `between` is committed."""
    async with connection.transaction():
        await connection.execute("SELECT FROM streams WHERE user_id = ANY ($1) FOR UPDATE", USERS)
        late = asyncio.create_task(records.push(patient, offered, [limit] * len(offered)))
        waits = "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
        async with asyncio.timeout(60):
            while not late.done() and not await connection.fetchval(waits):
                await asyncio.sleep(0.01)
        assert not late.done()
        for each in between:  # in the transaction that has the lock
            await connection.fetch(records._PUSH, *records.arguments(each, [None] * len(each)))
    return await late


async def seqs(connection: asyncpg.Connection) -> dict[str, int]:
    return {row["user_id"]: row["seq"] for row in await connection.fetch("SELECT * FROM streams")}


async def check(connection: asyncpg.Connection, versions: dict[Key, Version]) -> None:
    """The records are these; each has a number of its own, the greatest is its user's, and what waits is as written."""
    rows = await connection.fetch("SELECT user_id, entity, item, action_us, deleted, digest, seq FROM records")
    assert {Key(*row[:3]): Version(*row[3:6]) for row in map(tuple, rows)} == versions
    numbers: dict[str, list[int]] = {}
    for row in rows:
        numbers.setdefault(row["user_id"], []).append(row["seq"])
    assert all(len(set(each)) == len(each) for each in numbers.values())
    assert {user: max(each) for user, each in numbers.items()} == await seqs(connection)
    waiting = await connection.fetch(
        "SELECT user_id, item, s, a, d, p.seq FROM feed_pending p,"
        " unnest(items, seqs, action_us, deleted) AS i (item, s, a, d)"
    )
    last = {(row["user_id"], row["item"]): tuple(row)[2:5] for row in sorted(waiting, key=lambda row: row["s"])}
    assert last == {(row["user_id"], row["item"]): (row["seq"], row["action_us"], row["deleted"]) for row in rows}
    assert all(row["s"] <= row["seq"] for row in waiting)


@pytest.fixture
async def filled(database: Database) -> dict[Key, Version]:
    """What stands: two items of each user."""
    standing = [record(user, item, 10) for user in USERS for item in "ab"]
    await records.push(database, standing, [None] * len(standing))
    return {one.key: one.version for one in standing}


CASES: dict[str, tuple[Sequence[Record], Sequence[Sequence[Record]]]] = {
    "an older one came": ([record("ann", "a", 20)], [[record("ann", "a", 15)]]),
    "a newer one came": ([record("ann", "a", 20)], [[record("ann", "a", 25)]]),
    "the same came": ([record("ann", "a", 20)], [[record("ann", "a", 20)]]),
    "another item changed": ([record("ann", "a", 20)], [[record("ann", "b", 15)]]),
    "a new one came": ([record("ann", "new", 20)], [[record("ann", "new", 15)]]),
    "a new and newer one came": ([record("ann", "new", 20)], [[record("ann", "new", 25)]]),
    "its row moved and came back": (
        [record("ann", "a", 20)], [[record("ann", "a", date)] for date in (11, 12, 13, 14, 15)],
    ),
    "some of several users": (
        [record(user, item, 20) for user in ("eve", "ann", "bob") for item in ("b", "new", "a")],
        [[record("ann", "a", 25), record("bob", "new", 15)], [record("bob", "b", 20), record("ann", "new", 30)]],
    ),
    "all of one of several users": (
        [record(user, item, 20) for item in "ab" for user in USERS],
        [[record("bob", "a", 21), record("bob", "b", 20, deleted=True)]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_who_comes_between_is_seen(
    patient: Database, connection: asyncpg.Connection, filled: dict[Key, Version], case: str
) -> None:
    """Each record is told what stood when the lock was had, wins against that or loses, and leaves a trace or none."""
    offered, between = CASES[case]
    for each in between:
        for one in each:
            filled[one.key] = merge(filled.get(one.key), one.version)[1]
    stood = [filled.get(one.key) for one in offered]
    seen = await push_late(patient, connection, offered, *between)
    assert [what.version for what in seen] == stood
    for one in offered:
        filled[one.key] = merge(filled.get(one.key), one.version)[1]
    await check(connection, filled)


async def test_items_that_came_between_count(
    patient: Database, connection: asyncpg.Connection, filled: dict[Key, Version]
) -> None:
    """For the limit; and what is there by now is not one more."""
    offered = [record("ann", item, 20) for item in ("c", "a", "d")]
    seen = await push_late(patient, connection, offered, [record("ann", "d", 15)], limit=3)
    assert [what.refused for what in seen] == [True, False, False]
    assert [what.version for what in seen] == [None, Version(10, False), Version(15, False)]
    filled |= {one.key: one.version for one in offered[1:]}
    await check(connection, filled)


async def test_whoever_comes_between_at_random(
    patient: Database, connection: asyncpg.Connection, filled: dict[Key, Version]
) -> None:
    chance = random.Random(SEED)

    def some(date: int) -> list[Record]:
        keys = chance.sample([(user, item) for user in USERS for item in "abcdefgh"], chance.randrange(1, 12))
        return [record(user, item, date + chance.randrange(6), deleted=chance.random() < 0.2) for user, item in keys]

    for turn in range(40):
        offered, between = some(20 + 4 * turn), [some(20 + 4 * turn) for _ in range(chance.randrange(3))]
        may_win = any(filled.get(one.key) is None or one.version > filled[one.key] for one in offered)
        if not may_win:
            continue
        seen = await push_late(patient, connection, offered, *between)
        for one in (one for each in between for one in each):
            filled[one.key] = merge(filled.get(one.key), one.version)[1]
        for one, what in zip(offered, seen, strict=True):
            stood = filled.get(one.key)
            # What loses at the first look has lost for good, to that version or a later one.
            assert what.version == stood or (what.version is not None and what.version >= one.version), turn
        for one in offered:
            filled[one.key] = merge(filled.get(one.key), one.version)[1]
        await check(connection, filled)
