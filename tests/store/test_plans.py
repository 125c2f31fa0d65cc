"""On 80,000 rows, with the planner's default settings, no hot statement reads a table from end to end."""

import re
from datetime import UTC, datetime

import asyncpg
import pytest

from favsync.core.record import Key, Record, Version
from favsync.store import placing, purging, records, sql
from favsync.store.database import SESSION, Database

STRETCH = 1024  # what changed is found by stretches of so many numbers
# How many rows of any kind may be read at most.
READS = {
    "records/list": (("e", "item2", 100), "records_pkey", 101),
    "records/changes": (("e", 50, 100), "records_by_seq", STRETCH),
    "records/list_several": (("{e,f}", '{item2,""}', 100), "records_pkey", 101),
    "records/changes_several": (("{e,f}", 50, 100), "records_by_seq", STRETCH),
    "records/show": (("{e}", 100, 1000), "records_pkey", 101),  # of users as of entities: an array
}


@pytest.fixture
async def filled(connection: asyncpg.Connection) -> asyncpg.Connection:
    await connection.execute(
        """
        INSERT INTO streams SELECT 'ann' || u, 100 FROM generate_series(1, 500) u;
        INSERT INTO records SELECT 'ann' || u, 'e', 'item' || i, 1, false, '', null, i
          FROM generate_series(1, 500) u, generate_series(1, 100) i;
        INSERT INTO streams VALUES ('t//shared', 30000), ('large', 20000);
        INSERT INTO records SELECT 't//shared', 'e', 'item' || i, 1, false, '', null, i
          FROM generate_series(1, 30000) i;
        INSERT INTO records SELECT 'large', 'e', 'item' || i, 1, false, '', null, i FROM generate_series(1, 20000) i;
        INSERT INTO feed_pending (user_id, entity, seq, items, seqs, action_us, deleted, digests)
          SELECT user_id, entity, max(seq), array_agg(item), array_agg(seq), array_agg(action_us), array_agg(deleted),
                 array_agg(digest)
          FROM records GROUP BY user_id, entity, seq / 10;
        """
    )
    await connection.execute("ANALYZE")
    return connection


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", READS)
async def test_reads_use_their_index(filled: asyncpg.Connection, name: str, mode: str) -> None:
    """And read what they show, also of a set that is larger by far than what a plan for any user expects."""
    args, index, most = READS[name]
    for setting, value in (SESSION | {"plan_cache_mode": mode}).items():
        await filled.execute(f"SET {setting} = '{value}'")
    await filled.execute(f"PREPARE hot AS {sql.query(name)}")
    for user in ("ann1", "t//shared", "large"):
        who = f"{{{user}}}" if name == "records/show" else user
        literals = ", ".join(repr(arg) for arg in (who, *args))
        lines = "\n".join(row[0] for row in await filled.fetch(f"EXPLAIN ANALYZE EXECUTE hot ({literals})"))
        assert "Seq Scan" not in lines
        assert index in lines, lines
        allowed = 101 if user == "t//shared" else most
        assert max(map(float, re.findall(r"actual time=\S+ rows=([\d.]+)", lines))) <= allowed, lines
        assert sum(map(int, re.findall(r"Rows Removed by Filter: (\d+)", lines))) <= allowed, lines


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_many_users_are_looked_up_by_their_index(filled: asyncpg.Connection, mode: str) -> None:
    await filled.execute("INSERT INTO streams SELECT 'bob' || u, 1 FROM generate_series(1, 50000) u")
    await filled.execute("ANALYZE streams")
    for setting, value in (SESSION | {"plan_cache_mode": mode}).items():
        await filled.execute(f"SET {setting} = '{value}'")
    await filled.execute(f"PREPARE seqs AS {sql.query('streams/seq')}")
    for users in ("{ann1}", "{" + ",".join(f"ann{number}" for number in range(100)) + "}"):
        lines = "\n".join(row[0] for row in await filled.fetch(f"EXPLAIN EXECUTE seqs ('{users}')"))
        assert "streams_pkey" in lines, lines


FEED_READS = {
    "feed/page": ("'e', 20000, 100", "feed_by_position"),
    "feed/show": ("'e', 20000, 100, 'a/b/'", "feed_by_position"),
    "feed/owners": ("'e', 20000, 100", "feed_by_position"),
    "feed/horizon": ("'e', now()", "feed_tombstones"),
    "pending/waiting": ("100, '{}'", "feed_pending_by_age"),
    "pending/oldest": (None, "feed_pending_by_age"),
}


@pytest.fixture
async def with_feeds(connection: asyncpg.Connection) -> asyncpg.Connection:
    """One of 40,000 records, one in ten a tombstone, half of them changed since; and others before and behind."""
    await connection.execute(
        """
        INSERT INTO feed
          SELECT 'e', 'ann' || i % 100, 'item' || i, i, i, 1, i % 10 = 0, '', null, now() - interval '1 day'
          FROM generate_series(1, 40000) i;
        INSERT INTO feed SELECT e, user_id, item, position, seq, action_us, deleted, digest, fields, placed_at
          FROM feed, unnest('{d,f}'::text[]) e WHERE position <= 1000;
        INSERT INTO feed_head SELECT entity, max(position), 0 FROM feed GROUP BY 1;
        INSERT INTO feed_pending (user_id, entity, seq, items, seqs, action_us, deleted, digests)
          SELECT user_id, entity, seq + 1, ARRAY[item], ARRAY[seq + 1], '{2}', '{f}', ARRAY[''::bytea]
          FROM feed WHERE entity = 'e' AND position > 20000;
        ANALYZE;
        """
    )
    return connection


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_feeds_are_read_by_their_indexes(with_feeds: asyncpg.Connection, mode: str) -> None:
    """And so is what waits: however much there is, no more is read than is asked for. feed_head has a row an entity."""
    for setting, value in (SESSION | {"plan_cache_mode": mode}).items():
        await with_feeds.execute(f"SET {setting} = '{value}'")
    for name, (args, index) in FEED_READS.items():
        await with_feeds.execute(f"PREPARE hot AS {sql.query(name)}")
        rows = await with_feeds.fetch(f"EXPLAIN ANALYZE EXECUTE hot{f'({args})' if args else ''}")
        await with_feeds.execute("DEALLOCATE hot")
        lines = [row[0] for row in rows]
        plan = "\n".join(lines)
        assert not re.search(r"Seq Scan on (?!feed_head)", plan), plan
        assert index in plan, plan
        read = [float(count) for count in re.findall(r"actual time=\S+ rows=([\d.]+)", plan)]
        assert read, plan
        assert max(read) <= 101, plan
        thrown_away = [int(count) for count in re.findall(r"Rows Removed by Filter: (\d+)", plan)]
        assert sum(thrown_away) <= 2, plan


@pytest.mark.parametrize("analyzed", [True, False])
async def test_placing_reads_no_table_from_end_to_end(
    with_feeds: asyncpg.Connection, dsn: str, *, analyzed: bool
) -> None:
    """Nor does a purge; nor where the tables were empty when they were analysed."""
    if not analyzed:
        for table in ("feed", "feed_pending"):
            await with_feeds.execute(f"CREATE TABLE kept AS SELECT * FROM {table}; TRUNCATE {table}")
            await with_feeds.execute(f"ANALYZE {table}; INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept")
    before = await _scans(with_feeds)
    # Settling is planned anew five times, and then may well read the whole of a table that is small.
    own = await asyncpg.connect(dsn, server_settings=SESSION | {"plan_cache_mode": "force_generic_plan"})
    for _turn in range(8):
        for entity, until, _ in await placing.waiting(own):
            done = await placing.place(own, entity, until)
            assert done.gained == placing.CHANGES_MAX
            await placing.settle(own, done)
            await placing.owners(own, entity, done.head - 10, most=100)
    assert (await purging.purge(own, "d", datetime(2100, 1, 1, tzinfo=UTC))).removed > 0
    await own.execute("SELECT pg_stat_force_next_flush()")
    await own.close()
    after = await _scans(with_feeds)
    assert after["feed_pending"]["idx_scan"] - before["feed_pending"]["idx_scan"] >= 8
    for table in ("feed", "feed_pending"):
        assert after[table]["seq_scan"] == before[table]["seq_scan"], table


@pytest.mark.parametrize("emptied", [False, True])
async def test_settling_reads_no_more_than_it_settles(
    connection: asyncpg.Connection, dsn: str, *, emptied: bool
) -> None:
    """However much else waits, and whatever the planner takes the table for: never seen, or full of dead rows."""
    if emptied:
        await connection.execute("ALTER TABLE feed_pending SET (autovacuum_enabled = false)")
        await _wait(connection, 0, 5000)
        await connection.execute("DELETE FROM feed_pending")
        await connection.execute("ANALYZE feed_pending")
        [stood] = await connection.fetch("SELECT relpages, reltuples FROM pg_class WHERE relname = 'feed_pending'")
        assert stood["relpages"] > 0
        assert stood["reltuples"] == 0
    own = await asyncpg.connect(dsn, server_settings=SESSION)
    for turn in range(1, 9):
        await _wait(connection, turn, 1000)
        users = [f"ann{number + 1}" for number in range(100)]
        await placing.settle(own, placing.Placed("e", users, [turn] * 100, more=True, gained=0, head=0))
    await own.execute("SELECT pg_stat_force_next_flush()")
    await own.close()
    await _scans(connection)
    read = await connection.fetchval(
        "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE indexrelname = 'feed_pending_pkey'"
    )
    assert 8 * 100 <= read <= 8 * 100 * 3
    assert await connection.fetchval("SELECT count(*) FROM feed_pending") == 8 * 900


async def _wait(connection: asyncpg.Connection, seq: int, users: int) -> None:
    """A write of each user waits for its place."""
    await connection.execute(
        """
        INSERT INTO feed_pending (user_id, entity, seq, items, seqs, action_us, deleted, digests)
          SELECT 'ann' || u, 'e', $1::bigint, '{x}', ARRAY[$1::bigint], '{2}', '{f}', ARRAY[''::bytea]
          FROM generate_series(1, $2::int) u
        """,
        seq,
        users,
    )


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
    newer = [each._replace(version=Version(2, False)) for each in offered]
    assert len(await records.push(database, newer, [None] * len(newer))) == 10_000
    await database.close()


async def _scans(connection: asyncpg.Connection) -> dict[str, asyncpg.Record]:
    """How often each table was read, and how; a session that ends, as the service's has, has told its counts."""
    await connection.execute("SELECT pg_stat_force_next_flush()")
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    rows = await connection.fetch("SELECT relname, seq_scan, idx_scan FROM pg_stat_user_tables")
    return {row["relname"]: row for row in rows}
