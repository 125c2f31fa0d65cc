"""The epoch: which history of the database a cursor belongs to.

A restored or promoted database may have forgotten what a cursor says was seen. So the row `epoch` names the database
that it was begun on, each new connection compares, and a difference begins a new epoch, in which older cursors and
ETags hold no longer.
"""

import secrets
import uuid
from dataclasses import dataclass

import asyncpg
import structlog

from favsync.core.cursor import Seal
from favsync.core.errors import Unavailable
from favsync.store import sql

_log = structlog.get_logger(__name__)

_READ = sql.query("epoch/read")
_BEGIN = sql.query("epoch/begin")


@dataclass(frozen=True, slots=True)
class Epoch:
    """`id` may be shown; `seal` makes and reads its cursors."""

    id: uuid.UUID
    seal: Seal


async def current(connection: asyncpg.Connection, identity: asyncpg.Record) -> Epoch:
    """The epoch that holds on this database, begun here where it must be. `identity`: database/identity.sql.

    Raises Unavailable where the database is behind the one that the epoch was begun on: an old primary, say.
    """
    here = (identity["system_identifier"], identity["database_oid"], identity["timeline"])
    rows = await connection.fetch(_READ)
    known = [(row["system_identifier"], row["database_oid"], row["timeline"]) for row in rows]
    if known != [here]:
        if known and known[0][:2] == here[:2] and known[0][2] > here[2]:
            raise Unavailable(f"The database is on timeline {here[2]}, behind {known[0][2]}, where it was before.")
        await connection.execute(_BEGIN, uuid.uuid4(), secrets.token_bytes(32), *here)
        rows = await connection.fetch(_READ)
        if not rows:
            raise Unavailable  # somebody emptied the table meanwhile
        log = _log.warning if known else _log.info
        log("a new epoch begins", epoch=str(rows[0]["id"]))
    return Epoch(rows[0]["id"], Seal(rows[0]["secret"]))
