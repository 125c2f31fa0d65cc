"""Who writes while a feed is audited: through the services, and by SQL, in transactions that sleep and then commit."""

import asyncio
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import orjson

from favsync.core import timestamp
from favsync.core.fields import canonical, digest
from favsync.core.record import Key, Record, Version, entity_key, owner_key
from favsync.store import sql
from favsync.store.records import arguments
from tests.e2e.service import Service, token

FAVORITES, NOTES = "favorites", "notes"
DECLARED = f"""
[entities.{NOTES}.fields]
text = {{ type = "string", required = true }}
n = {{ type = "integer" }}
"""
USERS = [f"user-{number}" for number in range(30)]
ITEMS = 120  # of each user and entity, so that many records are written once or twice only
HOT_ITEMS = 6
START_US = timestamp.parse("2020-01-01T00:00:00Z")
STEP_US = 1000
BACK_STEPS = 400  # that a date may lie behind others, so that some versions lose
SLEEP_S_MAX = 0.05
ATTEMPTS_MAX = 100

_PUSH = sql.query("records/push")


class Offer(NamedTuple):
    """A version for a record. `fields`: None where there are none."""

    user: str
    entity: str
    item: str
    action_us: int
    deleted: bool
    fields: dict[str, Any] | None

    def on_the_wire(self, *, named: bool) -> dict[str, Any]:
        action = "DELETE" if self.deleted else "ADD"
        record = {"item": self.item, "actionDate": timestamp.render(self.action_us), "action": action}
        return record | ({"user": self.user} if named else {}) | ({"fields": self.fields} if self.fields else {})


class Transaction(NamedTuple):
    """One by SQL that was committed, and wrote. `place`: the last that it took of the naive sequence.

    In seconds of one clock: `began` before it wrote, `ending` before COMMIT was sent, `ended` after that was answered.
    """

    place: int
    began: float
    ending: float
    ended: float


@dataclass
class Work:
    """What is to be written, in all, and what was."""

    versions: int
    applied: int = 0
    steps: "itertools.count[int]" = field(default_factory=lambda: itertools.count(BACK_STEPS))
    transactions: list[Transaction] = field(default_factory=list)
    undone: int = 0  # transactions
    half: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def left(self) -> bool:
        return self.applied < self.versions

    def add(self, applied: int) -> None:
        self.applied += applied
        if 2 * self.applied >= self.versions:
            self.half.set()


class _Author:
    """Thinks of what to write."""

    def __init__(self, work: Work, seed: str) -> None:
        self._work = work
        self.chance = random.Random(seed)

    def offers(self, users: Sequence[str], count: int) -> list[Offer]:
        """No two for one record."""
        keys = {(self.chance.choice(users), self.chance.choice([FAVORITES, NOTES]), self._item()) for _ in range(count)}
        return [self._offer(*key) for key in sorted(keys)]

    def _item(self) -> str:
        return f"item_{self.chance.randrange(self.chance.choice([HOT_ITEMS, ITEMS, ITEMS, ITEMS]))}"

    def _offer(self, user: str, entity: str, item: str) -> Offer:
        step = next(self._work.steps) - self.chance.choice([0, 0, 0, self.chance.randrange(BACK_STEPS)])
        deleted = self.chance.random() < 0.25
        content = {"text": f"{user} {item}", "n": self.chance.randrange(100)}
        return Offer(
            user, entity, item, START_US + step * STEP_US, deleted, content if entity == NOTES and not deleted else None
        )


class Poster(_Author):
    """Writes through both services in turn, as itself or, `named`, as a backend that writes for several users."""

    def __init__(
        self, work: Work, seed: str, session: aiohttp.ClientSession, services: Sequence[Service], *, named: bool
    ) -> None:
        super().__init__(work, seed)
        self._session = session
        self._services = itertools.cycle(services)
        self._named = named

    async def run(self) -> None:
        while self._work.left:
            users = self.chance.sample(USERS, self.chance.randrange(2, 6) if self._named else 1)
            credentials = token("backend", "sync:any") if self._named else token(users[0])
            content: dict[str, list[Any]] = {FAVORITES: [], NOTES: []}
            for offer in self.offers(users, self.chance.randrange(1, 25)):
                content[offer.entity].append(offer.on_the_wire(named=self._named))
            await self._post(orjson.dumps(content), credentials)

    async def _post(self, body: bytes, credentials: str) -> None:
        """Until it is acknowledged: 503 says to send it again."""
        headers = {"Authorization": f"Bearer {credentials}", "Content-Type": "application/json"}
        for _attempt in range(ATTEMPTS_MAX):
            url = f"{next(self._services).url}/sync"
            async with self._session.post(url, data=body, headers=headers) as answer:
                if answer.status == 200:
                    lists = (await answer.json())["receipts"].values()
                    outcomes = [receipt["outcome"] for one in lists for receipt in one]
                    assert set(outcomes) <= {"applied", "superseded", "duplicate"}
                    self._work.add(outcomes.count("applied"))
                    return
                assert answer.status == 503, await answer.text()
            await asyncio.sleep(self.chance.uniform(0, SLEEP_S_MAX))
        raise AssertionError("never acknowledged")


class Direct(_Author):
    """Writes by SQL, in transactions that sleep, some of which are undone in the end."""

    def __init__(self, work: Work, seed: str, dsn: str) -> None:
        super().__init__(work, seed)
        self._dsn = dsn

    async def run(self) -> None:
        connection = await asyncpg.connect(self._dsn)
        try:
            while self._work.left:
                await self._transact(connection)
        finally:
            await connection.close()

    async def _transact(self, connection: asyncpg.Connection) -> None:
        now = asyncio.get_running_loop().time
        users = self.chance.sample(USERS, self.chance.randrange(1, 4))
        began = now()
        transaction = connection.transaction()
        await transaction.start()
        applied = await self._push(connection, self._of_each(users))
        await self._sleep(connection)
        if self.chance.random() < 0.3:
            # Of the user who is locked last: so no two transactions wait for each other.
            applied += await self._push(connection, self.offers([max(users)], 3))
            await self._sleep(connection)
        if self.chance.random() < 0.1:
            await transaction.rollback()
            self._work.undone += 1
            return
        place = await connection.fetchval("SELECT currval('naive_position_seq')") if applied else None
        ending = now()
        await transaction.commit()
        if place is not None:
            self._work.transactions.append(Transaction(place, began, ending, now()))
        self._work.add(applied)

    def _of_each(self, users: Sequence[str]) -> list[Offer]:
        return [offer for user in users for offer in self.offers([user], self.chance.randrange(1, 6))]

    async def _sleep(self, connection: asyncpg.Connection) -> None:
        await connection.execute("SELECT pg_sleep($1)", self.chance.uniform(0, SLEEP_S_MAX))

    async def _push(self, connection: asyncpg.Connection, offers: Sequence[Offer]) -> int:
        """How many were applied."""
        written = [None if offer.fields is None else canonical(offer.fields) for offer in offers]
        records = [
            Record(
                Key(owner_key(offer.user), entity_key(offer.entity), offer.item),
                Version(offer.action_us, offer.deleted, b"" if one is None else digest(one)),
                one,
            )
            for offer, one in zip(offers, written, strict=True)
        ]
        [row] = await connection.fetch(_PUSH, *arguments(records, [None] * len(records)))
        seen = zip(row["seen_action_us"], row["seen_deleted"], row["seen_digest"], strict=True)
        return sum(old[0] is None or new.version > old for new, old in zip(records, seen, strict=True))
