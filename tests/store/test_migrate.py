"""Migrations: forward, once, whole."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from favsync.core.errors import MigrationError
from favsync.store import migrate
from favsync.store.database import Database
from favsync.store.migrate import Migration
from tests.postgres import Server
from tests.store.feeds import is_all_that_is_recorded, place_all

ONE = Migration(1, "one", "CREATE TABLE one (a int)")
TWO = Migration(2, "two", "CREATE TABLE two (a int); INSERT INTO two VALUES (1)")
BROKEN = Migration(2, "broken", "CREATE TABLE half (a int); SELECT 1/0")


@pytest.fixture
async def empty(postgres: Server) -> AsyncIterator[str]:
    name = await postgres.create_database("template0")
    yield postgres.dsn(name)
    await postgres.drop_database(name)


async def test_many_at_once_apply_each_migration_once(empty: str) -> None:
    connections = await asyncio.gather(*(asyncpg.connect(empty) for _ in range(8)))

    async def one(connection: asyncpg.Connection) -> int:
        done = await migrate.migrate(connection, [ONE, TWO])
        await connection.close()
        return len(done)

    assert sorted(await asyncio.gather(*map(one, connections))) == [0] * 7 + [2]


async def test_a_migration_that_fails_leaves_nothing_of_itself(empty: str) -> None:
    connection = await asyncpg.connect(empty)
    with pytest.raises(MigrationError, match=r"^0002_broken\.sql failed: division by zero$"):
        await migrate.migrate(connection, [ONE, BROKEN])
    assert await connection.fetchval("SELECT to_regclass('half')") is None
    assert await migrate.pending(connection, [ONE, TWO]) == [TWO]
    await connection.close()


async def test_a_file_that_was_changed_afterwards_is_refused(empty: str) -> None:
    connection = await asyncpg.connect(empty)
    await migrate.migrate(connection, [ONE])
    edited = Migration(1, "one", "CREATE TABLE one (a bigint)")
    with pytest.raises(MigrationError, match=r"^0001_one\.sql is not the file that this database was migrated with$"):
        await migrate.migrate(connection, [edited, TWO])
    assert await connection.fetchval("SELECT to_regclass('two')") is None
    await connection.close()


async def test_a_database_that_is_ahead_still_serves_the_release_before(empty: str) -> None:
    connection = await asyncpg.connect(empty)
    await migrate.migrate(connection, [ONE, TWO])
    assert await migrate.migrate(connection, [ONE]) == []
    await connection.close()


async def test_a_service_told_not_to_migrate_waits_until_somebody_did(empty: str) -> None:
    database = Database(pool_size=1, migrate_first=False)
    opening = asyncio.create_task(database.open({"dsn": empty}))
    while "favsync migrate" not in (database.obstacle or ""):
        await asyncio.sleep(0.01)
    assert (
        database.obstacle == "The schema is behind this release: run `favsync migrate` (0001_records.sql is missing)."
    )
    other = Database(pool_size=1)
    await other.open({"dsn": empty})
    await opening
    assert database.obstacle is None
    await asyncio.gather(database.close(), other.close())


def test_files_are_numbered_without_gaps(tmp_path: Path) -> None:
    (tmp_path / "0001_one.sql").write_text("SELECT 1")
    (tmp_path / "0003_three.sql").write_text("SELECT 3")
    with pytest.raises(MigrationError, match=r"^0003_three\.sql should be named 0002_something\.sql$"):
        migrate.known(tmp_path)
    assert [migration.version for migration in migrate.known()] == list(range(1, len(migrate.known()) + 1))


async def test_what_waits_in_the_form_before_is_placed_after(empty: str) -> None:
    """0006: a row each change becomes a row each write. And who still writes as the release before does goes on."""
    connection = await asyncpg.connect(empty)
    known = migrate.known()
    await migrate.migrate(connection, known[:5])
    large = '{"text":"%s"}' % ("x" * 10_000)
    before = """
        SELECT * FROM push($1::text[], $2::text[], $3::text[], $4::bigint[], $5::boolean[], $6::bytea[], $7::text[],
                           array_fill(NULL::bigint, ARRAY[2]))"""
    old = await asyncpg.connect(empty)
    for date in (1, 2):
        await old.fetch(
            before, ["ann", "bob"], ["e", "e"], ["x", "y"], [date, date], [False, True], [b"d", b""], [large, None]
        )
    written = await connection.fetch("SELECT DISTINCT written_at FROM feed_pending ORDER BY 1")
    await migrate.migrate(connection, known)
    assert await connection.fetch("SELECT DISTINCT written_at FROM feed_pending ORDER BY 1") == written
    rows = await old.fetch(before, ["ann", "bob"], ["e", "e"], ["z", "y"], [3, 1], [True, True], [b"", b""], [None] * 2)
    assert [tuple(row) for row in rows] == [(1, None, None, None, False), (2, 2, True, b"", False)]
    shown = """SELECT show_owner(user_id, '') || show_record(item, action_us, deleted, NULL)
                 FROM records WHERE item = 'z'"""
    printed = '"user":"ann"{"item":"z","actionDate":"1970-01-01T00:00:00.000003Z","action":"DELETE"}'
    assert await old.fetchval(shown) == printed
    done = await place_all(connection)
    assert sum(len(each.seqs) for each in done) == 5
    await is_all_that_is_recorded(connection)
    placed = await connection.fetch("SELECT user_id, item, action_us, fields::text FROM feed ORDER BY position")
    assert sorted(map(tuple, placed)) == [("ann", "x", 2, large), ("ann", "z", 3, None), ("bob", "y", 2, None)]
    await asyncio.gather(connection.close(), old.close())
