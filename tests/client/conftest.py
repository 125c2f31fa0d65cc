"""The service in this process, as tests/http has it, and peers that misbehave."""

from collections.abc import AsyncIterator

import pytest

from favsync.client import Session
from tests.client.peer import Peer
from tests.http.conftest import Client as Served
from tests.http.conftest import Serve, dsn, serve, shared_dsn
from tests.http.declared import ENTITIES

__all__ = ["dsn", "serve", "shared_dsn"]


@pytest.fixture
async def service(serve: Serve) -> Served:
    """It knows the entities of tests/http/declared.py."""
    return await serve(entities=ENTITIES)


@pytest.fixture
def url(service: Served) -> str:
    return str(service.make_url("/"))


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    started = Peer()
    await started.start()
    yield started
    await started.stop()


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    async with Session() as opened:
        yield opened
