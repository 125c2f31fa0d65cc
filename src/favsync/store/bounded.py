"""Answers that are bounded in bytes as well as in rows, however large each row is."""

from typing import NamedTuple

import asyncpg

from favsync.core import fields
from favsync.store.database import Database

FIELDS_BYTES_MAX = 8 * 1024**2  # of fields, in one answer
ROWS_AT_ONCE = 256  # that are read before it is known how large they are: 16 MiB, on each connection of the pool
PART_ROWS_MIN = 16  # so that the last bytes of an answer do not cost a round trip a row


class Part(NamedTuple):
    """The first rows of what a query gives. `top`: its first row, whatever it holds. `more`: others follow."""

    top: asyncpg.Record | None
    rows: list[asyncpg.Record]
    more: bool


async def read(
    database: Database, query: str, *args: object, key: str, limit: int, bytes_max: int = FIELDS_BYTES_MAX
) -> Part:
    """At most `limit` rows, and of more than `bytes_max` of `fields` a part, of one snapshot; but one row at least.

    The query takes `args`, and then how many rows it gives at most. A row whose `key` is null stands for none.
    One more than `limit` is read, to know whether there is one.
    """
    rows = await database.fetch(query, *args, min(limit, ROWS_AT_ONCE) + 1)
    if len(rows) > ROWS_AT_ONCE and limit > ROWS_AT_ONCE:
        rows = await _read_in_parts(database, query, *args, limit + 1, bytes_max=bytes_max)
    found = [row for row in rows if row[key] is not None]
    kept = _that_fit(found[:limit], bytes_max)
    return Part(rows[0] if rows else None, kept, len(kept) < len(found))


async def _read_in_parts(database: Database, query: str, *args: object, bytes_max: int) -> list[asyncpg.Record]:
    """Little more than fits.

    Until one does not fit: an answer that is just full may have rows behind it.
    """
    rows: list[asyncpg.Record] = []
    left = bytes_max
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


def _that_fit(rows: list[asyncpg.Record], bytes_max: int) -> list[asyncpg.Record]:
    held = 0
    for index, row in enumerate(rows):
        held += _size(row["fields"])
        if held > bytes_max and index:
            return rows[:index]
    return rows
