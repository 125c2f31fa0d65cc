"""Migrations: forward only, each in a transaction, checksummed, one migrating at a time."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import structlog

from favsync.core.errors import MigrationError
from favsync.store import sql
from favsync.store.faults import AWAY

_log = structlog.get_logger(__name__)

_LOCK = sql.query("migrations/lock")
_PREPARE = sql.query("migrations/prepare")
_EXISTS = sql.query("migrations/exists")
_LIST = sql.query("migrations/list")
_ADD = sql.query("migrations/add")

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def file(self) -> str:
        return f"{self.version:04d}_{self.name}.sql"


def known(folder: Path | None = None) -> list[Migration]:
    """The migrations that this release has, in order; MigrationError for a file that is misnamed or out of order."""
    migrations: list[Migration] = []
    for path in sorted((folder or sql.root() / "migrations").glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None or int(match[1]) != len(migrations) + 1:
            raise MigrationError(f"{path.name} should be named {len(migrations) + 1:04d}_something.sql")
        migrations.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    return migrations


async def applied(connection: asyncpg.Connection) -> list[asyncpg.Record]:
    """What the database was migrated with, in order: `version`, `name`, `checksum`. Empty: it is none of ours."""
    return await connection.fetch(_LIST) if await connection.fetchval(_EXISTS) else []


async def pending(connection: asyncpg.Connection, migrations: list[Migration]) -> list[Migration]:
    """Those that the database lacks.

    What it has beyond `migrations` is left alone: a newer release was here, and its schema still serves this one.
    Raises MigrationError where it has one of them in another wording.
    """
    rows = await applied(connection)
    checksums = {row["version"]: row["checksum"] for row in rows}
    for migration in migrations:
        if checksums.get(migration.version, migration.checksum) != migration.checksum:
            raise MigrationError(f"{migration.file} is not the file that this database was migrated with")
    if newer := [row["name"] for row in rows if row["version"] > len(migrations)]:
        _log.warning("the database is ahead of this release", migrations=newer)
    return [migration for migration in migrations if migration.version not in checksums]


async def migrate(connection: asyncpg.Connection, migrations: list[Migration]) -> list[Migration]:
    """Applies what is pending, waiting while somebody else does, and says what it applied.

    The connection should have no time limits; the lock goes when it is closed. Raises MigrationError, and what asyncpg
    raises where the connection is lost.
    """
    if await connection.fetchval(_EXISTS) and not await pending(connection, migrations):
        return []  # a role that may create nothing can still serve
    await connection.execute(_LOCK)
    await connection.execute(_PREPARE)
    todo = await pending(connection, migrations)
    for migration in todo:
        try:
            async with connection.transaction():
                await connection.execute(migration.text)
                await connection.execute(_ADD, migration.version, migration.name, migration.checksum)
        except AWAY:
            raise
        except asyncpg.PostgresError as error:
            raise MigrationError(f"{migration.file} failed: {error}") from error
        _log.info("migrated", migration=migration.file)
    return todo
