"""The records: one statement that writes, and those that read."""

import asyncio
from collections.abc import Sequence
from itertools import repeat
from typing import NamedTuple

import orjson

from favsync.core.record import Record, Version, each
from favsync.store import bounded, sql
from favsync.store.database import Database

_PUSH = sql.query("records/push")
_LIST = sql.query("records/list")
_LIST_SEVERAL = sql.query("records/list_several")
_SHOW = sql.query("records/show")
_CHANGES = sql.query("records/changes")
_CHANGES_SEVERAL = sql.query("records/changes_several")
_SEQ = sql.query("streams/seq")

MUCH = 200  # records: beyond, others have their turn between two steps of a write, each of which takes milliseconds
SHOWN_MAX = bounded.ROWS_AT_ONCE  # records of a list that is printed as a whole


class ListKey(NamedTuple):
    """Whose records, and of which entity, as `entity_key` builds it."""

    user: str
    entity: str


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


class Shown(NamedTuple):
    """All that a user has of an entity, and the user's `seq` at that very instant. `json`: the records, with commas."""

    seq: int
    json: bytes


async def push(database: Database, records: Sequence[Record], item_limits: Sequence[int | None]) -> list[Seen]:
    """Offers records, at most one a key, and says for each, in order, what stood before it.

    Committed when it returns. What wins is what is greater than the version seen; an item that would be one too many
    of its user and entity, by its place in `item_limits`, is refused. Raises Unavailable: perhaps committed.
    """
    if not records:
        return []
    offered = arguments(records, item_limits)
    if len(records) > MUCH:
        await asyncio.sleep(0)  # others go on, before the driver writes all that down
    [row] = await database.write(_PUSH, *offered)
    *seen, refused = row
    versions = each(Version, *seen)
    stood = [None if action_us is None else version for action_us, version in zip(seen[0], versions, strict=True)]
    return list(each(Seen, stood, repeat(object=False) if refused is None else refused))


def arguments(records: Sequence[Record], item_limits: Sequence[int | None]) -> tuple[object, ...]:
    """What `records/push` takes."""
    keys, versions, fields = zip(*records, strict=True)
    users, entities, items = zip(*keys, strict=True)
    dates, deletions, digests = zip(*versions, strict=True)
    return (
        _texts(users), _texts(entities), _texts(items), _literal(dates), _literal(deletions),
        digests if any(digests) else None,
        [None if content is None else content.decode() for content in fields] if any(fields) else None,
        _literal(item_limits),
    )  # fmt: skip


# Arrays go as PostgreSQL writes them: the driver takes 1 us for an element, where that takes 0.3.


def _literal(values: Sequence[int | None]) -> str:
    return f"{{{orjson.dumps(values)[1:-1].decode()}}}"


def _texts(values: Sequence[str]) -> str:
    """ValueError for a NUL, which PostgreSQL has in no text."""
    joined = "\0".join(values)
    if joined.count("\0") != len(values) - 1:
        raise ValueError("a text holds a NUL character")
    quoted = joined.replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","')
    return f'{{"{quoted}"}}'


async def read(database: Database, user: str, entities: Sequence[str], behind: Sequence[str], limit: int) -> Listing:
    """A user's records of `entities`, tombstones included, by entity and item: `limit` of them at most.

    Each entity from behind an item of `behind`; '' is before the first. As `bounded.read` bounds it.
    """
    if len(entities) == 1:
        return await _read(database, _LIST, user, entities[0], behind[0], limit=limit)
    return await _read(database, _LIST_SEVERAL, user, entities, behind, limit=limit)


async def show(database: Database, lists: Sequence[ListKey], most: int = SHOWN_MAX) -> dict[ListKey, Shown | None]:
    """What `read` gives of each of `lists`, printed by the database; None for one of more than `most`, or large."""
    users, entities = zip(*lists, strict=True)
    rows = await database.fetch(_SHOW, users, entities, most + 1, bounded.FIELDS_BYTES_MAX)
    return {lists[place - 1]: None if json is None else Shown(seq or 0, json) for place, seq, json in rows}


async def changes(  # noqa: PLR0913 -- a query has as many
    database: Database,
    user: str,
    entities: Sequence[str],
    after: int,
    limit: int,
    *,
    bytes_max: int = bounded.FIELDS_BYTES_MAX,
) -> Listing:
    """What of `entities` changed for a user after `after`, the oldest first; of more than `bytes_max`, a part."""
    if len(entities) == 1:
        return await _read(database, _CHANGES, user, entities[0], after, limit=limit, bytes_max=bytes_max)
    return await _read(database, _CHANGES_SEVERAL, user, entities, after, limit=limit, bytes_max=bytes_max)


async def _read(
    database: Database, query: str, *args: object, limit: int, bytes_max: int = bounded.FIELDS_BYTES_MAX
) -> Listing:
    top, rows, more = await bounded.read(database, query, *args, key="item", limit=limit, bytes_max=bytes_max)
    return Listing(top["top"] if top else 0, [Row(*tuple(row)[1:]) for row in rows], more)


async def latest_seqs(database: Database, users: Sequence[str]) -> dict[str, int]:
    """The number of each user's latest change: 0 for one who never wrote."""
    return dict.fromkeys(users, 0) | {row["user_id"]: row["seq"] for row in await database.fetch(_SEQ, users)}
