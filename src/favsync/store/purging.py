"""Removing old tombstones from a feed. The records keep theirs."""

from datetime import datetime
from typing import NamedTuple

import asyncpg

from favsync.store import sql

TOMBSTONES_AT_ONCE = 1000  # for which the sequencers wait

_HORIZON = sql.query("feed/horizon")
_PURGE = sql.query("feed/purge")


class Purged(NamedTuple):
    """`horizon`: a reader that had not come to this position must begin anew. `kept`: changed just now, and so left."""

    removed: int
    kept: int
    horizon: int


async def purge(connection: asyncpg.Connection, entity: str, before: datetime) -> Purged:
    """Removes from the feed of a stored entity the tombstones that were placed before `before`.

    The horizon is raised and committed first, so that no reader passes over what is gone; killed at any moment, it
    can be run again. The connection should have no time limits.
    """
    horizon = await connection.fetchval(_HORIZON, entity, before)
    if horizon is None:
        return Purged(0, 0, 0)
    removed = seen = 0
    after = 0
    while True:
        [row] = await connection.fetch(_PURGE, entity, before, after, TOMBSTONES_AT_ONCE)
        if row["upto"] is None:
            return Purged(removed, seen - removed, horizon)
        after = row["upto"]
        removed += row["removed"]
        seen += row["seen"]
