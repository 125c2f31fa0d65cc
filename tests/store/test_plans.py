"""On 80,000 rows, with the planner's default settings, no hot statement reads a table from end to end."""

import re

import asyncpg
import pytest

from favsync.core.record import Key, Record, Version
from favsync.store import records, sql
from favsync.store.database import SESSION, Database

READS = {
    "records/list": (("e", "item2", 100), "records_pkey"),
    "records/changes": (("e", 50, 100), "records_by_seq"),
    "records/list_several": (("{e,f}", '{item2,""}', 100), "records_pkey"),
    "records/changes_several": (("{e,f}", 50, 100), "records_by_seq"),
    "streams/seq": ((), "streams_pkey"),
}


@pytest.fixture
async def filled(connection: asyncpg.Connection) -> asyncpg.Connection:
    await connection.execute(
        """
        INSERT INTO streams SELECT 'ann' || u, 100 FROM generate_series(1, 500) u;
        INSERT INTO records SELECT 'ann' || u, 'e', 'item' || i, 1, false, '', null, i
          FROM generate_series(1, 500) u, generate_series(1, 100) i;
        INSERT INTO streams VALUES ('shared', 30000);
        INSERT INTO records SELECT 'shared', 'e', 'item' || i, 1, false, '', null, i FROM generate_series(1, 30000) i;
        INSERT INTO feed_pending SELECT user_id, entity, item, seq, action_us, deleted, digest, fields FROM records;
        """
    )
    await connection.execute("ANALYZE")
    return connection


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", READS)
async def test_reads_use_their_index(filled: asyncpg.Connection, name: str, mode: str) -> None:
    """And read what they show, also of a set that is larger by far than what a plan for any user expects."""
    args, index = READS[name]
    for setting, value in (SESSION | {"plan_cache_mode": mode}).items():
        await filled.execute(f"SET {setting} = '{value}'")
    await filled.execute(f"PREPARE hot AS {sql.query(name)}")
    for user in ("ann1", "shared"):
        literals = ", ".join(repr(arg) for arg in (user, *args))
        lines = "\n".join(row[0] for row in await filled.fetch(f"EXPLAIN ANALYZE EXECUTE hot ({literals})"))
        assert "Seq Scan" not in lines
        assert index in lines, lines
        assert max(map(float, re.findall(r"actual time=\S+ rows=([\d.]+)", lines))) <= 101, lines


@pytest.mark.parametrize("size", [1, 32, 1000])
async def test_a_push_reads_no_table_from_end_to_end(filled: asyncpg.Connection, dsn: str, size: int) -> None:
    """The function's own statements cannot be explained from outside; what they read is counted instead."""
    database = Database(pool_size=1)
    await database.open({"dsn": dsn})  # which compares the feeds with the records, all of them
    before = await _scans(filled)
    for turn in range(8):  # beyond the five after which PostgreSQL may change to another kind of plan
        offered = [
            Record(Key(f"ann{number + 1}", "e", f"item{number % 205}"), Version(turn, False)) for number in range(size)
        ]
        await records.push(database, offered, [10_000] * len(offered))
    await database.close()
    after = await _scans(filled)
    assert after["records"]["idx_scan"] - before["records"]["idx_scan"] >= 8
    for table in ("streams", "records", "feed_pending"):
        assert after[table]["seq_scan"] == before[table]["seq_scan"], table


async def test_a_plan_that_was_made_on_empty_tables_still_serves(connection: asyncpg.Connection, dsn: str) -> None:
    """A new deployment under load: the first plans are kept while the tables grow, for autovacuum is a minute away."""
    database = Database(pool_size=1)
    await database.open({"dsn": dsn})

    async def push_some(begin: int) -> None:
        for number in range(begin, begin + 20):
            offered = [Record(Key(f"ann{number % 5}", "e", f"item{number}"), Version(1, False))]
            await records.push(database, offered, [10_000] * len(offered))

    await push_some(0)
    await connection.execute("INSERT INTO streams SELECT 'bob' || u, 1 FROM generate_series(1, 20000) u")
    before = await _scans(connection)
    await push_some(100)
    await database.close()
    after = await _scans(connection)
    for table in ("streams", "records", "feed_pending"):
        assert after[table]["seq_scan"] == before[table]["seq_scan"], table


async def test_a_push_reads_no_more_than_it_writes(connection: asyncpg.Connection, dsn: str) -> None:
    """Of a user with many records, and before anything was analysed: each that comes looks for its own row alone."""
    database = Database(pool_size=1)
    await database.open({"dsn": dsn})
    for turn in range(8):
        offered = [Record(Key("ann", "e", f"item{number}"), Version(turn, False)) for number in range(1000)]
        await records.push(database, offered, [10_000] * 1000)
    await database.close()
    await _scans(connection)
    read = await connection.fetchval("SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'records'")
    assert read < 8 * 1000 * 6


async def test_a_table_that_was_emptied_fills_again(connection: asyncpg.Connection, dsn: str) -> None:
    """Seen empty, it is thought so until it is analysed again: two batches, compared each with each, took 20 s."""
    await connection.execute("VACUUM ANALYZE records")
    database = Database(pool_size=1)
    await database.open({"dsn": dsn})
    for begin in (0, 10_000):
        offered = [Record(Key("ann", "e", f"item{begin + number}"), Version(1, False)) for number in range(10_000)]
        assert len(await records.push(database, offered, [None] * len(offered))) == 10_000
    await database.close()


async def _scans(connection: asyncpg.Connection) -> dict[str, asyncpg.Record]:
    """How often each table was read, and how; a session that ends, as the service's has, has told its counts."""
    await connection.execute("SELECT pg_stat_force_next_flush()")
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    rows = await connection.fetch("SELECT relname, seq_scan, idx_scan FROM pg_stat_user_tables")
    return {row["relname"]: row for row in rows}
