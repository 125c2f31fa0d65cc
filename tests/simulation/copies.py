"""A copy of a feed, as a backend keeps one: it begins anew where its cursor has ended, and drops what it then misses.

Whatever it is told must be in order, and new to it.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import orjson

from favsync.core import timestamp
from favsync.core.record import entity_key, owner_of
from tests.e2e.service import Service, token

ENTITY = "favorites"
PAUSE_S = 0.05  # after a service that was away, or had nothing new
SILENCE_S_MAX = 60

_LIVE = "SELECT user_id, item, action_us FROM records WHERE entity = $1 AND NOT deleted"


class Key(NamedTuple):
    user: str
    item: str


class Version(NamedTuple):
    """Ordered as versions are: `at` in microseconds since the epoch."""

    at: int
    deleted: bool


class Copy:
    """`live`: what it holds. `seen`: the latest version it was ever told, by record, deletions included.

    `anew`: how often its cursor had ended. `cursor`: None while it is to begin with nothing. `dropped`: how many
    records it held, and did not meet again when it had begun anew.
    """

    def __init__(
        self, session: aiohttp.ClientSession, services: Sequence[Service], seed: str, *, entity: str = ENTITY
    ) -> None:
        self.live: dict[Key, Version] = {}
        self.seen: dict[Key, Version] = {}
        self.cursor: str | None = None
        self.position = 0
        self.anew = self.deletions = self.dropped = 0
        self._session = session
        self.services = services
        self._door = f"/feed/{entity}"
        self._chance = random.Random(seed)
        self._met: set[Key] | None = set()  # since it began with nothing; None: it has come to the end once

    @property
    def whole(self) -> bool:
        """It has come to the end since it began with nothing."""
        return self._met is None

    async def keep_by_pages(self, *, limit: int, wait_s: int) -> None:
        """On and on, until it is cancelled; from whichever service, as long as one answers."""
        while True:
            try:
                if not await self.page(limit=self._chance.randint(1, limit), wait_s=wait_s):
                    await asyncio.sleep(self._chance.uniform(0, PAUSE_S))
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(PAUSE_S)

    async def keep_by_events(self) -> None:
        """Likewise; what it lacks when it begins anew it reads in pages."""
        while True:
            try:
                while not self.whole:
                    await self.page(limit=10)
                await self.hear()
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(PAUSE_S)

    async def page(self, *, limit: int, wait_s: int = 0) -> bool:
        """Reads one page, or finds that it must begin anew; whether there is more to read at once."""
        asked = {"limit": str(limit), "wait": str(wait_s)} | ({"after": self.cursor} if self.cursor else {})
        async with self._session.get(self._url(), params=asked, headers=headers()) as answer:
            if await self._refused(answer):
                return True
            page = orjson.loads(await answer.read())
        for change in page["changes"]:
            self._take(change)
        self.cursor = page["cursor"]
        if not page["hasMore"] and self._met is not None:
            for key in self.live.keys() - self._met:
                del self.live[key]
                self.dropped += 1
            self._met = None
        return bool(page["hasMore"])

    async def hear(self) -> None:
        """Takes the events behind its cursor, until the service ends the stream, or says that it must begin anew."""
        assert self.cursor is not None
        asked = headers(Accept="text/event-stream", **{"Last-Event-ID": self.cursor})
        timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_S_MAX)
        async with self._session.get(self._url(), headers=asked, timeout=timeout) as answer:
            if await self._refused(answer):
                return
            cursor = ""
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "id":
                    cursor = value
                elif name == "data":
                    self._take(orjson.loads(value))
                    self.cursor = cursor

    def _take(self, change: Mapping[str, Any]) -> None:
        key = Key(change["user"], change["item"])
        version = Version(timestamp.parse(change["actionDate"]), change["action"] == "DELETE")
        assert change["position"] > self.position, f"at {self.position}, and was given {change}"
        self.position = change["position"]
        known = self.seen.get(key)
        if known is not None:
            again = self._met is not None and key not in self._met
            assert version > known or (again and version == known), f"was told of {known}, and then: {change}"
        if self._met is not None:
            self._met.add(key)
        self.seen[key] = version
        self.deletions += version.deleted
        if version.deleted:
            self.live.pop(key, None)
        else:
            self.live[key] = version

    async def _refused(self, answer: aiohttp.ClientResponse) -> bool:
        """Whether the cursor has ended, so that it now begins anew. Nothing else may be refused, but for a while."""
        if answer.status == 410:
            problem = await answer.json()
            assert problem["type"].endswith("/problems/cursor-expired"), problem
            assert problem["resync"] == self._door, problem
            assert self.cursor is not None, "reading from nothing has no cursor that could end"
            self.cursor, self.position, self._met = None, 0, set()
            self.anew += 1
            return True
        if answer.status == 503:
            raise aiohttp.ClientConnectionError(await answer.text())
        assert answer.status == 200, await answer.text()
        return False

    def _url(self) -> str:
        return f"{self._chance.choice(self.services).url}{self._door}"


def headers(**others: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token('mirror', 'feed:read')}"} | others


async def live_records(connection: asyncpg.Connection, entity: str = ENTITY) -> dict[Key, Version]:
    """What a copy should hold."""
    rows = await connection.fetch(_LIVE, entity_key(entity))
    return {Key(str(owner_of(row["user_id"]).subject), row["item"]): Version(row["action_us"], False) for row in rows}
