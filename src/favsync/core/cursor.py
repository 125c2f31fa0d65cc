"""Cursors, pages and ETags: opaque to clients, and worthless to anyone but whom they were made for.

Each is a sequence number, or a position, and a MAC over all that it holds for: epoch (the MAC's key belongs to the
epoch), user, entities, purpose. HTTP caches key by URL alone, and a bare number would give Bob, who signs in on Ann's
phone at the same number, a 304 and Ann's list.
"""

import base64
import hmac
import re
import struct
from collections.abc import Sequence
from typing import NamedTuple

from favsync.core.errors import CursorExpired, MalformedRequest

SEQ_MAX = 2**63 - 1

_MAC_BYTES = 16
_HEAD = struct.Struct(">BQ")  # layout number, seq
_LAYOUT = 1
_TEXT = re.compile(r"[A-Za-z0-9_-]{34}")  # base64url of the head and the MAC, 25 bytes
_PADDING = "=="
_INDEX = struct.Struct(">H")
_PAGE = re.compile(r"[A-Za-z0-9_-]{38,1396}")  # with an index and an item of 1 to 1020 bytes between them
_BASE = struct.Struct(">Q")
_FEED = re.compile(r"[A-Za-z0-9_-]{44}")  # with a base between them, 33 bytes


class Place(NamedTuple):
    """Where a reader of a list is who reads it in pages: behind `item` of the entity at that index.

    `seq`: the user's when the first page was read. Whatever changed since is not missed by who then asks for what
    changed after it.
    """

    seq: int
    entity: int
    item: str


class FeedPlace(NamedTuple):
    """How much of a feed a reader has: all up to `position`.

    `base`: where the feed ended when the reader began with nothing; 0 where that is no more than `position`. A deletion
    that was placed at or below it was of an item which that reader has never seen otherwise, and so does not miss.
    """

    position: int
    base: int

    @classmethod
    def of(cls, position: int, base: int) -> "FeedPlace":
        """The place; all readers who are at one position, and beyond their base, are at the same."""
        return cls(position, base if base > position else 0)

    def misses(self, horizon: int) -> bool:
        """Whether tombstones were purged, up to `horizon`, that this reader needs."""
        return max(self) < horizon


class Seal:
    """Makes and reads the cursors of one epoch. `key`: the epoch's secret, 32 random bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def cursor(self, user: str, entities: Sequence[str], seq: int) -> str:
        """The cursor of a user who has seen everything of `entities` up to `seq`."""
        return self._seal("cursor", (user, *entities), seq)

    def read_cursor(self, text: str, user: str, entities: Sequence[str]) -> int:
        """The `seq` of a cursor that `cursor` made for the same user and entities.

        Raises MalformedRequest for a text that no `cursor` ever made, and CursorExpired for a cursor of another
        epoch, user, entity set or release.
        """
        if not _TEXT.fullmatch(text):
            raise MalformedRequest("`after`, or Last-Event-ID, is not a cursor: pass a Sync-Cursor as it came.")
        layout: int
        seq: int
        layout, seq = _HEAD.unpack_from(base64.urlsafe_b64decode(text + _PADDING))
        if layout != _LAYOUT or seq > SEQ_MAX:
            raise CursorExpired
        if not hmac.compare_digest(text.encode(), self.cursor(user, entities, seq).encode()):
            raise CursorExpired
        return seq

    def page(self, user: str, entities: Sequence[str], place: Place) -> str:
        """What leads to the page behind `place`."""
        item = place.item.encode()
        return self._seal("page", (user, *entities), place.seq, _INDEX.pack(place.entity) + item)

    def read_page(self, text: str, user: str, entities: Sequence[str]) -> Place:
        """The place that `page` was given for the same user and entities; raises as `read_cursor` does."""
        if not _PAGE.fullmatch(text):
            raise MalformedRequest("`page` is not one: follow the Link that came with the page before.")
        try:
            raw = base64.urlsafe_b64decode(text + _PADDING)
            body = raw[_HEAD.size : -_MAC_BYTES]
            place = Place(_HEAD.unpack_from(raw)[1], _INDEX.unpack_from(body)[0], body[_INDEX.size :].decode())
        except ValueError:  # neither base64 nor UTF-8, though of its letters
            raise CursorExpired from None
        if place.seq > SEQ_MAX or not hmac.compare_digest(text.encode(), self.page(user, entities, place).encode()):
            raise CursorExpired
        return place

    def feed_cursor(self, entity: str, place: FeedPlace) -> str:
        """The cursor of a reader who is at `place` in the feed of a stored entity."""
        return self._seal("feed", (entity,), place.position, _BASE.pack(place.base))

    def read_feed_cursor(self, text: str, entity: str) -> FeedPlace:
        """The place that `feed_cursor` was given for the same entity; raises as `read_cursor` does."""
        if not _FEED.fullmatch(text):
            raise MalformedRequest("`after`, or Last-Event-ID, is not a cursor of a feed: pass `cursor` as it came.")
        raw = base64.urlsafe_b64decode(text)
        place = FeedPlace(_HEAD.unpack_from(raw)[1], _BASE.unpack_from(raw, _HEAD.size)[0])
        if max(place) > SEQ_MAX or not hmac.compare_digest(text.encode(), self.feed_cursor(entity, place).encode()):
            raise CursorExpired
        return place

    def etag(self, user: str, entities: Sequence[str], representation: str, seq: int) -> str:
        """A weak entity-tag (RFC 9110, section 8.8.3): weak, so that it holds for each content coding."""
        return f'W/"{self._seal("etag", (user, *entities, representation), seq)}"'

    def _seal(self, purpose: str, scope: Sequence[str], seq: int, place: bytes | None = None) -> str:
        head = _HEAD.pack(_LAYOUT, seq)
        # Each part goes in behind its length, so that no two scopes give the same bytes.
        parts = [part.encode() for part in (purpose, *scope)] + ([] if place is None else [place])
        message = head + b"".join(len(part).to_bytes(4) + part for part in parts)
        mac = hmac.digest(self._key, message, "sha256")[:_MAC_BYTES]
        return base64.urlsafe_b64encode(head + (place or b"") + mac).decode().rstrip("=")
