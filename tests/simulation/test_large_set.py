"""A million records that all may read, in pages, while a backend goes on writing: a reader ends with all of them."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
import psutil
import pytest
from yarl import URL

from tests.e2e.service import Service, token
from tests.postgres import Server

LARGE, SMALL = "programme", "rooms"
SIZES = {LARGE: 1_000_000, SMALL: 30_011}
LIMITS = {LARGE: 10_000, SMALL: 997}
DECLARED = "".join(
    f"""
[entities.{name}]
scope = "shared"
[entities.{name}.fields]
title = {{ type = "string", required = true }}
"""
    for name in SIZES
)
WRITERS = 4
BATCH = 40  # records in one request of a writer
PAUSE_S = 0.02
START_S = 1_577_836_800  # 2020-01-01
PAGES_PER_S_MIN = 0.5
GROWTH_MAX_BYTES = 400 * 1024**2  # a service that held the set as a whole would need more
Json = Any

# As if they had been written one by one, in an order that is not that of the items.
FILL = f"""
INSERT INTO records (user_id, entity, item, action_us, deleted, digest, fields, seq)
SELECT 'main//' || $1, 'main/' || $1, 'item_' || lpad((n * 7919 % $2)::text, 7, '0'), {START_S}000000, false,
       sha256(convert_to(f.text, 'UTF8')), f.text::json, n
  FROM generate_series(1, $2::bigint) AS n, LATERAL (SELECT '{{"title":"Session ' || n || '"}}') AS f (text)
"""

STORED = """
SELECT item, to_char(to_timestamp(action_us / 1000000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
             || CASE WHEN deleted THEN ' DELETE ' ELSE ' ADD ' END || coalesce(fields::text, '')
  FROM records WHERE user_id = 'main//' || $1
"""


@pytest.fixture
async def dsn(postgres: Server) -> AsyncIterator[str]:
    name = await postgres.create_database()
    yield postgres.dsn(name)
    await postgres.drop_database(name)


@pytest.fixture
def services(dsn: str, tmp_path: Path) -> Iterator[list[Service]]:
    """Two, on one database."""
    config = tmp_path / "favsync.toml"
    config.write_text(DECLARED)
    with Service(database_url=dsn, config=config) as one, Service(database_url=dsn, config=config) as other:
        yield [one, other]


def _headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {token('backend', 'sync:any')}", "Content-Type": "application/json"}


class Reader:
    """Reads a set in pages, then what changed. `seen`: by item, its date and whatever else is to be known of it."""

    def __init__(self, session: aiohttp.ClientSession, services: list[Service], name: str) -> None:
        self._session = session
        self._services = itertools.cycle(services)
        self._name = name
        self._cursor = ""
        self.seen: dict[str, str] = {}
        self.pages = self.changes = 0

    async def read_all(self) -> None:
        """The whole list; a cursor comes with its last page alone."""
        url = URL(f"/sync/{self._name}").with_query(limit=LIMITS[self._name])
        items = [""]
        while True:
            records, cursor, onward = await self._get(url)
            assert records[0]["item"] > items[-1], "in order, and none twice"
            items = [record["item"] for record in records]
            assert (cursor is None) == (onward is not None)
            self.pages += 1
            if onward is None:
                break
            assert len(records) == LIMITS[self._name]
            url = onward
        assert cursor is not None
        self._cursor = cursor

    async def follow(self) -> bool:
        """What changed, to its end; says whether anything did."""
        before = self.changes
        onward: URL | None = URL(f"/sync/{self._name}").with_query(limit=LIMITS[self._name], after=self._cursor)
        while onward is not None:
            records, cursor, onward = await self._get(onward)
            assert cursor is not None, "each part of the changes has one"
            self._cursor = cursor
            self.changes += len(records)
        return self.changes > before

    async def _get(self, path: URL) -> tuple[list[Json], str | None, URL | None]:
        url = URL(next(self._services).url).join(path)
        async with self._session.get(url, headers=_headers()) as answer:
            assert answer.status == 200, await answer.text()
            records = orjson.loads(await answer.read())
            onward = URL(str(answer.links["next"]["url"])).relative() if "next" in answer.links else None
        for record in records:
            version = _version(record)
            assert version >= self.seen.get(record["item"], ""), "older than what was seen"
            self.seen[record["item"]] = version
        return records, answer.headers.get("Sync-Cursor"), onward


def _version(record: Json) -> str:
    content = orjson.dumps(record["fields"]).decode() if "fields" in record else ""
    return f"{record['actionDate']} {record['action']} {content}"


class Backend:
    """Writers that change, delete and add, each through both services in turn, until they are told to stop."""

    def __init__(self, session: aiohttp.ClientSession, services: list[Service]) -> None:
        self._session = session
        self._services = services
        self._clock_ms = itertools.count(1)
        self.expected: dict[str, dict[str, str]] = {name: {} for name in SIZES}  # of what was written, the latest
        self.writing = True

    async def write(self, seed: int) -> None:
        chance, services = random.Random(seed), itertools.cycle(self._services)
        while self.writing:
            name = chance.choice(list(SIZES))
            sent = [self._record(chance, SIZES[name]) for _ in range(BATCH)]
            url = f"{next(services).url}/sync/{name}"
            async with self._session.post(url, data=orjson.dumps(sent), headers=_headers()) as answer:
                assert answer.status == 200, await answer.text()
                receipts = (await answer.json())["receipts"]
            assert {receipt["outcome"] for receipt in receipts} <= {"applied", "superseded"}
            for record in sent:
                before = self.expected[name].get(record["item"], "")
                self.expected[name][record["item"]] = max(before, _version(record))
            await asyncio.sleep(PAUSE_S)

    def _record(self, chance: random.Random, size: int) -> Json:
        """Of an item that was there, often of the same few, or of one that comes to lie between them."""
        at_ms = next(self._clock_ms)
        item = f"item_{chance.choice([chance.randrange(size), chance.randrange(0, size, size // 50)]):07d}"
        if chance.random() < 0.3:
            item += f"_{chance.randrange(5)}"
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(START_S + at_ms // 1000)) + f".{at_ms % 1000:03d}Z"
        if chance.random() < 0.3:
            return {"item": item, "actionDate": at, "action": "DELETE"}
        return {"item": item, "actionDate": at, "action": "ADD", "fields": {"title": f"Now {at_ms}"}}


async def _stored(connection: asyncpg.Connection, name: str) -> dict[str, str]:
    """As a reader sees them, by item."""
    rows = await connection.fetch(STORED, name)
    return dict(map(tuple, rows))


def _memory(services: list[Service]) -> list[int]:
    return [psutil.Process(service.process.pid).memory_info().rss for service in services]


async def test_whoever_reads_a_million_records_ends_with_all_of_them(dsn: str, services: list[Service]) -> None:
    connection = await asyncpg.connect(dsn)
    for name, size in SIZES.items():
        await connection.execute(FILL, name, size)
        await connection.execute("INSERT INTO streams (user_id, seq) VALUES ('main//' || $1, $2)", name, size)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session:
        backend = Backend(session, services)
        readers = {name: Reader(session, services, name) for name in SIZES}
        writing = [asyncio.create_task(backend.write(seed)) for seed in range(WRITERS)]
        before, began = _memory(services), time.monotonic()

        async def read(reader: Reader) -> None:
            await reader.read_all()
            for _ in range(3):
                await reader.follow()

        await asyncio.gather(*map(read, readers.values()))
        took_s = time.monotonic() - began
        backend.writing = False
        await asyncio.gather(*writing)
        for reader in readers.values():
            while await reader.follow():
                pass
        after = _memory(services)

    for name, reader in readers.items():
        stored = await _stored(connection, name)
        assert len(stored) > SIZES[name]
        assert reader.seen == stored
        assert {item: stored[item] for item in backend.expected[name]} == backend.expected[name]
        assert reader.changes > 0
    await connection.close()
    pages = sum(reader.pages for reader in readers.values())
    print(  # noqa: T201 -- what it measured
        f"\n{pages} pages in {took_s:.1f} s, while {next(backend._clock_ms)} records were sent; memory of the services "
        f"in MiB: {[one >> 20 for one in before]}, then {[one >> 20 for one in after]}"
    )
    assert pages / took_s > PAGES_PER_S_MIN
    assert max(new - old for new, old in zip(after, before, strict=True)) < GROWTH_MAX_BYTES
