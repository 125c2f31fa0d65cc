"""The epoch: which history of the database a cursor belongs to.

A restored or promoted database may have forgotten what a cursor says was seen. So the row `epoch` names the database
that it was begun on, each new connection and the sequencer compare, and a difference begins a new epoch, in which older
cursors and ETags hold no longer. What lies in the feeds is then brought in line with the records, before anybody reads
on: unless it was a promotion, which leaves both as they were at one instant.
"""

import secrets
import uuid
from typing import NamedTuple

import asyncpg
import structlog

from favsync.core.cursor import Seal
from favsync.core.errors import Unavailable
from favsync.store import placing, sql

_log = structlog.get_logger(__name__)

_READ = sql.query("epoch/read")
_BEGIN = sql.query("epoch/begin")
_END = sql.query("epoch/end")
_PROMOTE = sql.query("epoch/promote")


class Place(NamedTuple):
    """Which database, and in which of its histories. `timeline`: None on a standby."""

    system_identifier: int
    database_oid: int
    timeline: int | None

    @classmethod
    def of(cls, row: asyncpg.Record) -> "Place":
        """As database/identity.sql, or the row of an epoch, has it."""
        return cls(row["system_identifier"], row["database_oid"], row["timeline"])

    @property
    def database(self) -> tuple[int, int]:
        return self.system_identifier, self.database_oid


class Epoch(NamedTuple):
    """`id` may be shown; `seal` makes and reads its cursors; `begun`: where it began, or was promoted to."""

    id: uuid.UUID
    seal: Seal
    begun: Place


async def known(connection: asyncpg.Connection) -> Epoch | None:
    """The epoch that there is, whether it holds on this database or not."""
    for row in await connection.fetch(_READ):
        return Epoch(row["id"], Seal(row["secret"]), Place.of(row))
    return None


async def standing(connection: asyncpg.Connection, here: Place, *, synchronous_failover: bool) -> Epoch | None:
    """The epoch that holds on this database, which is `here`; None where another must begin.

    With `synchronous_failover` an epoch goes on after a promotion. Raises Unavailable where the database is behind the
    one that the epoch was begun on: an old primary, say.
    """
    found = await known(connection)
    if found is None or found.begun.database != here.database:
        return None
    now, then = here.timeline, found.begun.timeline
    if now is None or then is None or now == then:
        return found
    if now < then:
        raise Unavailable(f"The database is on timeline {now}, behind {then}, where it was before.")
    if not synchronous_failover:
        return None
    await connection.execute(_PROMOTE, *here)
    _log.warning("the database was promoted; its epoch goes on", timeline=now)
    return found._replace(begun=here)


async def begin(connection: asyncpg.Connection, here: Place, *, anyway: bool = False) -> uuid.UUID | None:
    """Begins an epoch where one must begin, or `anyway`; its id, or None where somebody else was faster.

    Takes as long as it takes to compare the feeds with the records: the connection should have no time limits.
    """
    async with connection.transaction(isolation="read_committed"):
        before = await known(connection)
        if anyway:
            await end(connection)
        begun: uuid.UUID | None = await connection.fetchval(_BEGIN, uuid.uuid4(), secrets.token_bytes(32), *here)
        if begun is None:
            return None
        if anyway or before is None or before.begun.database != here.database:
            await placing.reconcile(connection)
    (_log.warning if before else _log.info)("a new epoch begins", epoch=str(begun))
    return begun


async def end(connection: asyncpg.Connection) -> None:
    """Ends the epoch; whoever connects next begins another."""
    await connection.execute(_END)
