"""Two services on one real database."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.e2e.service import Service
from tests.postgres import Server


@pytest.fixture(scope="module")
def services(postgres: Server) -> Iterator[list[Service]]:
    name = asyncio.run(postgres.create_database())
    dsn = postgres.dsn(name)
    with Service(database_url=dsn) as one, Service(database_url=dsn) as other:
        yield [one, other]
    asyncio.run(postgres.drop_database(name))
