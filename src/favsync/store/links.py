"""Links: who is kept in step with which peer, how far that has come, and whose work each is just now."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from favsync.store import sql
from favsync.store.database import Database

_PUT = sql.query("links/put")
_GET = sql.query("links/get")
_DELETE = sql.query("links/delete")
_DUE = sql.query("links/due")
_CLAIM = sql.query("links/claim")
_RENEW = sql.query("links/renew")
_FINISH = sql.query("links/finish")
_HURRY = sql.query("links/hurry")
_HEAD = sql.query("feed/head")
_CHANGED = sql.query("links/changed")
_RENEWED = sql.query("links/renewed")
_RELEASE = sql.query("links/release")


class Link(NamedTuple):
    """A link as it is told of. `revision`: of its secret. `state`: what cycles have left for whoever asks."""

    secret: bytes
    revision: int
    needs_login: bool
    failures: int
    state: Mapping[str, Any]
    due_at: datetime
    at_work: bool


class Claim(NamedTuple):
    """A link that is ours to work on, for as long as the lease lasts, as it was left by the cycle before."""

    user_id: str
    secret: bytes
    revision: int
    memory: bytes | None
    etag: str | None
    seq: int | None
    failures: int
    state: Mapping[str, Any]


class Found(NamedTuple):
    """What a cycle leaves. `wait_s`: until the next; `hurried_s`: where records changed here during this one."""

    memory: bytes | None
    etag: str | None
    seq: int | None
    failures: int
    state: Mapping[str, Any]
    needs_login: bool
    wait_s: float
    hurried_s: float


async def put(database: Database, user: str, peer: str, secret: bytes, *, same_account: bool) -> None:
    """Makes a link, or gives one that is there another secret; a cycle is due at once.

    `same_account`: at the peer it is who it was, so that what is remembered of the peer's list still counts.
    """
    await database.write(_PUT, user, peer, secret, same_account)


async def get(database: Database, user: str, peer: str) -> Link | None:
    rows = await database.fetch(_GET, user, peer)
    if not rows:
        return None
    [row] = rows
    return Link(**{**row, "state": orjson.loads(row["state"])})


async def delete(database: Database, user: str, peer: str) -> bool:
    """Whether there was one."""
    return bool(await database.write(_DELETE, user, peer))


async def claim(database: Database, peer: str, lease: uuid.UUID, *, most: int, lease_s: float) -> list[Claim]:
    """Takes up to `most` links that are due, the longest due first: for `lease_s` they are nobody else's."""
    due = await database.fetch(_DUE, peer, most)
    if not due:
        return []
    rows = await database.write(_CLAIM, peer, [row["user_id"] for row in due], lease, lease_s)
    return [Claim(**{**row, "state": orjson.loads(row["state"])}) for row in rows]


async def renew(
    database: Database, peer: str, claims: Sequence[Claim], lease: uuid.UUID, *, lease_s: float
) -> set[tuple[str, int]]:
    """User and revision of those that are still ours, with the secret that they were taken for."""
    rows = await database.write(_RENEW, peer, *_columns(claims), lease, lease_s)
    revisions = {one.user_id: one.revision for one in claims}
    return {(row["user_id"], revisions[row["user_id"]]) for row in rows}


async def release(database: Database, peer: str, claims: Sequence[Claim], lease: uuid.UUID, *, wait_s: float) -> None:
    """Gives up links whose cycles did not come to an end: they are due again after `wait_s`, whoever takes them."""
    await database.write(_RELEASE, peer, *_columns(claims), lease, wait_s)


async def renewed(database: Database, peer: str, claimed: Claim, secret: bytes) -> None:
    """Keeps credentials that were renewed in a cycle, as they are sealed now, unless the user has given others."""
    await database.write(_RENEWED, claimed.user_id, peer, claimed.revision, secret)


def _columns(claims: Sequence[Claim]) -> tuple[list[str], list[int]]:
    return [one.user_id for one in claims], [one.revision for one in claims]


async def finish(database: Database, peer: str, claimed: Claim, lease: uuid.UUID, found: Found) -> bool:
    """Keeps what a cycle found; False where the link is no longer ours, or has another secret: then nothing is kept."""
    row = found._replace(state=orjson.dumps(found.state).decode())  # type: ignore[arg-type]  # as the driver wants it
    return bool(await database.write(_FINISH, claimed.user_id, peer, lease, claimed.revision, *row))


async def head(database: Database, entity: str) -> int:
    """The last position of the feed of a stored entity."""
    rows = await database.fetch(_HEAD, entity)
    return rows[0]["position"] if rows else 0


async def changed(database: Database, entity: str, after: int, limit: int) -> tuple[dict[str, int], int]:
    """Users whose records changed behind a position of the feed, with the seq of that; and how far this looked."""
    rows = await database.fetch(_CHANGED, entity, after, limit)
    return {row["user_id"]: row["seq"] for row in rows}, max((row["position"] for row in rows), default=after)


async def hurry(database: Database, peer: str, changed: Mapping[str, int], *, wait_s: float) -> None:
    """Has cycles begin soon for users, each with the seq of a change of theirs, that no cycle has compared yet."""
    await database.write(_HURRY, peer, list(changed), list(changed.values()), wait_s)
