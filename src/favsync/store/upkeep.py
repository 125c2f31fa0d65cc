"""What is done to a database by hand, whether a service runs on it or not: purges, epochs, keys."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from favsync.core.errors import DatabaseError
from favsync.identity.vault import Vault
from favsync.store import clients, epoch, migrate, purging, resealing, sql
from favsync.store.database import CONNECT_TIMEOUT_S, IDENTITY
from favsync.store.purging import Purged
from favsync.store.resealing import Resealed

_AGO = sql.query("database/ago")


@dataclass(frozen=True, slots=True)
class Standing:
    """`known`: the epoch that there is; None: none. `here`: what the database is now."""

    known: epoch.Epoch | None
    here: epoch.Place


async def purge(database: Path | str, entity: str, *, older_than_s: float) -> Purged:
    """Removes the tombstones of a stored entity's feed that were placed so long ago. Raises OperatorError."""
    async with _reached(database) as connection:
        return await purging.purge(connection, entity, await connection.fetchval(_AGO, older_than_s))


async def show_epoch(database: Path | str) -> Standing:
    """Raises OperatorError."""
    async with _reached(database) as connection:
        [identity] = await connection.fetch(IDENTITY)
        return Standing(await epoch.known(connection), epoch.Place.of(identity))


async def new_epoch(database: Path | str) -> uuid.UUID:
    """Ends the epoch, begins another, and brings the feeds in line with the records. Raises OperatorError."""
    async with _reached(database) as connection:
        [identity] = await connection.fetch(IDENTITY)
        begun = await epoch.begin(connection, epoch.Place.of(identity), anyway=True)
    if begun is None:
        raise DatabaseError("somebody else has begun an epoch at the same moment")
    return begun


async def reseal(database: Path | str, vault: Vault) -> Resealed:
    """Seals what users have entrusted for their links with the vault's first key. Raises OperatorError."""
    async with _reached(database) as connection:
        return await resealing.reseal(connection, vault)


@contextlib.asynccontextmanager
async def _reached(database: Path | str) -> AsyncIterator[asyncpg.Connection]:
    """A connection without time limits, to a URL or to the embedded server of a data directory, on our schema."""
    async with contextlib.AsyncExitStack() as stack:
        if isinstance(database, Path):
            target = await stack.enter_async_context(clients.reached(database))
        else:
            target = {"dsn": database}
        try:
            connection = await asyncpg.connect(**target, timeout=CONNECT_TIMEOUT_S)
            stack.push_async_callback(connection.close, timeout=CONNECT_TIMEOUT_S)
            if todo := await migrate.pending(connection, migrate.known()):
                raise DatabaseError(f"the schema is behind this release ({todo[0].file} is missing): favsync migrate")
            yield connection
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise DatabaseError(f"the database: {error or type(error).__name__}") from error
