"""The records: one statement that writes, and those that read."""

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from favsync.core import fields
from favsync.core.record import Record, Version
from favsync.store import sql
from favsync.store.database import Database

_PUSH = sql.query("records/push")
_LIST = sql.query("records/list")
_LIST_SEVERAL = sql.query("records/list_several")
_CHANGES = sql.query("records/changes")
_CHANGES_SEVERAL = sql.query("records/changes_several")
_SEQ = sql.query("streams/seq")

FIELDS_BYTES_MAX = 8 * 1024**2  # of fields, in one answer
ROWS_AT_ONCE = 256  # that are read before it is known how large they are: 16 MiB, on each connection of the pool
PART_ROWS_MIN = 16  # so that the last bytes of an answer do not cost a round trip a record


class Seen(NamedTuple):
    """What stood when a record was offered. `version`: None where nothing did. `refused`: beyond the item limit."""

    version: Version | None
    refused: bool


class Row(NamedTuple):
    """A record as it is stored. `entity`: as `entity_key` builds it. `fields`: canonical JSON, None for none."""

    entity: str
    item: str
    action_us: int
    deleted: bool
    fields: str | None
    seq: int


class Listing(NamedTuple):
    """A part of what a user has, in order, and the user's `seq` at that very instant. `more`: there are others."""

    seq: int
    rows: list[Row]
    more: bool


async def push(database: Database, records: Sequence[Record], item_limits: Sequence[int | None]) -> list[Seen]:
    """Offers records, at most one a key, and says for each, in order, what stood before it.

    Committed when it returns. What wins is what is greater than the version seen; an item that would be one too many
    of its user and entity, by its place in `item_limits`, is refused. Raises Unavailable: perhaps committed.
    """
    keys = [record.key for record in records]
    versions = [record.version for record in records]
    rows = await database.fetch(
        _PUSH,
        [key.user for key in keys],
        [key.entity for key in keys],
        [key.item for key in keys],
        [version.action_us for version in versions],
        [version.deleted for version in versions],
        [version.digest for version in versions],
        [None if record.fields is None else record.fields.decode() for record in records],
        item_limits,
    )
    return [
        Seen(None if action_us is None else Version(action_us, deleted, digest), refused)
        for _place, action_us, deleted, digest, refused in rows
    ]


async def read(database: Database, user: str, entities: Sequence[str], behind: Sequence[str], limit: int) -> Listing:
    """A user's records of `entities`, tombstones included, by entity and item: `limit` of them at most.

    Each entity from behind an item of `behind`; '' is before the first. Of more than `FIELDS_BYTES_MAX`, a part.
    """
    if len(entities) == 1:
        return await _read(database, _LIST, user, entities[0], behind[0], limit=limit)
    return await _read(database, _LIST_SEVERAL, user, entities, behind, limit=limit)


async def changes(database: Database, user: str, entities: Sequence[str], after: int, limit: int) -> Listing:
    """What of `entities` changed for a user after `after`, the oldest change first; bounded as `read` is."""
    if len(entities) == 1:
        return await _read(database, _CHANGES, user, entities[0], after, limit=limit)
    return await _read(database, _CHANGES_SEVERAL, user, entities, after, limit=limit)


async def _read(database: Database, query: str, *args: object, limit: int) -> Listing:
    """One more than `limit` is read, to know whether there is one."""
    rows = await database.fetch(query, *args, min(limit, ROWS_AT_ONCE) + 1)
    if len(rows) > ROWS_AT_ONCE and limit > ROWS_AT_ONCE:
        rows = await _read_in_parts(database, query, *args, limit + 1)
    seq = rows[0]["top"] if rows else 0
    found = [Row(*row[1:]) for row in map(tuple, rows) if row[1] is not None]
    kept = _that_fit(found[:limit])
    return Listing(seq, kept, len(kept) < len(found))


async def _read_in_parts(database: Database, query: str, *args: object) -> list[asyncpg.Record]:
    """Of one snapshot, and little more than fits into an answer, however large each record is.

    Until one does not fit: an answer that is just full may have records behind it.
    """
    rows: list[asyncpg.Record] = []
    left = FIELDS_BYTES_MAX
    async with database.connection() as connection, connection.transaction(readonly=True):
        cursor = await connection.cursor(query, *args)
        while left >= 0 and (part := await cursor.fetch(max(left // fields.BYTES_MAX, PART_ROWS_MIN))):
            rows += part
            left -= sum(_size(row["fields"]) for row in part)
    return rows


def _size(written: str | None) -> int:
    """Bytes in UTF-8."""
    if written is None:
        return 0
    return len(written) if written.isascii() else len(written.encode())


def _that_fit(rows: list[Row]) -> list[Row]:
    """As many as an answer may hold, and one at least."""
    held = 0
    for index, row in enumerate(rows):
        held += _size(row.fields)
        if held > FIELDS_BYTES_MAX and index:
            return rows[:index]
    return rows


async def latest_seq(database: Database, user: str) -> int:
    """The number of the user's latest change: 0 for one who never wrote."""
    rows = await database.fetch(_SEQ, user)
    return rows[0]["seq"] if rows else 0
