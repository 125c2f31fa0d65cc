"""Services in a row, each with a database of its own, that know others as peers through proxies that lose and delay."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from favsync.core import fields, timestamp
from favsync.core.record import Version
from tests.e2e.faulty_proxy import FaultyProxy, Passed
from tests.e2e.service import Service, token

INTERVAL_S = 1  # the least that the settings allow
SETTINGS: dict[str, Any] = {
    "jwt_secret": "a secret for tests, 32 bytes long",
    "link_keys": "what seals the tokens of these tests",
}
NOTES = '[entities.notes.fields]\ntext = { type = "string", required = true }\n'
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
ITEMS = ["session_1", "a/b c", "\u00e9", "\U0001f600"]
APART_US = 1_000_000  # whatever is stamped anew stays nearer to what it was than to any other

State = dict[tuple[str, str], tuple[Any, ...]]  # by user and item: date, action, fields
_ROWS = "SELECT user_id, item, action_us, deleted, digest, seq FROM records ORDER BY 1, 2"


class Way(NamedTuple):
    """A link of the service `source` with the service `target`, through a proxy."""

    source: int
    target: int
    proxy: FaultyProxy

    def passed(self, method: str) -> list[Passed]:
        return [one for one in self.proxy.passed if one.method == method]


class Kind(NamedTuple):
    """What is kept in step. `precision`: as the settings of a peer have it. `grain_us`: of the dates of edits."""

    entity: str
    precision: str
    grain_us: int


class Chain:
    """`model`: what clients have written, by user and item: the greatest by the law."""

    def __init__(self, services: Sequence[Service], dsns: Sequence[str], ways: Sequence[Way], kind: Kind) -> None:
        self.services = services
        self.ways = ways
        self.model: dict[tuple[str, str], Version] = {}
        self._dsns = dsns
        self._kind = kind

    def link(self, users: Sequence[str]) -> None:
        for way in self.ways:
            for user in users:
                entrusted = {"token": token(user)}
                assert self.services[way.source].request("PUT", "/peers/next/link", entrusted, user=user).status == 200

    def edit(self, chance: random.Random, user: str) -> None:
        """Some client writes some records to some service: few instants, so that they often tie."""
        sent = [self._record(chance, user) for _ in range(chance.randrange(1, 4))]
        answer = chance.choice(self.services).request("POST", f"/sync/{self._kind.entity}", sent, user=user)
        assert answer.status == 200, answer

    def add(self, number: int, user: str, item: str) -> None:
        """A client of that service adds what was nowhere."""
        record: dict[str, Any] = {"item": item, "actionDate": FIRST.isoformat(), "action": "ADD"}
        digest = b""
        if self._kind.entity != "favorites":
            record["fields"] = {"text": item}
            digest = fields.digest(fields.canonical(record["fields"]))
        answer = self.services[number].request("POST", f"/sync/{self._kind.entity}", [record], user=user)
        assert answer.content["receipts"][0]["outcome"] == "applied"
        self.model[user, item] = Version(int(FIRST.timestamp()) * 1_000_000, deleted=False, digest=digest)

    def _record(self, chance: random.Random, user: str) -> dict[str, Any]:
        item, deleted = chance.choice(ITEMS), chance.random() < 0.4
        after_us = chance.randrange(3) * APART_US + chance.randrange(3) * self._kind.grain_us
        at_us = int(FIRST.timestamp()) * 1_000_000 + after_us
        date = (FIRST + timedelta(microseconds=after_us)).isoformat(timespec="microseconds")
        record: dict[str, Any] = {"item": item, "actionDate": date, "action": "DELETE" if deleted else "ADD"}
        digest = b""
        if self._kind.entity != "favorites" and not deleted:
            record["fields"] = {"text": chance.choice(["front row", "back row", "balcony"])}
            digest = fields.digest(fields.canonical(record["fields"]))
        version = Version(at_us, deleted, digest)
        self.model[user, item] = max(self.model.get((user, item), version), version)
        return record

    def states(self, users: Sequence[str], precision_us: int) -> list[State]:
        """What stands in each service, with dates cut off."""
        found = []
        for service in self.services:
            state: State = {}
            for user in users:
                answer = service.request("GET", f"/sync/{self._kind.entity}", user=user)
                assert answer.status == 200, answer
                for one in answer.content:
                    at = timestamp.parse(one["actionDate"]) // precision_us
                    state[user, one["item"]] = (at, one["action"], str(one.get("fields")))
            found.append(state)
        return found

    async def rows(self) -> list[list[tuple[Any, ...]]]:
        """What stands in each database, with the number of the write that brought it."""
        found = []
        for dsn in self._dsns:
            connection = await asyncpg.connect(dsn)
            found.append([tuple(row) for row in await connection.fetch(_ROWS)])
            await connection.close()
        return found

    def looks(self, users: Sequence[str], count: int) -> None:
        """Returns when each link has asked its peer so often since now."""
        before = [len(way.passed("GET")) for way in self.ways]

        def asked() -> bool:
            return all(
                [one.token for one in way.passed("GET")[known:]].count(token_) >= count
                for way, known in zip(self.ways, before, strict=True)
                for token_ in {one.token for one in way.passed("GET")}
            )

        until(asked, 2 * count * INTERVAL_S + 20)
        assert all(len({one.token for one in way.passed("GET")}) == len(users) for way in self.ways)


@contextlib.contextmanager
def chain(dsns: Sequence[str], ways: Sequence[tuple[int, int]], kind: Kind, folder: Path) -> Iterator[Chain]:
    """A service for each database; `ways`: which of them knows which as its peer "next"."""
    with contextlib.ExitStack() as running:
        proxies = [running.enter_context(FaultyProxy("")) for _ in ways]
        services = []
        for number, dsn in enumerate(dsns):
            config = folder / f"{number}.toml"
            tables = [_table(proxy.url, kind) for proxy, way in zip(proxies, ways, strict=True) if way[0] == number]
            config.write_text(NOTES + "".join(tables))
            services.append(running.enter_context(Service(database_url=dsn, config=config, **SETTINGS)))
        linked = [Way(*way, proxy) for way, proxy in zip(ways, proxies, strict=True)]
        for way in linked:
            way.proxy.target = services[way.target].url
        yield Chain(services, dsns, linked, kind)


def _table(url: str, kind: Kind) -> str:
    path = f"/sync/{kind.entity}"
    return (
        f'[[peers]]\nname = "next"\nurl = "{url}"\ninterval = "{INTERVAL_S}s"\nprecision = "{kind.precision}"\n'
        f'entity = "{kind.entity}"\nget = "{path}"\npost = "{path}"\nbatch = 3\n'
    )


def until(found: Callable[[], bool], timeout_s: float) -> None:
    """Returns when it is so; AssertionError where it is not in time."""
    give_up = time.monotonic() + timeout_s
    while not found():
        assert time.monotonic() < give_up, "it has not come to that in time"
        time.sleep(0.05)
