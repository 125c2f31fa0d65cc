"""What tests of feeds, and of what goes on for as long as somebody listens, have in common."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import orjson

from favsync.http import keys
from tests.http.conftest import Client, token
from tests.http.declared import Json

FEED = "/feed/favorites"
FEED_READ = "feed:read"
EVENTS = "text/event-stream"
DEADLINE_S = 60.0


def reader(subject: str = "mirror", *, claims: dict[str, Any] | None = None, **headers: str) -> dict[str, str]:
    """The headers of a backend that may read the feeds of its tenant."""
    return {"Authorization": f"Bearer {token(subject, scope=FEED_READ, **(claims or {}))}", **headers}


async def page(client: Client, path: str = FEED, headers: dict[str, str] | None = None, /, **params: object) -> Json:
    """What a GET gives, and that it is whole."""
    asked = {name: str(value) for name, value in params.items()}
    response = await client.get(path, params=asked, headers=reader() if headers is None else headers)
    assert response.status == 200, await response.text()
    content = await response.json()
    assert set(content) == {"changes", "cursor", "hasMore"}
    positions = [change["position"] for change in content["changes"]]
    assert positions == sorted(set(positions))
    return content


async def until(true: Callable[[], Awaitable[object] | object], what: str = "it never happens") -> None:
    """Looks until it is so; AssertionError where it never is."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        found = true()
        if await found if isinstance(found, Awaitable) else found:
            return
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


async def all_placed(connection: asyncpg.Connection) -> None:
    """Returns when nothing waits to be placed."""

    async def none_waits() -> bool:
        return not await connection.fetchval("SELECT EXISTS (SELECT FROM feed_pending)")

    await until(none_waits, "something waits to be placed")


def streams(client: Client) -> int:
    """How many answers go on just now."""
    return len(client.app[keys.STREAMS])


class Event(NamedTuple):
    """`id`: the cursor behind it. `data`: as it came."""

    id: str
    data: bytes

    @property
    def item(self) -> str:
        return str(orjson.loads(self.data)["item"])


class Stream:
    """A stream of events as a client reads it. `comments`: what was said beside them."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.comments: list[str] = []

    async def _block(self) -> list[bytes] | None:
        """The lines up to an empty one; None at the end."""
        lines: list[bytes] = []
        async with asyncio.timeout(DEADLINE_S):
            while line := await self.response.content.readline():
                assert line.endswith(b"\n"), "cut off"
                if line == b"\n":
                    return lines
                lines.append(line[:-1])
        assert not lines, "cut off"
        return None

    async def event(self) -> Event | None:
        """The next; None where the stream ends."""
        while (lines := await self._block()) is not None:
            if lines[0].startswith(b":"):
                [comment] = lines
                self.comments.append(comment[1:].strip().decode())
                continue
            (first, cursor), (second, data) = (line.split(b": ", 1) for line in lines)
            assert (first, second) == (b"id", b"data")
            return Event(cursor.decode(), data)
        return None

    async def events(self, count: int) -> list[Event]:
        found = []
        for _ in range(count):
            event = await self.event()
            assert event is not None, f"ended: {self.comments}"
            found.append(event)
        return found

    async def items(self, count: int) -> list[str]:
        return [event.item for event in await self.events(count)]

    async def comment(self, text: str) -> None:
        """Returns when that was said; no event comes before it."""
        before = self.comments.count(text)
        while (lines := await self._block()) is not None:
            assert lines[0].startswith(b":"), lines
            self.comments.append(lines[0][1:].strip().decode())
            if self.comments.count(text) > before:
                return
        raise AssertionError(f"never said: {text}, but {self.comments}")

    async def end(self) -> str:
        """Reads to the end, without an event; the last comment."""
        assert await self.event() is None
        return self.comments[-1]


@asynccontextmanager
async def stream(
    client: Client, path: str = FEED, headers: dict[str, str] | None = None, /, **params: object
) -> AsyncIterator[Stream]:
    """Opened, and past its first comment."""
    asked = {name: str(value) for name, value in params.items()}
    sent = {"Accept": EVENTS} | (reader() if headers is None else headers)
    timeout = aiohttp.ClientTimeout(total=None)
    async with client.get(path, params=asked, headers=sent, timeout=timeout) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == f"{EVENTS}; charset=utf-8"
        opened = Stream(response)
        await opened.comment("favsync")
        yield opened
