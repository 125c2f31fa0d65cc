"""The steps of a sequencer, on a connection of its own: what waits gets its place in a feed, and waits no longer."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import asyncpg

from favsync.store import sql
from favsync.store.faults import translated

Connection = asyncpg.Connection

CHANGES_MAX = 1000  # placed in one transaction; their fields pass through the server's memory
CHANNEL = "favsync_feed"
WHENEVER = datetime(9999, 1, 1, tzinfo=UTC)

_WAITING = sql.query("pending/waiting")
_SETTLE = sql.query("pending/settle")
_PLACE = sql.query("feed/place")
_HINT = sql.query("feed/hint")
_HEADS = sql.query("feed/heads")
_OWNERS = sql.query("feed/owners")
_WHOLE = sql.query("reconcile/whole")
_FORGET_PLACED = sql.query("reconcile/forget_placed")
_FORGET_PENDING = sql.query("reconcile/forget_pending")
_NUMBERS_ALL = sql.query("reconcile/streams")
_HEADS_ALL = sql.query("reconcile/heads")
_PLACE_ALL = sql.query("reconcile/place")
_SETTLE_ALL = sql.query("reconcile/settle")


class Waiting(NamedTuple):
    """An entity of which `number` writes are to be placed now, the latest of which has waited since `until`."""

    entity: str
    until: datetime
    number: int


class Placed(NamedTuple):
    """Changes of `entity` that are in its feed, or superseded there; `gained` new positions, up to `head`.

    `users`, `seqs`: of each write that they are of, the user, and the last number. `more`: others wait.
    """

    entity: str
    users: list[str]
    seqs: list[int]
    more: bool
    gained: int
    head: int


async def waiting(connection: Connection, but: Sequence[str] = ()) -> list[Waiting]:
    """Of which entities changes wait, those that have waited longest, but for some. Raises Unavailable."""
    with translated():
        return [Waiting(*row) for row in await connection.fetch(_WAITING, CHANGES_MAX, but)]


async def place(connection: Connection, entity: str, until: datetime) -> Placed:
    """Places what has waited since `until`, or a part; committed when it returns, outside a transaction.

    Raises LockTimeout where another sequencer, or a purge, is at it for long, and Unavailable.
    """
    with translated():
        [row] = await connection.fetch(_PLACE, entity, until, CHANGES_MAX)
        return Placed(entity, *row)


async def settle(connection: Connection, placed: Placed, *, hinting: bool = False) -> None:
    """Those changes wait no longer; and where `hinting`, as `hint`.

    Raises LockTimeout, Unavailable: then nobody was told, and they will be placed again, to no effect.
    """
    with translated():
        await connection.execute(_SETTLE, placed.entity, placed.users, placed.seqs, hinting)


async def hint(connection: Connection, entity: str = "") -> None:
    """Tells whoever listens, in other processes, that feeds have grown, or that something of `entity` is to be placed.

    Raises LockTimeout, Unavailable: then nobody was told.
    """
    with translated():
        await connection.execute(_HINT, entity)


async def listen(connection: Connection, heard: Callable[[str], None]) -> None:
    """Calls `heard` whenever another process hints, with the entity, or ''. Raises Unavailable."""
    own = connection.get_server_pid()
    with translated():
        await connection.add_listener(CHANNEL, lambda _, pid, _channel, entity: heard(entity) if pid != own else None)


async def heads(connection: Connection) -> dict[str, int]:
    """The last position of each feed, by entity. Raises Unavailable."""
    with translated():
        return {row["entity"]: row["position"] for row in await connection.fetch(_HEADS)}


async def owners(connection: Connection, entity: str, after: int, *, most: int) -> set[str] | None:
    """Whose records have a place after a position; None where more than `most` places are. Raises Unavailable."""
    with translated():
        rows = await connection.fetch(_OWNERS, entity, after, most + 1)
    return {row["user_id"] for row in rows} if len(rows) <= most else None


async def reconcile(connection: Connection) -> None:
    """Brings the feeds in line with the records, whatever lay in them; in a transaction that reads what is committed.

    For a database whose tables may be of different times. What is not placed yet is placed; positions are not reused.
    """
    await connection.execute(_WHOLE)
    await connection.execute(_NUMBERS_ALL)
    for statement in (_HEADS_ALL, _FORGET_PLACED, _FORGET_PENDING, _PLACE_ALL, _HEADS_ALL, _SETTLE_ALL):
        await connection.execute(statement)
