"""What one owner has of some entities, or what changed of it since a cursor: how it is read, sealed and shown."""

import functools
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson
from aiohttp import web

from favsync.catalog.entity import Entity, Scope
from favsync.core.cursor import Place, Seal
from favsync.core.errors import CursorExpired, MalformedRequest
from favsync.core.record import entity_key
from favsync.entities import schemas
from favsync.http import keys, queueing
from favsync.http.doors import LIMIT_MAX
from favsync.http.events import BYTES_MAX, ROWS_MAX, event, follow, resumed_after
from favsync.http.headers import none_match
from favsync.http.respond import not_modified, private_bytes, private_json
from favsync.hub import Topic
from favsync.identity.authenticator import Identity
from favsync.store import records
from favsync.store.database import Database

WHOLE_MAX = 100_000
_LIMIT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, eq=False)
class Shown:
    """Of which entities a GET at `path` shows the records; `several`: by entity, not as one list.

    `live`: it also shows those of one entity as events, for as long as there may be others.
    """

    entities: Sequence[Entity]
    path: str
    several: bool = False
    live: bool = False

    @functools.cached_property
    def whole(self) -> int:
        """How many records one answer holds where nobody says: a user's all, since the seed's clients know no pages."""
        allowed = sum(entity.max_items or 0 for entity in self.entities if entity.scope is Scope.USER)
        return min(max(LIMIT_MAX, allowed), WHOLE_MAX)

    @functools.cached_property
    def shared(self) -> Sequence[Entity]:
        """Those that a tenant shares."""
        return [entity for entity in self.entities if entity.scope is Scope.SHARED]

    @functools.lru_cache(100)  # noqa: B019 -- there are as many of these as there are doors
    def names(self, tenant: str) -> Mapping[str, str]:
        """The entities' names, by their keys in order."""
        return dict(sorted((entity_key(entity.stored, tenant=tenant), entity.name) for entity in self.entities))


class _At(NamedTuple):
    """Where a reader of events is."""

    epoch: uuid.UUID
    seq: int


class View:
    """The records of `owner`, as the query of a request asks for them."""

    def __init__(self, request: web.Request, shown: Shown, *, owner: str, caller: Identity) -> None:
        self.owner = owner
        self._caller = caller
        self._request = request
        self._database: Database = request.app[keys.DATABASE]
        self._shown = shown
        self._names = shown.names(caller.tenant)
        self._keys = tuple(self._names)
        self._epoch = self._database.epoch
        seal, query = self._epoch.seal, request.query
        after = resumed_after(request) if shown.live else query.get("after")
        self._after = None if after is None else seal.read_cursor(after, owner, self._keys)
        pages = "page" in query and request.method != "POST"
        self._place = seal.read_page(query["page"], owner, self._keys) if pages else None
        if self._place is not None and self._after is not None:
            raise MalformedRequest("`after` and `page` do not go together: follow the Link as it came.")
        self._limit = _limit(query.get("limit"), default=shown.whole)

    async def check(self) -> None:
        """CursorExpired, before anything is stored, where the database has forgotten what the cursor saw."""
        if self._after is not None:
            self._check(await self._request.app[keys.SEQS].get(self.owner))

    async def unless_known(self) -> web.StreamResponse:
        """304 where the caller has this very state: that rests on the owner's seq, and reads no records."""
        if "If-None-Match" in self._request.headers and self._place is None:
            seq = await self._request.app[keys.SEQS].get(self.owner)
            self._check(seq)
            headers = self._marks(seq)
            if none_match(self._request.headers, headers["ETag"]):
                return not_modified(headers=headers)
        return await self.show()

    async def show(self, headers: Mapping[str, str] = MappingProxyType({})) -> web.StreamResponse:
        known = None
        if self._after is None and self._place is None and not self._shown.several:
            known = records.ListKey(self.owner, self._keys[0])
            if self._limit >= records.SHOWN_MAX and not self._shown.entities[0].has_fields:
                whole = await self._request.app[keys.LISTS].get(known)
                if whole is not None:
                    return self._whole(whole, headers)
                known = None
        async with queueing.turn(self._request, self._request.app[keys.READS], self._caller):
            found = (await self._printed(known) if known else None) or await self._read()
        if isinstance(found, records.Shown):
            return self._whole(found, headers)
        self._check(found.seq)
        marks: Mapping[str, str]
        if found.more:
            marks = self._onward(found)
        elif self._place is not None:
            marks = {"Sync-Cursor": self._cursor(self._place.seq)}
        else:
            marks = self._marks(found.seq)
        return private_json(self._request, self._dump(found.rows), headers={**marks, **headers})

    async def _printed(self, known: records.ListKey) -> records.Shown | None:
        """The list as it is, where it is small."""
        return (await records.show(self._database, [known], min(self._limit, records.SHOWN_MAX)))[known]

    def _whole(self, whole: records.Shown, headers: Mapping[str, str]) -> web.StreamResponse:
        self._check(whole.seq)
        marked = {**self._marks(whole.seq), **headers}
        return private_bytes(self._request, b"[%b]" % whole.json, headers=marked)

    async def _read(self) -> records.Listing:
        if self._after is not None:
            return await records.changes(self._database, self.owner, self._keys, self._after, self._limit)
        first, item = (self._place.entity, self._place.item) if self._place else (0, "")
        keys_left = self._keys[first:]
        behind = [item, *[""] * (len(keys_left) - 1)]
        return await records.read(self._database, self.owner, keys_left, behind, self._limit)

    async def follow(self) -> web.StreamResponse:
        """The records as events, by when they changed, and then each that changes; each with its cursor."""
        if self._place is not None:
            raise MalformedRequest("`page` leads to a list: events go on behind `after`, or Last-Event-ID.")
        await self.check()
        [entity] = self._keys
        start = _At(self._epoch.id, self._after or 0)
        return await follow(self._request, self._caller, Topic(entity, self.owner), start, self._events)

    async def _events(self, at: _At) -> tuple[_At, bytes]:
        found = await records.changes(self._database, self.owner, self._keys, at.seq, ROWS_MAX, bytes_max=BYTES_MAX)
        self._check(found.seq, at.seq)
        events = [event(self._cursor(row.seq), orjson.dumps(schemas.dump_record(row))) for row in found.rows]
        return at._replace(seq=found.rows[-1].seq if found.more else found.seq), b"".join(events)

    def _dump(self, rows: list[records.Row]) -> object:
        shown: dict[str, list[Any]] = {self._names[key]: [] for key in self._keys}
        for row in rows if self._after is None else sorted(rows):
            shown[self._names[row.entity]].append(schemas.dump_record(row))
        if self._shown.several:
            return shown
        [only] = shown.values()
        return only

    def _check(self, seq: int, seen: int | None = None) -> None:
        """CursorExpired where `seq` is not one that what the caller has `seen`, by its cursor or page, leads to."""
        # The connection that told `seq` may have been to another database than before.
        if seen is None:
            seen = self._place.seq if self._place else self._after or 0
        if self._database.epoch.id != self._epoch.id:
            raise CursorExpired
        if seen > seq:
            raise self._database.lacks()

    def _cursor(self, seq: int) -> str:
        return self._epoch.seal.cursor(self.owner, self._keys, seq)

    def _marks(self, seq: int) -> Mapping[str, str]:
        """What marks the whole state at `seq`, or all that changed since the cursor."""
        representation = "all" if self._after is None else f"after {self._after}"
        if self._shown.several:
            representation = f"{representation} as {','.join(self._names.values())}"
        return _sealed(self._epoch.seal, self.owner, self._keys, representation, seq)

    def _onward(self, found: records.Listing) -> dict[str, str]:
        """What leads on from a part. Of changes each part has a cursor, of a list the last one alone."""
        last = found.rows[-1]
        if self._after is not None:
            cursor = self._cursor(last.seq)
            return {"Sync-Cursor": cursor, "Link": self._next(after=cursor)}
        place = Place(self._place.seq if self._place else found.seq, self._keys.index(last.entity), last.item)
        return {"Link": self._next(page=self._epoch.seal.page(self.owner, self._keys, place))}

    def _next(self, **step: str) -> str:
        url = self._request.rel_url.with_path(self._shown.path, keep_query=True).update_query(step)
        return f'<{url}>; rel="next"'


@functools.lru_cache(10_000)  # who asks again and again is told the same: 20 us saved
def _sealed(seal: Seal, owner: str, entities: tuple[str, ...], representation: str, seq: int) -> Mapping[str, str]:
    tag, cursor = seal.etag(owner, entities, representation, seq), seal.cursor(owner, entities, seq)
    return MappingProxyType({"ETag": tag, "Sync-Cursor": cursor})


def _limit(text: str | None, *, default: int) -> int:
    if text is None:
        return default
    if not _LIMIT.fullmatch(text) or not 1 <= int(text) <= LIMIT_MAX:
        raise MalformedRequest(f"`limit` must be a whole number from 1 to {LIMIT_MAX}.")
    return int(text)
