"""The service with peers, in this process, on a database of its own and by the real clock."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from favsync.app import create_app
from favsync.core.reconcile import Rules
from favsync.http import keys
from favsync.http.auth import issue
from favsync.http.server import Runner
from favsync.peering import Direction, Peer
from favsync.peers import patience
from favsync.settings import Settings
from favsync.store.database import Database
from tests.peers.third_party import ThirdParty

SECRET = "a secret for tests, 32 bytes long"
KEY = "what seals the tokens of these tests"
INTERVAL_S = 0.2


def peer(url: str, name: str = "other", **values: Any) -> Peer:
    given: dict[str, Any] = {
        "name": name, "url": url, "get": "/getUserFavorites", "post": "/postUserFavorites", "entity": "favorites",
        "tenant": "main", "direction": Direction.BOTH, "interval_s": INTERVAL_S, "timeout_s": 2.0, "per_s": 1000.0,
        "at_once": 8, "batch": 100, "prefix": "", "rules": Rules(),
    }  # fmt: skip
    return Peer(**given | values)


@dataclass
class Service:
    """As a client meets it."""

    app: web.Application
    session: aiohttp.ClientSession
    url: str
    stop: Callable[[], Awaitable[None]]

    @property
    def database(self) -> Database:
        return self.app[keys.DATABASE]

    async def ask(
        self, method: str, path: str, user: str = "ann", *, json: Any = None, scopes: tuple[str, ...] = ()
    ) -> tuple[int, Any]:
        token = issue(SECRET, user, scopes=scopes, now_s=int(time.time()), ttl_s=3600)
        async with self.session.request(
            method, self.url + path, json=json, headers={"Authorization": f"Bearer {token}"}
        ) as answer:
            return answer.status, await answer.json(content_type=None) if answer.status != 204 else None

    async def has(self, user: str = "ann") -> list[dict[str, str]]:
        status, records = await self.ask("GET", "/sync/favorites", user)
        assert status == 200
        return list(records)

    async def edit(self, item: str, date: str, *, deleted: bool = False, user: str = "ann") -> None:
        record = {"item": item, "actionDate": date, "action": "DELETE" if deleted else "ADD"}
        status, answer = await self.ask("POST", "/sync/favorites", user, json=[record])
        assert (status, answer["receipts"][0]["outcome"]) == (200, "applied")

    async def link(self, name: str = "other", user: str = "ann", **entrusted: str) -> Any:
        given = entrusted or {"token": f"token-of-{user}"}
        status, answer = await self.ask("PUT", f"/peers/{name}/link", user, json=given)
        assert status == 200, answer
        return answer

    async def waits(self, name: str = "other", user: str = "ann") -> bool:
        """For a new token."""
        return bool((await self.state(name, user))["needsLogin"])

    async def fault(self, name: str = "other", user: str = "ann") -> str | None:
        """What the link says of its latest failure."""
        error = (await self.state(name, user))["lastError"]
        return None if error is None else str(error["detail"])

    async def state(self, name: str = "other", user: str = "ann") -> Any:
        status, answer = await self.ask("GET", f"/peers/{name}/link", user)
        assert status == 200, answer
        return answer


Serve = Callable[..., Awaitable[Service]]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links that fail are soon tried again."""
    monkeypatch.setattr(patience, "BACKOFF_MIN_S", 0.1)
    monkeypatch.setattr(patience, "BACKOFF_MAX_S", 0.2)


@pytest.fixture
async def serve(dsn: str) -> AsyncIterator[Serve]:
    started: list[tuple[TestServer, aiohttp.ClientSession]] = []

    class _Server(TestServer):
        async def _make_runner(self, **_kwargs: object) -> Runner:
            return Runner(self.app)

    async def start(*peers: Peer, **values: Any) -> Service:
        settings = {"database_url": dsn, "jwt_secret": SECRET, "link_keys": (KEY,), "peers": peers} | values
        app = create_app(Settings(**settings))
        server = _Server(app)
        await server.start_server()
        session = aiohttp.ClientSession()
        started.append((server, session))
        await app[keys.DATABASE].opened.wait()
        return Service(app, session, str(server.make_url("")).rstrip("/"), server.close)

    yield start
    for server, session in started:
        await session.close()
        await server.close()


@pytest.fixture
async def third_party() -> AsyncIterator[Callable[..., Awaitable[ThirdParty]]]:
    started: list[ThirdParty] = []

    async def start(**ways: Any) -> ThirdParty:
        started.append(await ThirdParty(**ways).start())
        return started[-1]

    yield start
    for one in started:
        await one.stop()
