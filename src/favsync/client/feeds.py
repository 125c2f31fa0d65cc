"""Changes, as feeds and streams of events tell them."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from yarl import URL

from favsync.client import records, sse
from favsync.client.answers import opaque
from favsync.client.errors import BadAnswer, Busy, ClientError
from favsync.client.records import NotARecord, Record
from favsync.client.session import Stream
from favsync.client.turns import in_turns
from favsync.client.wire import Wire

BACKOFF_S, BACKOFF_MAX_S, RETRY_AFTER_MAX_S = 0.25, 60.0, 300.0


@dataclass(frozen=True, slots=True)
class Change:
    """`cursor`: what to go on from once the record is stored; None in a page, which has one for all of its changes.

    `position`: the record's place in the feed, which only grows; None in a stream of one user's own records.
    """

    record: Record
    cursor: str | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True)
class FeedPage:
    """`cursor`: for the next time. Store it together with the changes, or after them; never before.

    `has_more`: others follow at once.
    """

    changes: list[Change]
    cursor: str
    has_more: bool


async def page_of(content: Any) -> FeedPage:  # noqa: ANN401 -- any JSON
    """All of it or BadAnswer: whoever passes over a change of a feed has lost it."""
    match content:
        case {"changes": [*changes], "cursor": str(cursor), "hasMore": bool(more)} if opaque(cursor):
            return FeedPage([change_of(one) async for one in in_turns(changes)], cursor, more)
    raise BadAnswer("the answer is no page of a feed")


def change_of(content: Any, cursor: str | None = None) -> Change:  # noqa: ANN401 -- any JSON
    """Of a feed. Raises BadAnswer."""
    position = content.get("position") if isinstance(content, dict) else None
    if type(position) is not int or position < 1:
        raise BadAnswer("the answer holds a change that has no position")
    try:
        return Change(records.read(content, named=True), cursor, position)
    except NotARecord as error:
        raise BadAnswer(f"the answer holds a change that is none: {error}") from None


def own_change_of(content: Any, cursor: str | None = None) -> Change:  # noqa: ANN401 -- any JSON
    """Of a user's own records. Raises BadAnswer."""
    try:
        return Change(records.read(content), cursor)
    except NotARecord as error:
        raise BadAnswer(f"the stream holds a record that is none: {error}") from None


async def follow(
    wire: Wire, url: URL, after: str | None, read: Callable[[Any, str | None], Change], *, reconnect: bool
) -> AsyncGenerator[Change, None]:
    """Each change behind `after` as it comes; for ever, or until the connection ends.

    Raises what another attempt would not mend, CursorGone among it; without `reconnect`, any ClientError.
    """
    pauses = _Pauses()
    while True:
        least_s = 0.0
        try:
            stream = await wire.open(url, _headers(after))
            try:
                if stream.status == HTTPStatus.NO_CONTENT:  # "ask no more": HTML, section 9.2.3
                    return
                async for message in _messages(stream, pauses):
                    after = opaque(message.id) or after
                    pauses.reset()
                    yield read(_json(message.data), after)
            finally:
                stream.close()
            if not reconnect:
                return
        except ClientError as error:
            if not reconnect or not error.retryable:
                raise
            if isinstance(error, Busy):
                least_s = min(error.retry_after_s or 0.0, RETRY_AFTER_MAX_S)
        await asyncio.sleep(least_s + pauses.next_s())


class _Pauses:
    """A random part of a time that doubles, so that a thousand readers do not come back at once."""

    def __init__(self) -> None:
        self._base_s = BACKOFF_S
        self._most_s = BACKOFF_S

    def wanted(self, retry_ms: int | None) -> None:
        """By the stream; None: it has not said."""
        if retry_ms is not None:
            self._base_s = min(max(retry_ms / 1000, BACKOFF_S), BACKOFF_MAX_S)
            self._most_s = max(self._most_s, self._base_s)

    def reset(self) -> None:
        self._most_s = self._base_s

    def next_s(self) -> float:
        most_s, self._most_s = self._most_s, min(2 * self._most_s, BACKOFF_MAX_S)
        return random.uniform(0, most_s)  # noqa: S311 -- no secret


def _headers(after: str | None) -> dict[str, str]:
    resumed = {} if after is None else {"Last-Event-ID": after}
    return {"Accept": "text/event-stream", "Accept-Encoding": "identity", "Cache-Control": "no-store"} | resumed


async def _messages(stream: Stream, pauses: _Pauses) -> AsyncIterator[sse.Message]:
    if stream.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "text/event-stream":
        raise BadAnswer("the answer is no stream of events")
    if stream.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise BadAnswer("the stream is packed, which was not asked for")  # a few bytes of it could be work for minutes
    parser = sse.Parser()
    while chunk := await stream.read():
        try:
            for message in parser.feed(chunk):
                if message.type == "message":
                    yield message
        except sse.TooLarge as error:
            raise BadAnswer(str(error)) from None
        pauses.wanted(parser.retry_ms)


def _json(data: str) -> Any:  # noqa: ANN401 -- any JSON
    try:
        return orjson.loads(data)
    except ValueError:
        pass
    raise BadAnswer("the stream holds an event that is no JSON")
