"""Who audits a feed while it is written: of what each kind of reader was given, whether any was skipped or doubled."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import aiohttp
import asyncpg
import orjson

from favsync.core import timestamp
from favsync.core.record import Action, owner_of
from tests.e2e.service import Service, token

SILENCE_S_MAX = 60  # a stream says something every 15 s
PAUSE_S = 0.005  # where there was nothing new
NAIVE_ROWS_MAX = 500

_NAIVE = f"""
SELECT position, user_id, item, action_us, deleted, fields FROM naive
 WHERE entity = $1 AND position > $2 ORDER BY position LIMIT {NAIVE_ROWS_MAX}
"""


class Key(NamedTuple):
    """Which record of one entity."""

    user: str
    item: str


class Version(NamedTuple):
    """What a record is or was. `fields`: as JSON, its members in order; None for none."""

    at: str
    action: str
    fields: bytes | None


class Change(NamedTuple):
    """A version at a place in a feed, whichever feed it is."""

    position: int
    key: Key
    version: Version

    @classmethod
    def of_wire(cls, change: Mapping[str, Any]) -> Self:
        version = Version(change["actionDate"], change["action"], _sorted(change.get("fields")))
        return cls(change["position"], Key(change["user"], change["item"]), version)

    @classmethod
    def of_row(cls, row: asyncpg.Record) -> Self:
        """Of a row of `naive`, or of `records`, whose `position` is then its seq."""
        subject = owner_of(row["user_id"]).subject
        assert subject is not None
        action = Action.DELETE if row["deleted"] else Action.ADD
        content = None if row["fields"] is None else orjson.loads(row["fields"])
        version = Version(timestamp.render(row["action_us"]), action.value, _sorted(content))
        return cls(row["position"], Key(subject, row["item"]), version)


def _sorted(content: object) -> bytes | None:
    return None if content is None else orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


class Findings(NamedTuple):
    """What is wrong with what a reader was given, by record; all empty where nothing is.

    falling: at a position no greater than the one before. twice: the very version once more. older: a version after a
    later one. skipped: the last version was never given, or not as the last. unknown: there is no such record.
    """

    falling: list[Change]
    twice: list[Change]
    older: list[Change]
    skipped: list[Key]
    unknown: list[Key]


class Auditor:
    """Takes what one reader is given, in that order, from its first position on."""

    def __init__(self) -> None:
        self.position = 0
        self.count = 0
        self._last: dict[Key, Version] = {}
        self._seen: set[tuple[Key, Version]] = set()
        self._falling: list[Change] = []
        self._twice: list[Change] = []
        self._older: list[Change] = []

    def take(self, change: Change) -> None:
        before = self._last.get(change.key)
        if change.position <= self.position:
            self._falling.append(change)
        if (change.key, change.version) in self._seen:
            self._twice.append(change)
        elif before is not None and _rank(change.version) < _rank(before):
            self._older.append(change)
        self.position = max(change.position, self.position)
        self.count += 1
        self._last[change.key] = change.version
        self._seen.add((change.key, change.version))

    def findings(self, records: Mapping[Key, Version]) -> Findings:
        """`records`: as they are, now that nothing is written any more and the reader has come to the end."""
        skipped = [key for key, version in records.items() if self._last.get(key) != version]
        unknown = [key for key in self._last if key not in records]
        return Findings(self._falling, self._twice, self._older, skipped, unknown)


def _rank(version: Version) -> tuple[int, bool]:
    return timestamp.parse(version.at), version.action == Action.DELETE


class Reader(Protocol):
    """Reads one entity's feed for its auditor, on and on, until it is cancelled."""

    entity: str
    auditor: Auditor

    async def run(self) -> None: ...


class NaiveReader:
    """Polls a table by a sequence: the classic fault."""

    def __init__(self, dsn: str, entity: str) -> None:
        self.entity = entity
        self.auditor = Auditor()
        self._dsn = dsn

    async def run(self) -> None:
        connection = await asyncpg.connect(self._dsn)
        try:
            while True:
                rows = await connection.fetch(_NAIVE, f"main/{self.entity}", self.auditor.position)
                for row in rows:
                    self.auditor.take(Change.of_row(row))
                if not rows:
                    await asyncio.sleep(PAUSE_S)
        finally:
            await connection.close()


@dataclass(frozen=True, slots=True)
class Access:
    """How the readers reach the services, which they all use in turn."""

    session: aiohttp.ClientSession
    services: Sequence[Service]


class FeedReader:
    """Begins with nothing. `limits`, `waits_s`: what a request may ask for, one of each at random."""

    def __init__(
        self, access: Access, entity: str, seed: str, *, limits: Sequence[int], waits_s: Sequence[int]
    ) -> None:
        self.entity = entity
        self.auditor = Auditor()
        self.requests = 0
        self._session = access.session
        self._services = itertools.cycle(access.services)
        self._chance = random.Random(seed)
        self._limits = limits
        self._waits_s = waits_s
        self._cursor: str | None = None

    async def run(self) -> None:
        while True:
            await self.read()

    async def read(self) -> None:
        """One page, of one service or the other."""
        limit, wait_s = self._chance.choice(self._limits), self._chance.choice(self._waits_s)
        asked = {"limit": str(limit), "wait": str(wait_s)} | ({"after": self._cursor} if self._cursor else {})
        async with self._session.get(self._url(), params=asked, headers=_headers()) as answer:
            assert answer.status == 200, await answer.text()
            page = orjson.loads(await answer.read())
        self.requests += 1
        assert len(page["changes"]) <= limit
        assert page["changes"] or not page["hasMore"], "more of nothing"
        for change in page["changes"]:
            self.auditor.take(Change.of_wire(change))
        self._cursor = page["cursor"]
        if not page["changes"]:
            await asyncio.sleep(PAUSE_S)

    def _url(self) -> str:
        return f"{next(self._services).url}/feed/{self.entity}"


class EventReader(FeedReader):
    """Hears a stream, breaks off at random, even in the middle of a batch, and goes on at the other service."""

    def __init__(self, access: Access, entity: str, seed: str, *, events: Sequence[int]) -> None:
        super().__init__(access, entity, seed, limits=[1], waits_s=[0])
        self._events = events  # that are heard before it breaks off

    async def read(self) -> None:
        left = self._chance.choice(self._events)
        headers = _headers(Accept="text/event-stream") | ({"Last-Event-ID": self._cursor} if self._cursor else {})
        timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_S_MAX)
        async with self._session.get(self._url(), headers=headers, timeout=timeout) as answer:
            assert answer.status == 200, await answer.text()
            self.requests += 1
            async for cursor, data in _heard(answer):
                self.auditor.take(Change.of_wire(data))
                self._cursor = cursor
                left -= 1
                if not left:
                    return
        raise AssertionError("a stream ended by itself")


class LateReader(FeedReader):
    """Begins when it is told to, in the midst of the writing: a snapshot in pages first, and then what comes."""

    def __init__(self, access: Access, entity: str, seed: str, *, begin: asyncio.Event) -> None:
        super().__init__(access, entity, seed, limits=[10, 100, 1000], waits_s=[0, 1])
        self._begin = begin

    async def run(self) -> None:
        await self._begin.wait()
        await super().run()


def _headers(**others: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token('auditor', 'feed:read')}"} | others


async def _heard(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
    """The id and the data of each event, the comments between them passed over."""
    event: dict[str, str] = {}
    async for line in answer.content:
        text = line.decode().rstrip("\n")
        if text and not text.startswith(":"):
            name, _, value = text.partition(": ")
            event[name] = value
        elif not text and event:
            yield event["id"], orjson.loads(event["data"])
            event = {}
