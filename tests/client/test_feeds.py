"""Feeds in pages, waiting, and as events, with the service itself; and streams that break."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

import asyncpg
import pytest

from favsync.client import (
    SEED,
    BadAnswer,
    Client,
    CursorGone,
    FeedPage,
    Record,
    Refused,
    Retry,
    Session,
    Unauthorized,
    Unreachable,
    sse,
)
from favsync.client.session import Timeouts
from tests.client.peer import Peer, answer, good, problem
from tests.http.conftest import token
from tests.http.feeds import all_placed

T = 1_577_836_800_000_000
CHANGE = {"position": 1, "user": "ann"} | good()
_T = TypeVar("_T")


@pytest.fixture
async def ann(url: str, session: Session) -> Client:
    return Client(url, token("ann"), session=session, entity="free")


@pytest.fixture
async def reader(url: str, session: Session) -> Client:
    return Client(url, token("mirror", scope="feed:read"), session=session, entity="free")


async def first(count: int, changes: AsyncGenerator[_T, None]) -> list[_T]:
    found = []
    async with asyncio.timeout(20), aclosing(changes):
        async for one in changes:
            found.append(one)
            if len(found) == count:
                return found
    return found


async def test_a_feed_is_read_to_its_end(ann: Client, reader: Client, connection: asyncpg.Connection) -> None:
    await ann.push([Record(f"{number}", T + number, fields={"n": number}) for number in range(5)])
    await ann.push([Record("0", T + 9, deleted=True)])
    await all_placed(connection)
    pages = [page async for page in reader.feed(limit=2)]
    assert [page.has_more for page in pages] == [True, True, False]
    changes = [change for page in pages for change in page.changes]
    assert [change.record.item for change in changes] == ["1", "2", "3", "4", "0"]
    assert changes[0].record == Record("1", T + 1, fields={"n": 1}, user="ann")
    assert changes[-1].record.deleted
    positions = [change.position or 0 for change in changes]
    assert positions == sorted(set(positions))
    assert [page.changes async for page in reader.feed(pages[-1].cursor)] == [[]]
    [rest] = [page async for page in reader.feed(pages[0].cursor)]
    assert rest.changes == changes[2:]


async def test_a_feed_waits_for_what_comes(ann: Client, reader: Client) -> None:
    [page] = [page async for page in reader.feed()]

    async def write() -> None:
        await asyncio.sleep(0.3)
        await ann.push([Record("late", T)])

    writing = asyncio.create_task(write())
    began_at = time.monotonic()
    [news] = await first(1, reader.feed(page.cursor, wait_s=30))
    assert [change.record.item for change in news.changes] == ["late"]
    assert 0.2 < time.monotonic() - began_at < 10
    await writing
    pages = await first(2, reader.feed(news.cursor, wait_s=1))
    assert [one.changes for one in pages] == [[], []], "it goes on"


async def test_a_feed_needs_the_scope_and_a_cursor_that_is_its_own(ann: Client, reader: Client) -> None:
    with pytest.raises(Unauthorized):
        await first(1, ann.feed())
    with pytest.raises(Unauthorized):
        await first(1, ann.follow_feed())
    wrong = token("mirror", scope="feed:read")
    other = Client(str(reader._base), wrong, session=reader._session, entity="notes")
    [page] = [page async for page in other.feed()]
    for asked in (reader.feed(page.cursor), reader.follow_feed(page.cursor)):
        with pytest.raises(CursorGone):
            await first(1, asked)


async def test_changes_come_as_they_are_made(ann: Client, reader: Client, connection: asyncpg.Connection) -> None:
    await ann.push([Record("a", T, fields={"x": 1})])
    await all_placed(connection)
    async with (
        asyncio.timeout(20),
        aclosing(ann.follow()) as own,
        aclosing(reader.follow_feed()) as feed,
    ):
        mine, theirs = await anext(own), await anext(feed)
        assert mine.record == Record("a", T, fields={"x": 1})
        assert theirs.record == Record("a", T, fields={"x": 1}, user="ann")
        await ann.push([Record("b", T)])
        mine, theirs = await anext(own), await anext(feed)
    assert [mine.record.item, theirs.record.item, mine.position] == ["b", "b", None]
    assert (theirs.position or 0) > 0
    assert (await ann.pull(after=mine.cursor)).records == []
    await ann.push([Record("c", T)])
    assert [one.record.item for one in await first(1, ann.follow(mine.cursor))] == ["c"]
    assert [one.record.item for one in await first(1, reader.follow_feed(theirs.cursor))] == ["c"]


async def test_who_is_backed_by_nobody_has_no_stream(url: str, session: Session) -> None:
    client = Client(url, token("ann"), session=session, paths=SEED)
    with pytest.raises(BadAnswer, match="no stream"):
        await first(1, client.follow())


def event(cursor: str, item: str = "a") -> bytes:
    return f"id: {cursor}\ndata: {json.dumps(good(item))}\n\n".encode()


def stream(*events: bytes, **headers: str) -> bytes:
    """Which ends after them."""
    head = answer(200, b"", Content_Type="text/event-stream; charset=utf-8", **headers)
    return head.replace(b"Content-Length: 0\r\n", b"") + b"".join(events)


def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long those might have been, at most, that are not made."""
    asked: list[float] = []

    def shortest(_least_s: float, most_s: float) -> float:
        asked.append(most_s)
        return 0.0

    monkeypatch.setattr("favsync.client.feeds.random.uniform", shortest)
    return asked


async def test_a_stream_that_ends_is_asked_for_again_behind_what_was_given(peer: Peer, session: Session) -> None:
    busy = problem(503, "full", Retry_After="0")
    peer.answers = [
        stream(event("c1"), event("c2"), b"id: c3\ndata: {"), b"", busy,
        answer(502), stream(b": hello\n\n"), stream(event("c3")),
    ]  # fmt: skip
    changes = await first(3, Client(peer.url, "t", session=session).follow("c0"))
    assert [one.cursor for one in changes] == ["c1", "c2", "c3"]
    assert [one.headers.get("last-event-id") for one in peer.asked] == ["c0", *["c2"] * 5]
    assert {one.headers["accept"] for one in peer.asked} == {"text/event-stream"}


async def test_a_stream_begins_without_an_id(peer: Peer, session: Session) -> None:
    peer.answers = [stream(event("c1")), problem(410, "gone")]
    changes = Client(peer.url, "t", session=session).follow()
    assert (await anext(changes)).cursor == "c1"
    with pytest.raises(CursorGone):
        await anext(changes)
    assert "last-event-id" not in peer.asked[0].headers


async def test_without_reconnection_it_ends_as_the_connection_does(peer: Peer, session: Session) -> None:
    peer.answers = [stream(event("c1")), problem(503, "full"), b""]
    client = Client(peer.url, "t", session=session)
    assert len([one async for one in client.follow(reconnect=False)]) == 1
    with pytest.raises(Refused):
        await first(1, client.follow(reconnect=False))
    with pytest.raises(Unreachable):
        await first(1, client.follow(reconnect=False))
    assert len(peer.asked) == 4, "aiohttp sends a GET once more whose connection was closed without a word"


async def test_a_service_that_wants_no_pause_gets_one(peer: Peer, session: Session) -> None:
    peer.answers = [stream(b"retry: 0\n\n")]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(Client(peer.url, "t", session=session).follow()), 1.5)
    assert 1 < len(peer.asked) < 30


async def test_a_pause_that_the_stream_asks_for_is_made(
    peer: Peer, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = no_pauses(monkeypatch)
    peer.answers = [stream(b"retry: 7000\n" + event(f"c{number}")) for number in range(3)]
    await first(3, Client(peer.url, "t", session=session).follow())
    assert asked == [7.0, 7.0]
    peer.asked.clear()
    asked.clear()
    peer.answers = [stream(b"retry: 0\n" + event("c1"))]
    await first(3, Client(peer.url, "t", session=session).follow())
    assert asked == [0.25, 0.25], "and none that is too short"


async def test_pauses_double_until_something_comes(
    peer: Peer, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = no_pauses(monkeypatch)
    busy = problem(503, "full")
    peer.answers = [busy, busy, stream(event("c1")), stream(b"data: " + json.dumps(good("b")).encode() + b"\n\n"), busy,
                    busy, stream(event("c2"))]  # fmt: skip
    changes = await first(3, Client(peer.url, "t", session=session).follow())
    assert asked == [0.25, 0.5, 0.25, 0.25, 0.5, 1.0]
    assert [one.cursor for one in changes] == ["c1", "c1", "c2"]
    assert [one.headers.get("last-event-id") for one in peer.asked] == [None] * 3 + ["c1"] * 4, (
        "where there was no id, too"
    )


async def test_a_stream_that_is_busy_is_asked_when_it_says(peer: Peer, session: Session) -> None:
    peer.answers = [problem(503, "full", Retry_After="1"), stream(event("c1"))]
    began_at = time.monotonic()
    await first(1, Client(peer.url, "t", session=session).follow())
    assert 1 <= time.monotonic() - began_at < 5


async def test_a_wait_does_not_count_as_silence(peer: Peer) -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.7)
        writer.write(answer(200, {"changes": [], "cursor": "c", "hasMore": False}))

    peer.answers = [late]
    async with Session(timeouts=Timeouts(read=0.3, total=0.4)) as session:
        client = Client(peer.url, "t", session=session, retry=None)
        [page] = await first(1, client.feed(wait_s=1))
        assert page.cursor == "c"
        with pytest.raises(Unreachable):
            await first(1, client.feed())


async def test_a_break_in_a_long_wait_is_mended(peer: Peer, session: Session) -> None:
    async def late(_writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.6)

    peer.answers = [late, late, answer(200, {"changes": [], "cursor": "c", "hasMore": False})]
    client = Client(peer.url, "t", session=session, retry=Retry(total_s=0.5, wait_initial_s=0.01))
    [page] = await first(1, client.feed(wait_s=1))
    assert page.cursor == "c"


async def test_204_says_ask_no_more(peer: Peer, session: Session) -> None:
    peer.answers = [answer(204)]
    assert [one async for one in Client(peer.url, "t", session=session).follow()] == []
    assert len(peer.asked) == 1


async def test_a_stream_that_falls_silent_is_left(peer: Peer) -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        writer.write(stream(event("c1")))
        await writer.drain()
        await asyncio.sleep(30)

    peer.answers = [silent, stream(event("c2"))]
    async with Session(timeouts=Timeouts(silence=0.3)) as session:
        changes = await first(2, Client(peer.url, "t", session=session).follow())
    assert [one.cursor for one in changes] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"data: {\n\n", "no JSON"),
        (b"data: []\n\n", "none"),
        (b'data: {"item": "a"}\n\n', "actionDate"),
        (b"data: " + 600_000 * b"x", "more than"),
        (2000 * (b"data: " + 1000 * b"x" + b"\n"), "more than"),
    ],
)
async def test_an_event_that_is_none_ends_it(peer: Peer, session: Session, sent: bytes, words: str) -> None:
    peer.answers = [stream(event("c1"), b"event: other\ndata: {\n\n", sent)]
    changes = Client(peer.url, "t", session=session).follow()
    assert (await anext(changes)).cursor == "c1"
    with pytest.raises(BadAnswer, match=words):
        await anext(changes)


async def test_a_packed_stream_is_not_read(peer: Peer, session: Session) -> None:
    """30 kB that come to 30 million empty lines, which nothing else would have a turn between."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n"
    peer.answers = [head + gzip.compress(b"\n" * 30_000_000)]
    began = time.monotonic()
    with pytest.raises(BadAnswer, match="packed"):
        await first(1, Client(peer.url, "token", session=session).follow())
    assert time.monotonic() < began + 2


async def test_a_stream_of_nothing_leaves_others_their_turn(
    peer: Peer, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def floods(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while True:
            writer.write(b"\n" * 1_000_000)
            await writer.drain()

    peer.answers = [floods]
    chunks, feed = 0, sse.Parser.feed

    def counted(parser: sse.Parser, chunk: bytes) -> Iterator[sse.Message]:
        nonlocal chunks
        chunks += 1
        return feed(parser, chunk)

    monkeypatch.setattr(sse.Parser, "feed", counted)
    following = asyncio.ensure_future(first(1, Client(peer.url, "token", session=session).follow()))
    most = 0
    while chunks < 100:
        before = chunks
        await asyncio.sleep(0)
        most = max(most, chunks - before)
    following.cancel()
    await asyncio.wait([following])
    assert most == 1, "between two chunks everybody else had a turn"


async def test_a_refusal_of_a_stream_is_read_for_so_long_and_no_longer(peer: Peer) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(problem(403, 1000 * "x")[:-1000])
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    peer.answers = [drip]
    async with Session(timeouts=Timeouts(total=0.3)) as session:
        began_at = time.monotonic()
        with pytest.raises(Unauthorized):
            await first(1, Client(peer.url, "t", session=session).follow())
    assert time.monotonic() - began_at < 5


@pytest.mark.parametrize(
    "content",
    [
        [], {}, {"changes": [CHANGE]}, {"changes": {}, "cursor": "c", "hasMore": False},
        {"changes": [], "cursor": 7, "hasMore": False}, {"changes": [], "cursor": "c\n", "hasMore": False},
        {"changes": [], "cursor": "c", "hasMore": None}, {"changes": ["a"], "cursor": "c", "hasMore": False},
        {"changes": [CHANGE | {"position": "1"}], "cursor": "c", "hasMore": False},
        {"changes": [CHANGE | {"position": 0}], "cursor": "c", "hasMore": False},
        {"changes": [CHANGE, CHANGE | {"actionDate": "x"}], "cursor": "c", "hasMore": False},
        {"changes": [CHANGE | {"user": 7}], "cursor": "c", "hasMore": False},
    ],
)  # fmt: skip
async def test_a_page_that_is_none_is_refused_whole(peer: Peer, session: Session, content: Any) -> None:
    """Who passes over a change of a feed has lost it."""
    peer.answers = [answer(200, content)]
    with pytest.raises(BadAnswer):
        await first(1, Client(peer.url, "t", session=session).feed())


async def test_a_service_that_would_not_wait_is_not_asked_without_end(peer: Peer, session: Session) -> None:
    peer.answers = [answer(200, {"changes": [], "cursor": "c", "hasMore": False})]
    pages: list[FeedPage] = []

    async def read() -> None:
        async for page in Client(peer.url, "t", session=session).feed(wait_s=60):
            pages.append(page)  # noqa: PERF401 -- until it is cancelled

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read(), 3)
    assert 1 < len(pages) < 40
    assert peer.asked[1].target == "/feed/favorites?after=c&wait=60"
