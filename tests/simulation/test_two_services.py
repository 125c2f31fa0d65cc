"""Two services, each with a database of its own, that tell each other what they have: the same bytes on both.

What is told is what GET gives, POSTed as it came. Clients meanwhile write on either side, each spelling its JSON in a
way of its own.
"""

import asyncio
import itertools
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import pytest
from yarl import URL

from favsync.core import fields
from favsync.core.record import Version
from tests.core.spelling import spell
from tests.core.strategies import EDGE_NUMBERS, EDGE_TEXTS
from tests.e2e.service import Service, token
from tests.postgres import Server

DECLARED = """
[entities.notes]
was = "remarks"
[entities.notes.fields]
text = { type = "string", required = true }
rank = { type = "number", allow_null = true }
tags = { type = "list", item = { type = "string" } }
[entities.things]
unknown = "keep"
[entities.programme]
scope = "shared"
[entities.programme.fields]
title = { type = "string", required = true }
extra = { type = "object" }
"""
OWN = ["favorites", "notes", "things"]
STORED = {"notes": "remarks"}  # where it is not the name
SHARED = "programme"
ROUNDS = 12
SEED = 20170502
ITEMS = ["session_1", "session_2", "a/b c", "\u00e9", "e\u0301", "\U0001f600", "\uffee"]
START = datetime(2020, 1, 1, tzinfo=UTC)


class Side(NamedTuple):
    service: Service
    dsn: str


class Told(NamedTuple):
    """A version as a service must hold it."""

    version: Version
    fields: bytes | None


Key = tuple[str, str, str]  # user_id, entity, item, as they are stored


@pytest.fixture(scope="module")
def sides(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    config: Path = tmp_path_factory.mktemp("config") / "favsync.toml"
    config.write_text(DECLARED)
    names = [asyncio.run(postgres.create_database()) for _ in range(2)]
    dsns = [postgres.dsn(name) for name in names]
    with Service(database_url=dsns[0], config=config) as one, Service(database_url=dsns[1], config=config) as other:
        yield [Side(one, dsns[0]), Side(other, dsns[1])]
    for name in names:
        asyncio.run(postgres.drop_database(name))


class World:
    """`model`: what must stand everywhere in the end."""

    def __init__(self, sides: list[Side], session: aiohttp.ClientSession) -> None:
        self.sides = sides
        self.model: dict[Key, Told] = {}
        self._session = session
        self._chance = random.Random(SEED)

    async def edit(self, side: Side, user: str) -> None:
        """A client writes some records through one door or the other."""
        chance = self._chance
        if chance.random() < 0.4:
            names = chance.sample([*OWN, SHARED, "remarks"], chance.randrange(1, 4))
            content = {name: [self._record(user, name) for _ in range(chance.randrange(4))] for name in names}
            await self._post(side, "/sync", spell(content, chance).encode(), self._credentials(user, backend=True))
        else:
            name = chance.choice([*OWN, SHARED])
            sent = [self._record(user, name) for _ in range(chance.randrange(1, 6))]
            credentials = self._credentials(user, backend=name == SHARED)
            await self._post(side, f"/sync/{name}", spell(sent, chance).encode(), credentials)

    def _record(self, user: str, name: str) -> dict[str, Any]:
        chance = self._chance
        entity = {"remarks": "notes"}.get(name, name)
        item, at_us, deleted = chance.choice(ITEMS), chance.choice([0, 1000, 1001, 2000]), chance.random() < 0.25
        record: dict[str, Any] = {"item": item, "actionDate": self._date(at_us), "action": "ADD"}
        written: bytes | None = None
        if deleted:
            record["action"] = "DELETE"
        elif entity != "favorites":
            record["fields"] = self._content(entity)
            written = fields.canonical(record["fields"])
        owner = f"main//{SHARED}" if entity == SHARED else f"main/main/{user}"
        us = int(START.timestamp()) * 1_000_000 + at_us
        told = Told(Version(us, deleted, b"" if written is None else fields.digest(written)), written)
        key = owner, f"main/{STORED.get(entity, entity)}", item
        self.model[key] = max(self.model.get(key, told), told, key=lambda each: each.version)
        return record

    def _date(self, at_us: int) -> str:
        zone = timezone(timedelta(minutes=self._chance.choice([0, 120, -570])))
        written = (START + timedelta(microseconds=at_us)).astimezone(zone).isoformat(timespec="microseconds")
        return self._chance.choice([written, written.replace("T", "t")]).replace(
            "+00:00", self._chance.choice(["Z", ""])
        )

    def _content(self, entity: str) -> dict[str, Any]:
        chance = self._chance
        number, text = chance.choice(EDGE_NUMBERS), chance.choice(EDGE_TEXTS)
        match entity:
            case "notes":
                return {"text": text, "rank": chance.choice([None, number]), "tags": chance.sample(EDGE_TEXTS, 2)}
            case "things":
                return chance.choice([{}, {text: number}, {"n": [number, [text, {}]]}, {"a": {"b": {text: None}}}])
            case _:
                return {"title": text, "extra": chance.choice([{}, {"n": number}, {text: [True, None]}])}

    def _credentials(self, user: str, *, backend: bool) -> tuple[str, dict[str, str]]:
        """A token, and how the query says whom it is about: the user's own, or that of a backend which may name one."""
        if backend:
            return token("backend", "sync:any"), {"user": user}
        return token(user), {}

    async def _post(self, side: Side, path: str, body: bytes, credentials: tuple[str, Mapping[str, str]]) -> int:
        """How many of the records were applied."""
        bearer, query = credentials
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
        url = side.service.url + path
        query = {} if path == f"/sync/{SHARED}" else query
        async with self._session.post(url, data=body, headers=headers, params=query) as answer:
            assert answer.status == 200, (await answer.text(), body)
            receipts = (await answer.json())["receipts"]
        lists = receipts.values() if isinstance(receipts, dict) else [receipts]
        outcomes = [receipt["outcome"] for receipt in itertools.chain.from_iterable(lists)]
        assert set(outcomes) <= {"applied", "duplicate", "superseded"}
        return outcomes.count("applied")

    async def tell(self, source: Side, target: Side, path: str, user: str) -> int:
        """Passes on, page by page and byte for byte, what GET gives; says how much of it was new."""
        backend = path == f"/sync/{SHARED}" or self._chance.random() < 0.5
        bearer, query = credentials = self._credentials(user, backend=backend)
        query = {} if path == f"/sync/{SHARED}" else query
        if self._chance.random() < 0.6:
            query = {**query, "limit": str(self._chance.randrange(1, 12))}
        url = URL(source.service.url + path).with_query(query)
        applied = 0
        while True:
            async with self._session.get(url, headers={"Authorization": f"Bearer {bearer}"}) as answer:
                assert answer.status == 200, await answer.text()
                body, onward = await answer.read(), answer.links.get("next")
            applied += await self._post(target, path, body, credentials)
            if onward is None:
                return applied
            url = URL(str(onward["url"]))

    async def until_quiet(self, user: str) -> None:
        doors = [f"/sync/{SHARED}", *self._chance.choice([["/sync"], [f"/sync/{name}" for name in OWN]])]
        one, other = self.sides
        for _turn in range(3):
            told = [await self.tell(*pair, door, user) for door in doors for pair in ((one, other), (other, one))]
            if not any(told):
                return
        raise AssertionError(f"there is still something to tell: {told}")

    async def bodies(self, path: str, user: str) -> list[bytes]:
        found = []
        for side in self.sides:
            headers = {"Authorization": f"Bearer {token(user)}", "Accept-Encoding": "identity"}
            async with self._session.get(side.service.url + path, headers=headers) as answer:
                assert (answer.status, "Link" in answer.headers) == (200, False)
                found.append(await answer.read())
        return found


async def _rows(dsn: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(
        "SELECT user_id, entity, item, action_us, deleted, digest, fields::text FROM records ORDER BY 1, 2, 3"
    )
    await connection.close()
    return [tuple(row) for row in rows]


async def test_both_hold_the_same_bytes(sides: list[Side]) -> None:
    async with aiohttp.ClientSession() as session:
        world = World(sides, session)
        for number in range(ROUNDS):
            user, source, target = f"user-{number}", sides[number % 2], sides[1 - number % 2]
            for _ in range(3):
                edits = [world.edit(side, user) for side in sides * 4]
                await asyncio.gather(*edits, world.tell(source, target, "/sync", user))
            await world.until_quiet(user)
            for path in ("/sync", f"/sync/{SHARED}", *(f"/sync/{name}" for name in OWN)):
                one, other = await world.bodies(path, user)
                assert one == other, path
                assert all(
                    told.fields in one for key, told in world.model.items() if _shown(key, path, user) and told.fields
                )
    one_rows, other_rows = [await _rows(side.dsn) for side in sides]
    assert one_rows == other_rows
    expected = [
        (*key, *told.version, None if told.fields is None else told.fields.decode())
        for key, told in sorted(world.model.items())
    ]
    assert one_rows == expected
    assert len(expected) > ROUNDS * 10


def _shown(key: Key, path: str, user: str) -> bool:
    owner, entity, _item = key
    name = {"remarks": "notes"}.get(entity.partition("/")[2], entity.partition("/")[2])
    if path == "/sync":
        return owner == f"main/main/{user}"
    return path == f"/sync/{name}" and owner in (f"main/main/{user}", f"main//{SHARED}")
