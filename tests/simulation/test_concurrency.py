"""Many writers at once, through two processes: nothing lost, nothing missed by who reads along."""

import asyncio
import random
from typing import Any

import aiohttp
import pytest

from tests.e2e.service import Service, token

WRITERS = 64
ROUNDS = 12
Json = Any


def _record(item: str, at: int, deleted: bool) -> dict[str, str]:
    date = f"2020-01-01T00:{at // 60:02d}:{at % 60:02d}.000Z"
    return {"item": item, "actionDate": date, "action": "DELETE" if deleted else "ADD"}


def _version(record: dict[str, str]) -> tuple[str, bool]:
    return record["actionDate"], record["action"] == "DELETE"


class Reader:
    """Follows one user's changes by cursor alone."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.seen: dict[str, tuple[str, bool]] = {}
        self.cursor: str | None = None
        self.polls = 0

    async def poll(self, session: aiohttp.ClientSession, service: Service) -> None:
        params = {"after": self.cursor} if self.cursor else {}
        headers = {"Authorization": f"Bearer {token(self.user)}"}
        async with session.get(f"{service.url}/getUserFavorites", params=params, headers=headers) as response:
            assert response.status == 200, await response.text()
            self.cursor = response.headers["Sync-Cursor"]
            for record in await response.json():
                version = _version(record)
                assert version > self.seen.get(record["item"], ("", False)), "seen already, or older than what was seen"
                self.seen[record["item"]] = version
        self.polls += 1


@pytest.mark.parametrize("users", [1, 5, WRITERS])
async def test_64_writers_and_readers_that_miss_nothing(services: list[Service], users: int) -> None:
    chance = random.Random(users)
    names = [f"crowd-{users}-{number}" for number in range(users)]
    readers = [Reader(name) for name in names]
    expected: dict[str, dict[str, tuple[str, bool]]] = {name: {} for name in names}
    writing = True
    connector = aiohttp.TCPConnector(limit=0)

    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(120)) as session:

        async def write(number: int) -> None:
            user = names[number % users]
            for turn in range(ROUNDS):
                sent = [
                    _record(f"item{chance.randrange(20)}", chance.randrange(3600), chance.random() < 0.4)
                    for _ in range(chance.randrange(1, 8))
                ]
                await _post(session, services[(number + turn) % 2], user, sent)
                for record in sent:
                    stored = expected[user].get(record["item"], ("", False))
                    expected[user][record["item"]] = max(stored, _version(record))

        async def read_along(reader: Reader) -> None:
            turn = 0
            while writing:
                turn += 1
                await reader.poll(session, services[turn % 2])

        reading = [asyncio.create_task(read_along(reader)) for reader in readers[:8]]
        await asyncio.gather(*map(write, range(WRITERS)))
        writing = False
        await asyncio.gather(*reading)
        for reader in readers:
            await reader.poll(session, services[0])
    assert {reader.user: reader.seen for reader in readers} == expected
    assert min(reader.polls for reader in readers[:8]) > 3


async def _post(session: aiohttp.ClientSession, service: Service, user: str, sent: Json) -> None:
    """Until it is acknowledged: 503 says that nothing was, and to send it again."""
    headers = {"Authorization": f"Bearer {token(user)}"}
    for _ in range(50):
        async with session.post(f"{service.url}/postUserFavorites", json=sent, headers=headers) as response:
            if response.status == 200:
                receipts = (await response.json())["receipts"]
                assert len(receipts) == len(sent)
                assert {receipt["outcome"] for receipt in receipts} <= {"applied", "duplicate", "superseded"}
                return
            assert response.status == 503, await response.text()
            await asyncio.sleep(float(response.headers["Retry-After"]))
    raise AssertionError("never acknowledged")
