"""GET /feed/{entity}, by readers who go on at once: the page behind the one that they take is read meanwhile."""

import asyncio
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from favsync.ahead import Ahead
from favsync.core.errors import Unavailable
from favsync.feed import printing
from favsync.http import keys
from favsync.identity import issuers
from favsync.store import feed, purging
from favsync.store.database import Database
from tests.http.conftest import Client, Serve, bearer, token
from tests.http.declared import ENTITIES, Json, backend, note, post, record
from tests.http.feeds import FEED, all_placed, page, reader, until
from tests.store.feeds import EVER

OTHER_SECRET = "the secret of another issuer, as long"
STALE_S = 30.0  # so long here, that what a page is too old for happens within


class Reads:
    """The positions behind which PostgreSQL printed a page; each waits until `open`, and fails with `fault` once."""

    def __init__(self, show: Callable[..., Any]) -> None:
        self.behind: list[int] = []
        self.open = asyncio.Event()
        self.open.set()
        self.fault: Exception | None = None
        self._show = show

    async def show(self, database: Database, entity: str, after: int, own: str, *, limit: int) -> feed.Printed | None:
        self.behind.append(after)
        printed: feed.Printed | None = await self._show(database, entity, after, own, limit=limit)
        await self.open.wait()
        fault, self.fault = self.fault, None
        if fault:
            raise fault
        return printed


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pages are read ahead too, and kept for long."""
    monkeypatch.setattr(printing, "AHEAD_LIMIT_MIN", 2)
    monkeypatch.setattr("favsync.app.Ahead", lambda *, most: Ahead(most=most, keep_s=STALE_S))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reads]:
    found = Reads(feed.show)
    monkeypatch.setattr(feed, "show", found.show)
    yield found
    found.open.set()


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"entities": ENTITIES}


async def write(client: Client, connection: asyncpg.Connection, *records: Json, user: str = "ann") -> None:
    """Favourites of a user, each at the next position."""
    for one in records:
        await post(client, FEED.replace("feed", "sync"), [one], bearer(user))
        await all_placed(connection)


async def fill(client: Client, connection: asyncpg.Connection, names: str) -> None:
    await write(client, connection, *map(record, names))


def items(content: Json) -> str:
    return "".join(change["item"] for change in content["changes"])


async def onward(client: Client, before: Json, **params: object) -> Json:
    return await page(client, FEED, after=before["cursor"], **({"limit": 2} | params))


async def kept(client: Client) -> None:
    """Returns when a page was read ahead."""
    reads = client.app[keys.AHEAD]._reads
    await until(lambda: reads and all(task.done() for task in reads.values()))


async def test_who_goes_on_finds_the_next_page_read(
    client: Client, connection: asyncpg.Connection, reads: Reads
) -> None:
    """From the third on: who has asked for one page may never ask for another. Each is read once."""
    await fill(client, connection, "abcdefghi")
    first = await page(client, limit=2)
    await asyncio.sleep(0.05)
    assert reads.behind == [0]
    second = await onward(client, first)
    await kept(client)
    assert reads.behind == [0, 2, 4]
    third = await onward(client, second)
    await kept(client)
    assert reads.behind == [0, 2, 4, 6]
    fourth = await onward(client, third)
    assert [items(one) for one in (first, second, third, fourth)] == ["ab", "cd", "ef", "gh"]
    assert third == await onward(client, second), "what was read ahead is what is read"
    assert items(await onward(client, fourth)) == "i"


async def test_another_limit_finds_nothing(client: Client, connection: asyncpg.Connection, reads: Reads) -> None:
    await fill(client, connection, "abcdefgh")
    second = await onward(client, await page(client, limit=2))
    await kept(client)
    assert items(await onward(client, second, limit=3)) == "efg"
    assert items(await onward(client, second, limit=1)) == "e"
    assert reads.behind == [0, 2, 4, 4, 4]


async def test_the_end_is_read_when_it_is_asked_for(
    client: Client, connection: asyncpg.Connection, reads: Reads
) -> None:
    """Whoever writes, and then reads to the end, meets what was written: also on a page that was not full before."""
    await fill(client, connection, "abcdef")
    second = await onward(client, await page(client, limit=2))
    await kept(client)
    assert reads.behind == [0, 2, 4]
    await fill(client, connection, "gh")
    third = await onward(client, second)
    assert (items(third), third["hasMore"]) == ("ef", True)
    last = await onward(client, third)
    assert (items(last), last["hasMore"]) == ("gh", False)


async def test_what_has_changed_since_comes_behind(client: Client, connection: asyncpg.Connection) -> None:
    await fill(client, connection, "abcdefgh")
    second = await onward(client, await page(client, limit=2))
    await kept(client)
    await write(client, connection, record("e", "DELETE"))
    third = await onward(client, second)
    assert items(third) == "ef"
    fourth = await onward(client, third)
    last = await onward(client, fourth)
    assert (items(fourth), items(last), last["changes"][0]["action"]) == ("gh", "e", "DELETE")


async def test_a_reader_who_began_later_is_given_nothing_older(client: Client, connection: asyncpg.Connection) -> None:
    """What was deleted and purged before it began must not come up again: nothing would take it away."""
    await fill(client, connection, "abcdefgh")
    second = await onward(client, await page(client, limit=2))
    await kept(client)
    await write(client, connection, record("e", "DELETE"))
    assert (await purging.purge(connection, "main/favorites", EVER)).removed == 1
    later = await onward(client, await page(client, limit=2))
    assert later["changes"] == second["changes"]
    rest = await onward(client, later)
    assert items(rest) == "fg"
    assert (await client.get(FEED, params={"after": second["cursor"]}, headers=reader())).status == 410


async def test_a_page_of_another_epoch_is_given_to_nobody(
    client: Client, connection: asyncpg.Connection, reads: Reads
) -> None:
    """Neither where it was read before, nor where it is being read, and waited for, when the epoch ends."""
    await fill(client, connection, "abcdefghij")
    database = client.app[keys.DATABASE]
    second = await onward(client, await page(client, limit=2))
    await kept(client)
    reads.open.clear()
    asking = asyncio.create_task(client.get(FEED, params={"after": second["cursor"], "limit": 2}, headers=reader()))
    assert (await asking).status == 200
    third = await (await asking).json()
    await until(lambda: reads.behind[-1] == 6)
    waiting = asyncio.create_task(client.get(FEED, params={"after": third["cursor"], "limit": 2}, headers=reader()))
    await until(lambda: not client.app[keys.AHEAD]._reads)
    before = database.epoch.id
    await connection.execute("DELETE FROM epoch")
    await until(lambda: database.epoch.id != before)
    reads.open.set()
    assert (await waiting).status == 410
    for one in (second, third):
        response = await client.get(FEED, params={"after": one["cursor"], "limit": 2}, headers=reader())
        assert response.status == 410


async def test_a_fault_meanwhile_is_nobodys(client: Client, connection: asyncpg.Connection, reads: Reads) -> None:
    await fill(client, connection, "abcdefgh")
    first = await page(client, limit=2)
    reads.open.clear()
    asking = asyncio.create_task(onward(client, first))
    await until(lambda: reads.behind == [0, 2])
    reads.open.set()
    second = await asking
    reads.fault = Unavailable()
    third = await onward(client, second)
    assert items(third) == "ef"
    assert reads.fault is None


async def test_a_page_is_for_those_alone_who_may_have_it(serve: Serve, connection: asyncpg.Connection) -> None:
    """Who is of another namespace reads it otherwise, who is of another tenant another one, and who may not none."""
    rest = {"secrets": [OTHER_SECRET], "scopes": ["feed:read", "sync:any"]}
    staff, there = {"iss": "here", "namespace": "staff"} | rest, {"iss": "there", "tenant": "other"} | rest
    client = await serve(issuers=issuers.read_issuers([staff, there], Path()))
    mine, others = {"iss": "here", "secret": OTHER_SECRET}, {"iss": "there", "secret": OTHER_SECRET}
    await fill(client, connection, "abcdefgh")
    for name in "ABCDEFGH":
        await post(client, "/sync/favorites", [record(name)], {"Authorization": f"Bearer {token(**others)}"})
    await all_placed(connection)
    second = await onward(client, await page(client, limit=2))
    await kept(client)
    of_staff = await page(client, FEED, reader(claims=mine), after=second["cursor"], limit=2)
    assert [(one["item"], one.get("namespace")) for one in of_staff["changes"]] == [("e", "main"), ("f", "main")]
    asked = {"after": second["cursor"], "limit": 2}
    assert (await client.get(FEED, params=asked, headers=reader(claims=others))).status == 410
    assert (await client.get(FEED, params=asked, headers=bearer())).status == 403
    assert (await client.get(FEED, params=asked)).status == 401
    assert [one.get("namespace") for one in (await onward(client, second))["changes"]] == [None, None]


async def test_what_has_fields_is_read_ahead_too(client: Client, connection: asyncpg.Connection) -> None:
    for name in "abcdefg":
        await post(client, "/sync/notes", [note(name, f"of {name}")])
        await all_placed(connection)
    seen: list[Json] = []
    content = await page(client, "/feed/notes", limit=2)
    while content["hasMore"]:
        seen += content["changes"]
        content = await page(client, "/feed/notes", limit=2, after=content["cursor"])
    assert [(one["item"], one["fields"]["text"]) for one in seen + content["changes"]] == [
        (name, f"of {name}") for name in "abcdefg"
    ]


async def test_what_is_large_is_not_read_ahead(
    client: Client, connection: asyncpg.Connection, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor kept, where it is larger than what came before it."""
    await fill(client, connection, "abcdefgh")
    first = await page(client, limit=2)
    monkeypatch.setattr(printing, "_KEPT_BYTES_MAX", 100)
    second = await onward(client, first)
    await kept(client)
    assert reads.behind == [0, 2, 4]
    monkeypatch.setattr(printing, "AHEAD_BYTES_MAX", 100)
    third = await onward(client, second)
    assert items(third) == "ef"
    assert items(await onward(client, third)) == "gh"
    assert reads.behind == [0, 2, 4, 4, 6]


async def _read(client: Client, seed: str, done: asyncio.Event) -> dict[tuple[str, str], tuple[str, str]]:
    """What a reader has who follows the feed until nothing is written any more: of each record its version."""
    chance = random.Random(seed)
    limit = chance.choice([3, 5])  # the same for several, who so meet what was read for others
    found: dict[tuple[str, str], tuple[str, str]] = {}
    told: set[tuple[str, str]] = set()
    params: dict[str, str] = {}
    whole = False
    while True:
        ending = done.is_set()
        response = await client.get(FEED, params={"limit": str(limit), **params}, headers=reader())
        if response.status == 410:
            params, told, whole = {}, set(), False
            continue
        content = await response.json()
        for one in content["changes"]:
            key, version = (one["user"], one["item"]), (one["actionDate"], one["action"])
            assert whole or key not in found or version >= found[key]
            found[key] = version
            told.add(key)
        params = {"after": content["cursor"]}
        if not content["hasMore"]:
            if not whole:  # what did not come again was deleted
                found, whole = {key: found[key] for key in told}, True
            if ending:
                return found
            await asyncio.sleep(chance.choice([0, 0.01]))
        if chance.random() < 0.02:
            params, told, whole = {}, set(), False


async def _write(client: Client, seed: int, seconds: float) -> None:
    chance, clock = random.Random(seed), asyncio.get_running_loop().time
    until_s = clock() + seconds
    while clock() < until_s:
        batch = [
            record(
                f"i{chance.randrange(40)}", chance.choice(["ADD", "DELETE"]), f"2020-01-01T00:{n // 60:02}:{n % 60:02}Z"
            )
            | {"user": f"u{seed}"}
            for n in [chance.randrange(3600)]
        ]
        await post(client, "/sync/favorites", batch, backend())
        await asyncio.sleep(chance.choice([0, 0, 0.02]))


async def test_readers_end_with_the_same_whoever_writes_meanwhile(
    client: Client, connection: asyncpg.Connection, dsn: str
) -> None:
    """Writers, purges of all tombstones that there are, and readers who go on at once, each often from nothing."""
    own = await asyncpg.connect(dsn)
    done = asyncio.Event()
    given: list[feed.Printed] = []
    ahead = client.app[keys.AHEAD]
    take = ahead.take

    async def counted(key: Any) -> tuple[bool, feed.Printed | None]:
        expected, value = await take(key)
        given.extend([value] if value else [])
        return expected, value

    ahead.take = counted  # type: ignore[method-assign]
    readers = [asyncio.create_task(_read(client, f"seed {n}", done)) for n in range(6)]
    writers = [asyncio.create_task(_write(client, n, 5.0)) for n in range(4)]
    while not all(writer.done() for writer in writers):
        await asyncio.sleep(0.3)
        await purging.purge(own, "main/favorites", EVER)
    await asyncio.gather(*writers)
    await own.close()
    await all_placed(connection)
    done.set()
    rows = await connection.fetch("SELECT user_id, item, deleted FROM records WHERE entity = 'main/favorites'")
    alive = {(row["user_id"].removeprefix("main/main/"), row["item"]) for row in rows if not row["deleted"]}
    assert len(given) > 10
    for found in await asyncio.gather(*readers):
        assert {key for key, (_, action) in found.items() if action == "ADD"} == alive
