"""GET /getUserFavorites and POST /postUserFavorites: seed 003."""

from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web

from favsync.core.errors import CursorExpired, InvalidRecords, MalformedRequest
from favsync.core.merge import Outcome
from favsync.core.record import Key, Record, entity_key
from favsync.favourites import schemas
from favsync.http import keys
from favsync.http.body import read_json
from favsync.http.doors import Answer, Door
from favsync.http.headers import clock_offset_us, none_match, preferences
from favsync.http.respond import PRIVATE, not_modified, private_json
from favsync.identity.authenticator import Identity
from favsync.store import records
from favsync.store.database import Database

ENTITY = "favorites"


class View:
    """What one user has, or what changed for it since a cursor: how it is read, sealed and shown."""

    def __init__(self, request: web.Request, caller: Identity) -> None:
        self._request = request
        self._database: Database = request.app[keys.DATABASE]
        self._user = caller.owner
        self._entity = entity_key(ENTITY, tenant=caller.tenant)
        self._epoch = self._database.epoch
        cursor = request.query.get("after")
        self._after = self._epoch.seal.read_cursor(cursor, self._user, [self._entity]) if cursor is not None else None

    async def check(self) -> None:
        """CursorExpired, before anything is stored, where the database has forgotten what the cursor saw."""
        if self._after is not None:
            self._headers(await records.latest_seq(self._database, self._user))

    async def unless_known(self) -> web.Response:
        """304 where the caller has this very state: that rests on the user's seq, and reads no records."""
        if "If-None-Match" in self._request.headers:
            seq = await records.latest_seq(self._database, self._user)
            headers = self._headers(seq)
            if none_match(self._request.headers, headers["ETag"]):
                return not_modified(headers=headers)
        return await self.whole()

    async def whole(self, headers: Mapping[str, str] = MappingProxyType({})) -> web.Response:
        listing = await records.read(self._database, self._user, self._entity, after=self._after or 0)
        content = [schemas.dump_record(item, version) for item, version in listing.versions]
        return private_json(self._request, content, headers=self._headers(listing.seq) | dict(headers))

    def _headers(self, seq: int) -> dict[str, str]:
        """What marks the state at `seq`; CursorExpired where it is not one that the caller's cursor leads to."""
        epoch = self._database.epoch  # the connection that told `seq` may have been to another database than before
        if self._after is not None and (self._after > seq or epoch.id != self._epoch.id):
            raise CursorExpired
        representation = "all" if self._after is None else f"after {self._after}"
        return {
            "ETag": epoch.seal.etag(self._user, [self._entity], representation, seq),
            "Sync-Cursor": epoch.seal.cursor(self._user, [self._entity], seq),
        }


async def get_user_favorites(request: web.Request, caller: Identity) -> web.Response:
    """All of the caller's records, tombstones included, ordered by item; with `after`, what changed since."""
    return await View(request, caller).unless_known()


async def post_user_favorites(request: web.Request, caller: Identity) -> web.Response:
    """Takes records of the caller's, and answers for each; with Prefer, nothing (204) or what then stands.

    A preference is honoured only where every record was settled: an answer without receipts must not let a device
    forget a record that was refused.
    """
    settings = request.app[keys.SETTINGS]
    wishes, offset_us = preferences(request.headers), clock_offset_us(request.headers)
    body = await read_json(request, max_bytes=settings.max_body)
    view = View(request, caller)
    if wishes.returns == "representation":
        await view.check()
    candidates, faults = schemas.read(body, max_batch=settings.max_batch, offset_us=offset_us)
    if faults and not wishes.lenient:
        raise InvalidRecords(faults)

    valid = [candidate for candidate in candidates if not isinstance(candidate, schemas.Refused)]
    request.app[keys.METRICS].receipt(Outcome.INVALID, len(candidates) - len(valid))
    entity = entity_key(ENTITY, tenant=caller.tenant)
    receipts = await request.app[keys.SYNC].push(
        [Record(Key(caller.owner, entity, item), version) for item, version in valid]
    )
    lenient = ["handling=lenient"] if wishes.lenient else []
    if not faults and all(receipt.outcome.settled for receipt in receipts):
        if wishes.returns == "minimal":
            return web.Response(status=204, headers=PRIVATE | _applied([*lenient, "return=minimal"]))
        if wishes.returns == "representation":
            return await view.whole(_applied([*lenient, "return=representation"]))
    remaining = iter(receipts)
    dumped = [
        schemas.dump_refused(candidate)
        if isinstance(candidate, schemas.Refused)
        else schemas.dump_receipt(next(remaining))
        for candidate in candidates
    ]
    return private_json(request, {"receipts": dumped}, headers=_applied(lenient))


def doors(*, max_batch: int) -> list[Door]:
    state = ["ETag", "Sync-Cursor", "Cache-Control", "Vary"]
    private = ["Cache-Control", "Vary"]
    merged = {"type": "array", "items": schemas.FavouriteSchema}
    return [
        Door(
            method="GET", path="/getUserFavorites", handler=get_user_favorites, tag="favourites",
            summary="The caller's favourites",
            description="Deleted ones included, ordered by item. With `after`, what changed since.",
            parameters=["after", "If-None-Match"],
            answers={
                200: Answer(description="The records", schema=merged, headers=state),
                304: Answer(description="Nothing changed", headers=state),
            },
            errors=[MalformedRequest, CursorExpired],
        ),
        Door(
            method="POST", path="/postUserFavorites", handler=post_user_favorites, tag="favourites",
            summary="Takes favourites, and answers for each",
            description="One receipt a record, in order; or, with `Prefer: return=representation`, the merged list, "
            "of which `after` gives what changed since.",
            parameters=["after", "Prefer", "Sync-Clock-Offset"],
            body={"type": "array", "maxItems": max_batch, "items": schemas.FavouriteSchema},
            answers={
                200: Answer(
                    description="Receipts, or the merged list", schema={"oneOf": [schemas.RECEIPTS, merged]},
                    headers=[*state, "Preference-Applied"],
                ),
                204: Answer(description="All settled: `return=minimal`", headers=[*private, "Preference-Applied"]),
            },
            errors=[CursorExpired, InvalidRecords],
        ),
    ]  # fmt: skip


def _applied(preferences_applied: list[str]) -> dict[str, str]:
    return {"Preference-Applied": ", ".join(preferences_applied)} if preferences_applied else {}
