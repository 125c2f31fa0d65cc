"""GET /feed/{entity}: everybody's changes of one entity, in one order, for backends that follow them."""

import asyncio
import functools
import re
import uuid
from dataclasses import dataclass
from typing import NamedTuple

import orjson
from aiohttp import web

from favsync.catalog.entity import Entity
from favsync.core.cursor import FeedPlace
from favsync.core.errors import CursorExpired, MalformedRequest, Unavailable
from favsync.core.record import entity_key, owner_key
from favsync.feed import printing
from favsync.feed.schemas import dump_change
from favsync.http import events, keys, queueing
from favsync.http.doors import FEED_LIMIT_DEFAULT, FEED_LIMIT_MAX, WAIT_MAX_S
from favsync.http.respond import private_bytes
from favsync.http.streams import Ended
from favsync.hub import Topic
from favsync.identity.authenticator import Identity
from favsync.store import bounded, feed

_EXPIRED = (
    "The cursor is not one to continue from: read the feed from its beginning, without `after`. What you have of it, "
    "and do not meet again up to the first answer whose `hasMore` is false, was deleted."
)
_LOOK_S = 5.0  # where nobody tells of news
_NUMBER = re.compile(r"[0-9]{1,4}")


class _At(NamedTuple):
    """Where a reader of events is: all that they depend on. `place`: None for one who begins with nothing."""

    epoch: uuid.UUID
    namespace: str
    place: FeedPlace | None


@dataclass(frozen=True, slots=True)
class Feed:
    """The feed of one entity, of each tenant."""

    entity: Entity

    async def get(self, request: web.Request, caller: Identity) -> web.StreamResponse:
        """Changes behind `after`, or all; now, or when there are some (`wait`), or one by one as they come (Accept)."""
        return await _Reader(request, caller, self.entity).answer()


class _Reader:
    """One request for a feed."""

    def __init__(self, request: web.Request, caller: Identity, entity: Entity) -> None:
        self._request = request
        self._caller = caller
        self._database, self._reads = request.app[keys.DATABASE], request.app[keys.READS]
        self._epoch = self._database.epoch
        self._entity = entity_key(entity.stored, tenant=caller.tenant)
        self._wait_s = _number(request, "wait", 0, 0, WAIT_MAX_S)
        after = events.resumed_after(request)
        self._place = None if after is None else self._seen(after)
        self._asked = printing.Asked(
            epoch=self._epoch.id,
            entity=self._entity,
            has_fields=entity.has_fields,
            namespace=caller.namespace,
            own=owner_key("", tenant=caller.tenant, namespace=caller.namespace),
            limit=_number(request, "limit", FEED_LIMIT_DEFAULT, 1, FEED_LIMIT_MAX),
            position=self._place.position if self._place else 0,
        )

    def _seen(self, after: str) -> FeedPlace:
        try:
            return self._epoch.seal.read_feed_cursor(after, self._entity)
        except CursorExpired:
            raise CursorExpired(_EXPIRED) from None

    async def answer(self) -> web.StreamResponse:
        if events.wants_events(self._request):
            async with queueing.turn(self._request, self._reads, self._caller):
                await self._page(self._place, limit=1)  # or 410, which a stream could not say
            start = _At(self._epoch.id, self._caller.namespace, self._place)
            return await events.follow(self._request, self._caller, Topic(self._entity), start, self._events)
        async with queueing.turn(self._request, self._reads, self._caller):
            page = await self._in_advance() if self._asked.limit >= printing.AHEAD_LIMIT_MIN else await self._printed()
        if page.last is None and self._wait_s:
            page = await self._news(page)
        cursor = self._epoch.seal.feed_cursor(self._entity, _behind(self._place, page))
        end = b'],"cursor":"%b","hasMore":%b}' % (cursor.encode(), b"true" if page.more else b"false")
        return private_bytes(self._request, b"".join((b'{"changes":[', page.json, end)))

    async def _in_advance(self) -> feed.Printed:
        """The page that was asked for, which may have been read a moment ago; and sees to the next."""
        ahead = self._request.app[keys.AHEAD]
        expected, page = await ahead.take(self._asked)
        if page is None or self._fault(self._place, page):
            page = await self._printed()
        if page.more and page.last:
            following = self._asked._replace(position=page.last)
            # For one who has just shown to go on at once. One who takes longer would never come in time for it.
            goes_on = expected and len(page.json) <= printing.AHEAD_BYTES_MAX
            read = functools.partial(printing.ahead, self._database, following) if goes_on else None
            ahead.expect(following, read)
        return page

    async def _printed(self) -> feed.Printed:
        """The page that was asked for, as of now."""
        page = await printing.printed(self._database, self._asked)
        self._check(self._place, page)
        return page

    async def _page(
        self, place: FeedPlace | None, *, limit: int, bytes_max: int = bounded.FIELDS_BYTES_MAX
    ) -> feed.Page:
        position = place.position if place else 0
        page = await feed.page(self._database, self._entity, position, limit=limit, bytes_max=bytes_max)
        self._check(place, page)
        return page

    def _check(self, place: FeedPlace | None, page: feed.Page | feed.Printed) -> None:
        """Raises CursorExpired, or Unavailable, where the page does not go on from `place`."""
        if fault := self._fault(place, page):
            raise fault

    def _fault(self, place: FeedPlace | None, page: feed.Page | feed.Printed) -> CursorExpired | Unavailable | None:
        # The connection that gave it may have been to another database than before.
        if self._database.epoch.id != self._epoch.id:
            return CursorExpired(_EXPIRED)
        if place and max(place) > page.head:
            return self._database.lacks(_EXPIRED)
        if place and place.misses(page.horizon):
            return CursorExpired(_EXPIRED)
        return None

    async def _news(self, page: feed.Printed) -> feed.Printed:
        """The page as it is when there are changes, or the time is up, or the token ends."""
        hub, places = self._request.app[keys.HUB], self._request.app[keys.STREAMS]
        left_s = events.left_s(self._caller)
        try:
            with places.place(self._request, self._caller.owner), hub.follow(Topic(self._entity)) as board:
                async with asyncio.timeout(self._wait_s if left_s is None else min(left_s, self._wait_s)):
                    while True:
                        number = board.number
                        page = await board.read((self._asked, self._place), self._printed)
                        if page.last is not None:
                            return page
                        await board.beyond(number, wait_s=_LOOK_S)
        except (TimeoutError, Ended):
            return page

    async def _events(self, at: _At) -> tuple[_At, bytes]:
        """What comes next, each change with the cursor behind it."""
        page = await self._page(at.place, limit=events.ROWS_MAX, bytes_max=events.BYTES_MAX)
        base = at.place.base if at.place else page.head
        made = [
            events.event(
                self._epoch.seal.feed_cursor(self._entity, FeedPlace.of(change.position, base)),
                orjson.dumps(dump_change(change, at.namespace)),
            )
            for change in page.changes
        ]
        return at._replace(place=_behind(at.place, page)), b"".join(made)


def _behind(place: FeedPlace | None, page: feed.Page | feed.Printed) -> FeedPlace:
    """Where a reader is who was at `place` and has read the page."""
    base = place.base if place else page.head
    return FeedPlace.of(page.last if page.more and page.last else page.head, base)


def _number(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise MalformedRequest(f"`{name}` must be a whole number from {least} to {most}.")
    return int(text)
