"""The records: one statement that writes, two that read."""

from collections.abc import Sequence
from typing import NamedTuple

from favsync.core.record import Record, Version
from favsync.store import sql
from favsync.store.database import Database

_PUSH = sql.query("records/push")
_LIST = sql.query("records/list")
_CHANGES = sql.query("records/changes")
_SEQ = sql.query("streams/seq")


class Seen(NamedTuple):
    """What stood when a record was offered. `version`: None where nothing did. `refused`: beyond the item limit."""

    version: Version | None
    refused: bool


class Listing(NamedTuple):
    """What a user has of one entity, ordered by item, and the user's `seq` at that very instant."""

    seq: int
    versions: list[tuple[str, Version]]


async def push(database: Database, records: Sequence[Record], *, item_limit: int | None) -> list[Seen]:
    """Offers records, at most one a key, and says for each, in order, what stood before it.

    Committed when it returns. What wins is what is greater than the version seen; where `item_limit` is not None,
    an item that would be one too many of its user and entity is refused. Raises Unavailable: perhaps committed.
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
        item_limit,
    )
    return [
        Seen(None if action_us is None else Version(action_us, deleted, digest), refused)
        for _place, action_us, deleted, digest, refused in rows
    ]


async def read(database: Database, user: str, entity: str, *, after: int = 0) -> Listing:
    """A user's records of an entity, tombstones included; those that changed after `after`, where it is not 0."""
    rows = await (database.fetch(_CHANGES, user, entity, after) if after else database.fetch(_LIST, user, entity))
    versions = [(item, Version(action_us, deleted)) for _seq, item, action_us, deleted in rows if item is not None]
    return Listing(rows[0]["seq"] if rows else 0, versions)


async def latest_seq(database: Database, user: str) -> int:
    """The number of the user's latest change: 0 for one who never wrote."""
    rows = await database.fetch(_SEQ, user)
    return rows[0]["seq"] if rows else 0
