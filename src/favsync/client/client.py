"""One set of records at a service, or at a third party that has the two endpoints: read it, write it, follow it."""

import asyncio
import math
import random
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import quote

from yarl import URL

from favsync.client import feeds
from favsync.client.answers import json_of, looks_like_html, opaque
from favsync.client.auth import Auth, auth_of
from favsync.client.clock import Clock
from favsync.client.errors import BadAnswer, ClientError, Invalid
from favsync.client.feeds import Change, FeedPage
from favsync.client.links import next_url
from favsync.client.records import Listing, Receipt, Record, RefusedRecord, batches, receipts
from favsync.client.retries import Retry
from favsync.client.session import Answer, Session
from favsync.client.turns import in_turns
from favsync.client.wire import Wire
from favsync.core.errors import Fault
from favsync.core.fields import pointer_to

ANSWER_BYTES_MAX = 32 * 1024 * 1024
REQUEST_BYTES_MAX = 1_000_000
PAGES_MAX = 100
LIST_RECORDS_MAX = 1_000_000
BATCH = 500
PAUSE_S = 1.0  # between two answers of a feed that hold nothing and came at once


class Paths(NamedTuple):
    """Where the endpoints are, behind the URL of the service; `{entity}` stands for the entity."""

    read: str
    write: str
    feed: str = "/feed/{entity}"


SYNC = Paths("/sync/{entity}", "/sync/{entity}")
SEED = Paths("/getUserFavorites", "/postUserFavorites")


@dataclass(frozen=True, slots=True)
class Pulled:
    """A list, or what changed since a cursor. `refused`: what of it is not valid, and so is not in `records`.

    `cursor`: for `after`, once the records are stored. `etag`: for the same request, next time. None: there is none.
    """

    records: list[Record]
    refused: list[RefusedRecord]
    etag: str | None
    cursor: str | None
    not_modified: bool = False


class Client:
    """`async with Client(url, token) as client`.

    `auth`: a token, or an `Auth`. `user`, `namespace`: whose records, where the token has `sync:any`. `session`: shared
    with others; without it the client has one of its own. `retry`: None, where the caller does that.
    `bytes_max`: of one answer, unpacked. `pages_max`, `list_bytes_max`, `list_records_max`: of one list; None: any.

    Raises ForbiddenAddress for a URL that the session does not allow, ValueError for what else cannot be.
    """

    def __init__(  # noqa: PLR0913 -- all but two have defaults
        self,
        base_url: str,
        auth: Auth | str | None,
        *,
        entity: str = "favorites",
        paths: Paths = SYNC,
        user: str | None = None,
        namespace: str | None = None,
        session: Session | None = None,
        retry: Retry | None = Retry(),  # noqa: B008 -- it cannot change
        clock: Clock | None = None,
        bytes_max: int = ANSWER_BYTES_MAX,
        pages_max: int = PAGES_MAX,
        list_bytes_max: int | None = None,
        list_records_max: int | None = LIST_RECORDS_MAX,
    ) -> None:
        self._owns_session = session is None
        self._session = session or Session()
        self._base = self._session.check(base_url)
        self._wire = Wire(self._session, auth_of(auth), clock or Clock(), retry, bytes_max)
        self._urls = Paths(*(_path(template, entity) for template in paths))
        self._whose = {name: value for name, value in (("user", user), ("namespace", namespace)) if value is not None}
        self._pages_max = pages_max
        self._list_bytes_max = math.inf if list_bytes_max is None else list_bytes_max
        self._list_records_max = math.inf if list_records_max is None else list_records_max
        self.entity = entity

    def __repr__(self) -> str:
        return f"Client({str(self._base.origin())!r}, entity={self.entity!r})"

    async def __aenter__(self) -> Self:
        if self._owns_session:
            await self._session.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owns_session:
            await self._session.__aexit__(kind, error, trace)

    @property
    def clock(self) -> Clock:
        """The service's time, as its answers tell it."""
        return self._wire.clock

    async def pull(self, *, etag: str | None = None, after: str | None = None, limit: int | None = None) -> Pulled:
        """All records, deleted ones included; with `after`, those that changed since that cursor.

        With the `etag` of the same request before, it may be that nothing has changed: then `not_modified` is true, and
        there are no records. `limit`: of one page; all pages are read. Of each item there is one record, the greatest.
        Raises ClientError; CursorGone: read again without `after`.
        """
        url = self._url(self._urls.read, self._whose, after=after, limit=limit)
        headers = {"Accept": "application/json"} | ({} if etag is None else {"If-None-Match": etag})
        listing, cursor, tag, size = Listing(), None, None, 0
        for number in range(self._pages_max):
            answer = await self._wire.ask("GET", url, headers)
            cursor = opaque(answer.headers.get("Sync-Cursor")) or cursor
            if answer.status == HTTPStatus.NOT_MODIFIED:
                return Pulled([], [], etag, cursor, not_modified=True)
            if answer.status != HTTPStatus.OK:  # such as 206: a part, in which what is missing would be taken for gone
                raise BadAnswer(f"it answered {answer.status}, which is no whole list")
            size += len(answer.body)
            if size > self._list_bytes_max:
                raise BadAnswer(f"the list has more than {self._list_bytes_max} bytes")
            await self._take(listing, answer)
            tag = opaque(answer.headers.get("ETag")) if number == 0 else None
            onward = next_url(answer.headers.getall("Link", []), answer.url)
            if onward is None:
                return Pulled(listing.records, listing.refused, tag, cursor)
            headers.pop("If-None-Match", None)
            url = onward
        raise BadAnswer(f"the list has more than {self._pages_max} pages")

    async def push(
        self,
        records: Iterable[Record],
        *,
        clock_offset_ms: int | None = None,
        lenient: bool = False,
        batch: int = BATCH,
    ) -> list[Receipt] | None:
        """Sends records, `batch` of them in a request at most; a receipt for each, in order.

        None: it was accepted, and the service tells no receipts, which the protocol does not ask for. `clock_offset_ms`
        is added to each date, by the service. `lenient`: the valid ones are stored, and others get a receipt that says
        `invalid`.

        Raises Unsendable before anything is sent; else ClientError, whose `acknowledged` says how many of the first
        records are stored. All may be sent again: those are duplicates then.
        """
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if clock_offset_ms is not None:
            headers["Sync-Clock-Offset"] = str(int(clock_offset_ms))
        if lenient:
            headers["Prefer"] = "handling=lenient"
        if batch < 1:
            raise ValueError("a batch holds at least one record")
        url, told, done = self._url(self._urls.write, self._whose), [], 0
        silent = False
        for written in await batches(records, size=batch, bytes_max=REQUEST_BYTES_MAX):
            try:
                answer = await self._wire.ask("POST", url, headers, b"[" + b",".join(written) + b"]")
                some = _receipts(answer, len(written))
            except ClientError as error:
                error.acknowledged = done
                if isinstance(error, Invalid):
                    error.faults = tuple(_moved(fault, done) for fault in error.faults)
                raise
            done += len(written)
            silent = silent or some is None
            told += some or []
        return None if silent else told

    async def feed(
        self, after: str | None = None, *, limit: int | None = None, wait_s: int = 0
    ) -> AsyncGenerator[FeedPage, None]:
        """Everybody's changes behind `after`, or all there are, page by page; for a token with `feed:read`.

        With `wait_s`, up to 60, it goes on for ever: each answer comes when there is a change, or is empty after that
        time. Without, it ends with the page that has no more behind it.
        Raises ClientError; CursorGone: begin again without `after`.
        """
        while True:
            asked_at = time.monotonic()
            url = self._url(self._urls.feed, {}, after=after, limit=limit, wait=wait_s or None)
            answer = await self._wire.ask("GET", url, {"Accept": "application/json"}, wait_s=wait_s)
            page = await feeds.page_of(json_of(answer))
            after = page.cursor
            yield page
            if not wait_s and not page.has_more:
                return
            if not page.changes and time.monotonic() < asked_at + PAUSE_S:
                await asyncio.sleep(random.uniform(0, PAUSE_S))  # noqa: S311 -- it would not wait: it ends, perhaps

    def follow(self, after: str | None = None, *, reconnect: bool = True) -> AsyncGenerator[Change, None]:
        """The user's own records as they change: first all behind `after`, then those that come, for ever.

        Where the connection ends, it is made again, and goes on behind the last change that was given. Raises what that
        does not mend; CursorGone: read again with `pull`, and go on from there.
        """
        url = self._url(self._urls.read, self._whose)
        return feeds.follow(self._wire, url, after, feeds.own_change_of, reconnect=reconnect)

    def follow_feed(self, after: str | None = None, *, reconnect: bool = True) -> AsyncGenerator[Change, None]:
        """Everybody's changes, likewise; for a token with `feed:read`."""
        url = self._url(self._urls.feed, {})
        return feeds.follow(self._wire, url, after, feeds.change_of, reconnect=reconnect)

    async def _take(self, listing: Listing, answer: Answer) -> None:
        content = json_of(answer)
        if not isinstance(content, list):
            raise BadAnswer("the answer is JSON, and no list of records")
        if listing.count + len(content) > self._list_records_max:
            raise BadAnswer(f"the list has more than {self._list_records_max} records")
        listing.begin_page()
        async for one in in_turns(content):
            listing.add(one)

    def _url(self, path: str, whose: Mapping[str, str], **query: str | int | None) -> URL:
        asked = {name: str(value) for name, value in query.items() if value is not None}
        return URL(str(self._base).rstrip("/") + path).update_query({**whose, **asked})


def _path(template: str, entity: str) -> str:
    if not template.startswith("/"):
        raise ValueError(f"a path begins with a slash: {template!r}")
    return template.replace("{entity}", quote(entity, safe=""))


def _receipts(answer: Answer, count: int) -> list[Receipt] | None:
    """Any 2xx is a yes, whatever it says; but a page for people is of something else that stands in between."""
    if looks_like_html(answer.body):
        raise BadAnswer("the answer is HTML: whether the records arrived is not known")
    try:
        return receipts(json_of(answer), count)
    except BadAnswer:
        return None


def _moved(fault: Fault, by: int) -> Fault:
    """A place in a batch, as one in all that was to be sent."""
    if fault.index is None:
        return fault
    _, _, rest = fault.pointer[1:].partition("/")
    place = pointer_to(fault.index + by)
    return replace(fault, index=fault.index + by, pointer=f"{place}/{rest}" if rest else place)
