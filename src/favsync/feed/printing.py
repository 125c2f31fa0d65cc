"""Pages of a feed as JSON, and which of them may be read ahead."""

import uuid
from typing import NamedTuple

import orjson

from favsync.feed.schemas import dump_change
from favsync.store import feed
from favsync.store.database import Database

AHEAD_LIMIT_MIN = 1000  # smaller pages take little time
AHEAD_BYTES_MAX = 1024**2  # of the page before: the next will be like it,
_KEPT_BYTES_MAX = 2 * 1024**2  # or is not kept


class Asked(NamedTuple):
    """All that a page depends on. `own`: how the `user_id` of those begins who are of `namespace`, the caller's."""

    epoch: uuid.UUID
    entity: str
    has_fields: bool
    namespace: str
    own: str
    limit: int
    position: int


async def printed(database: Database, asked: Asked) -> feed.Printed:
    """The page as of now, by PostgreSQL where it can. Raises Unavailable."""
    if not asked.has_fields:
        shown = await feed.show(database, asked.entity, asked.position, asked.own, limit=asked.limit)
        if shown is not None:
            return shown
    page = await feed.page(database, asked.entity, asked.position, limit=asked.limit)
    json = b",".join(orjson.dumps(dump_change(change, asked.namespace)) for change in page.changes)
    return feed.Printed(page.head, page.horizon, json, page.last, page.more)


async def ahead(database: Database, asked: Asked) -> feed.Printed | None:
    """The page, where it may be given to who asks a moment later; else None.

    It may where others follow: whatever is written until then comes behind it. At its end a feed is read when it is
    asked for.
    """
    page = await printed(database, asked)
    stands = database.epoch.id == asked.epoch
    return page if page.more and stands and len(page.json) <= _KEPT_BYTES_MAX else None
