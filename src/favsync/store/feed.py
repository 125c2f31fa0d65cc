"""The feeds, as they are read: one an entity, in order, each record once, at its latest position."""

from typing import NamedTuple

from favsync.store import bounded, sql
from favsync.store.database import Database

_PAGE = sql.query("feed/page")
_SHOW = sql.query("feed/show")


class Change(NamedTuple):
    """A record at its place in a feed. `user`: as `owner_key` builds it. `fields`: canonical JSON, None for none."""

    position: int
    user: str
    item: str
    action_us: int
    deleted: bool
    fields: str | None


class Page(NamedTuple):
    """A part of a feed, in order; `head` and `horizon` are those of the very instant. `more`: others follow.

    `head`: the last position that was given away. `horizon`: tombstones at or below it may be gone.
    """

    head: int
    horizon: int
    changes: list[Change]
    more: bool

    @property
    def last(self) -> int | None:
        """The position of the last change; None: there are none."""
        return self.changes[-1].position if self.changes else None


async def page(
    database: Database, entity: str, after: int, *, limit: int, bytes_max: int = bounded.FIELDS_BYTES_MAX
) -> Page:
    """What comes in the feed of a stored entity after a position, as `bounded.read` bounds it. Raises Unavailable."""
    top, rows, more = await bounded.read(
        database, _PAGE, entity, after, key="position", limit=limit, bytes_max=bytes_max
    )
    head, horizon = (top["head"], top["horizon"]) if top else (0, 0)
    return Page(head, horizon, [Change(*tuple(row)[2:]) for row in rows], more)


class Printed(NamedTuple):
    """A page as JSON: the changes, with commas. `last`: the position of the last of them; None: there are none."""

    head: int
    horizon: int
    json: bytes
    last: int | None
    more: bool


async def show(database: Database, entity: str, after: int, own: str, *, limit: int) -> Printed | None:
    """What `page` gives, printed by the database; None where a change has fields.

    `own`: how the `user_id` of those begins whose namespace is left out.
    """
    rows = await database.fetch(_SHOW, entity, after, limit, own)
    if not rows:
        return Printed(0, 0, b"", None, more=False)
    [(head, horizon, json, last, rich, more)] = rows
    return None if rich else Printed(head, horizon, json or b"", last, more)
