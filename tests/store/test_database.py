"""The connection: what it says while it is down, and that it heals."""

import asyncio
import inspect
import uuid

import asyncpg
import pytest
import structlog

from favsync.core.errors import CursorExpired, LockTimeout, OperatorError, SettingsError, Unavailable
from favsync.store import database as module
from favsync.store import faults, records
from favsync.store.database import Database
from tests.postgres import Server

# SQLSTATE classes that tell of a server that is away, full, stopping or changing, not of a statement that is wrong.
PASSING = {"08", "53", "57", "58", "40", "28"}


def _every_error() -> list[type[asyncpg.PostgresError]]:
    kinds = [kind for _, kind in inspect.getmembers(asyncpg, inspect.isclass)]
    return [kind for kind in kinds if issubclass(kind, asyncpg.PostgresError) and kind.sqlstate]


@pytest.mark.parametrize("kind", _every_error(), ids=lambda kind: kind.__name__)
def test_no_error_of_a_passing_kind_leaves_the_store_as_it_is(kind: type[asyncpg.PostgresError]) -> None:
    expected: type[Exception]
    if kind in (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError):
        expected = LockTimeout
    elif str(kind.sqlstate)[:2] in PASSING or str(kind.sqlstate) in ("25006", "3D000", "42P01", "42883"):
        expected = Unavailable
    else:
        expected = kind
    with pytest.raises(expected) as caught, faults.translated():
        raise kind("x")
    assert type(caught.value) is expected


@pytest.mark.parametrize(
    "error",
    [ConnectionRefusedError(), TimeoutError(), FileNotFoundError(), asyncpg.InterfaceError("connection is closed")],
)
def test_nor_does_one_of_the_network(error: Exception) -> None:
    with pytest.raises(Unavailable), faults.translated():
        raise error


async def test_a_connection_that_was_cut_is_replaced(database: Database, connection: asyncpg.Connection) -> None:
    assert (await records.latest_seqs(database, ["ann"]))["ann"] == 0
    sleeping = asyncio.create_task(database.fetch("SELECT pg_sleep(60)"))
    await asyncio.sleep(0.2)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'favsync'"
    assert await connection.fetch(cut)
    with pytest.raises(Unavailable):
        await sleeping
    assert (await records.latest_seqs(database, ["ann"]))["ann"] == 0
    assert await database.ping() is None


async def test_what_waiting_cannot_mend_is_said_at_once(dsn: str, postgres: Server) -> None:
    for wrong in (dsn.replace("favsync:", "favsync:x"), postgres.dsn("nowhere")):
        with pytest.raises(SettingsError, match=r"^database_url: "):
            await Database(pool_size=1).open({"dsn": wrong})


async def test_what_is_not_usable_any_more_is_unavailable_and_said(
    database: Database, dsn: str, connection: asyncpg.Connection
) -> None:
    await connection.execute("UPDATE favsync_migrations SET checksum = 'another'")
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'favsync'"
    )
    await asyncio.sleep(0.2)
    with pytest.raises(Unavailable, match=r"^0001_records\.sql is not the file"):
        await database.fetch("SELECT 1")
    assert "0001_records.sql" in (await database.ping() or "")
    await connection.execute("DROP TABLE favsync_migrations")
    await connection.execute("CREATE TABLE favsync_migrations (another text)")
    with pytest.raises(SettingsError, match=r"^database_url: "):
        await Database(pool_size=1).open({"dsn": dsn})


async def test_a_role_that_may_create_nothing_can_serve(dsn: str, connection: asyncpg.Connection) -> None:
    role = f"r{uuid.uuid4().hex}"
    await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    await connection.execute(f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {role}")
    await connection.execute(f"GRANT DELETE ON streams, records, feed_head, feed, epoch, links TO {role}")
    password = dsn.split(":")[2].split("@", maxsplit=1)[0]
    target = {"dsn": dsn.replace(f"favsync:{password}", f"{role}:x")}
    other = Database(pool_size=1, declared={})
    await (first := Database(pool_size=1)).open({"dsn": dsn})  # begins the epoch of this copy of the template
    with pytest.raises(SettingsError, match=r"account there lacks DELETE on entities, DELETE on feed_pending: GRANT"):
        await other.open(target)
    await connection.execute(f"GRANT DELETE ON feed_pending, entities TO {role}")
    await other.open(target)
    assert (await records.latest_seqs(other, ["ann"]))["ann"] == 0
    await asyncio.gather(first.close(), other.close())
    await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_MAX_S", 0.1)
    with pytest.raises(OperatorError, match=r"^gave up after 0 s: the database cannot be reached"):
        await Database(pool_size=1).open({"host": "/nonexistent", "user": "x", "database": "x"}, patience_s=0.3)


async def test_before_it_was_opened_it_is_unavailable() -> None:
    database = Database(pool_size=1)
    with pytest.raises(Unavailable):
        await database.fetch("SELECT 1")
    with pytest.raises(Unavailable):
        _ = database.epoch
    assert await database.ping() == "the database has not answered yet"


async def test_a_server_that_is_away_is_waited_for() -> None:
    database = Database(pool_size=1)
    opening = asyncio.create_task(database.open({"host": "/nonexistent", "user": "x", "database": "x"}))
    await asyncio.sleep(0.5)
    assert not opening.done()
    assert database.obstacle == "the database cannot be reached (FileNotFoundError)"
    opening.cancel()
    await asyncio.wait([opening])
    await database.close()


@pytest.mark.parametrize("name", ["fsync", "synchronous_commit"])
async def test_it_warns_where_a_crash_would_lose_what_was_acknowledged(
    dsn: str, connection: asyncpg.Connection, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "fsync":  # cannot be set for one database; the answer to the question is what counts
        lax = module.IDENTITY.replace("current_setting('fsync')", "'off'")
        monkeypatch.setattr(module, "IDENTITY", lax)
    else:
        current = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"ALTER DATABASE {current} SET {name} = off")
    with structlog.testing.capture_logs() as logs:
        database = Database(pool_size=3)
        await database.open({"dsn": dsn})
        await asyncio.gather(*(database.fetch("SELECT pg_sleep(0.1)") for _ in range(3)))
        await database.close()
    assert [entry["off"] for entry in logs if "off" in entry] == [[name]]


async def _epoch_after(dsn: str, connection: asyncpg.Connection, change: str) -> tuple[uuid.UUID, Database]:
    await connection.execute(f"UPDATE epoch SET {change}")
    database = Database(pool_size=1)
    await database.open({"dsn": dsn})
    return database.epoch.id, database


@pytest.mark.parametrize(
    ("change", "renewed"),
    [
        ("id = id", False),
        ("system_identifier = system_identifier + 1", True),
        ("database_oid = database_oid + 1", True),
        ("timeline = timeline - 1", True),
        ("system_identifier = system_identifier + 1, timeline = timeline + 1", True),
    ],
)
async def test_another_database_or_a_promotion_begins_an_epoch(
    database: Database, dsn: str, connection: asyncpg.Connection, change: str, renewed: bool
) -> None:
    cursor = database.epoch.seal.cursor("ann", ["e"], 7)
    epoch, reopened = await _epoch_after(dsn, connection, change)
    assert (epoch != database.epoch.id) == renewed
    if renewed:
        with pytest.raises(CursorExpired):
            reopened.epoch.seal.read_cursor(cursor, "ann", ["e"])
    else:
        assert reopened.epoch.seal.read_cursor(cursor, "ann", ["e"]) == 7
    assert await connection.fetchval("SELECT id FROM epoch") == epoch
    await reopened.close()


async def test_an_epoch_can_be_ended_by_hand(database: Database, dsn: str, connection: asyncpg.Connection) -> None:
    """What the README says to do after a disk snapshot was put back, which nothing in the database shows."""
    await connection.execute("DELETE FROM epoch")
    other = Database(pool_size=1)
    await other.open({"dsn": dsn})
    assert other.epoch.id != database.epoch.id
    await other.close()


async def test_a_database_that_fell_behind_is_not_served_from(dsn: str, connection: asyncpg.Connection) -> None:
    other = Database(pool_size=1)
    await other.open({"dsn": dsn})
    await other.close()
    await connection.execute("UPDATE epoch SET timeline = timeline + 1")
    database = Database(pool_size=1)
    opening = asyncio.create_task(database.open({"dsn": dsn}))
    while "behind" not in (database.obstacle or ""):
        await asyncio.sleep(0.01)
    assert database.obstacle == "The database is on timeline 1, behind 2, where it was before."
    opening.cancel()
    await asyncio.wait([opening])
