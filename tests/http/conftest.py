"""The application in this process, on a real database, with a clock that stands still."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, cast

import asyncpg
import jwt
import pytest
from aiohttp import TCPConnector, web
from aiohttp.test_utils import TestClient, TestServer
from pytest_aiohttp.plugin import AiohttpClient

from favsync.app import create_app
from favsync.core import timestamp
from favsync.http import keys
from favsync.http.doors import Door, register
from favsync.http.server import Runner
from favsync.settings import Settings
from tests.postgres import Server

SECRET = "a secret for tests, 32 bytes long"
OLD_SECRET = "the secret before, as long as that"
NOW = "2026-03-04T05:06:07.089Z"
NOW_US = timestamp.parse(NOW)

Client = TestClient[web.Request, web.Application]


def token(subject: object = "ann", *, secret: str = SECRET, **claims: Any) -> str:
    return jwt.encode({"sub": subject, "exp": 4102444800} | claims, secret, algorithm="HS256")


def bearer(subject: str = "ann", **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(subject)}", **headers}


@pytest.fixture
def overrides() -> dict[str, Any]:
    """Settings that a test changes, with `pytest.mark.parametrize("overrides", [...])`."""
    return {}


class _Server(TestServer):
    """A port, with the same runner that serves in production."""

    async def _make_runner(self, **_kwargs: object) -> Runner:
        return Runner(self.app)


@pytest.fixture(scope="session")
def shared_dsn(postgres: Server) -> Iterator[str]:
    name = asyncio.run(postgres.create_database())
    yield postgres.dsn(name)
    asyncio.run(postgres.drop_database(name))


@pytest.fixture
def dsn(shared_dsn: str) -> Iterator[str]:
    """One database for all tests here, which change no schema, emptied after each: making one takes longer."""
    yield shared_dsn
    asyncio.run(_empty(shared_dsn))


async def _empty(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    for table in ("records", "streams", "feed_pending", "feed", "feed_head", "epoch", "entities", "links"):
        await connection.execute(f"DELETE FROM {table}")
    await connection.close()


class Serve(Protocol):
    async def __call__(self, *, doors: Sequence[Door] = (), **settings: Any) -> Client: ...


@pytest.fixture
def serve(dsn: str, aiohttp_client: AiohttpClient) -> Serve:
    """Starts the application with these settings, and `doors` more than it has."""

    async def start(*, doors: Sequence[Door] = (), **settings: Any) -> Client:
        values = {"database_url": dsn, "jwt_secret": SECRET, "jwt_secret_previous": OLD_SECRET} | settings
        app = create_app(Settings(**values), now_us=lambda: NOW_US)
        register(app, doors)
        started: object = await aiohttp_client(_Server(app), connector=TCPConnector(limit=0))
        await app[keys.DATABASE].opened.wait()
        return cast("Client", started)

    return start


@pytest.fixture
async def client(serve: Serve, overrides: dict[str, Any]) -> Client:
    return await serve(**overrides)
