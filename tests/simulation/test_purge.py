"""Old deletions are purged, by the command line, while a real service is read: who can go on does, who cannot is told.

Each test has a feed of its own.
"""

import asyncio
import itertools
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import aiohttp
import asyncpg
import pytest

from favsync.core.record import entity_key
from favsync.store import purging
from tests.e2e.service import Service, token
from tests.e2e.test_cli import favsync
from tests.postgres import Server
from tests.simulation.copies import Copy, Key, headers, live_records
from tests.simulation.gates import until

START = datetime(2020, 1, 1, tzinfo=UTC)
MANY = 2 * purging.TOMBSTONES_AT_ONCE + 500  # that a purge removes in several parts
EVENTS = "text/event-stream"

_AGE = "UPDATE feed SET placed_at = placed_at - interval '40 days' WHERE entity = $1 AND deleted"
_WAITS = "SELECT EXISTS (SELECT FROM feed_pending WHERE entity = $1)"
_TOMBSTONES = "SELECT count(*) FROM feed WHERE entity = $1 AND deleted"
_ENDS = "SELECT position, horizon FROM feed_head WHERE entity = $1"


class Running(NamedTuple):
    service: Service
    dsn: str
    config: Path
    names: Iterator[str]


@pytest.fixture(scope="module")
def running(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all tests here, with feeds enough."""
    names = [f"feed_{number}" for number in range(20)]
    config = tmp_path_factory.mktemp("config") / "favsync.toml"
    config.write_text("".join(f'[entities.{name}]\nwas = "old_{name}"\n' for name in names))
    name = asyncio.run(postgres.create_database())
    dsn = postgres.dsn(name)
    with Service(database_url=dsn, config=config, max_batch=10_000) as service:
        yield Running(service, dsn, config, iter(names))
    asyncio.run(postgres.drop_database(name))


class Feed:
    """One feed, in which nothing was placed when the test began."""

    def __init__(self, running: Running, connection: asyncpg.Connection, session: aiohttp.ClientSession) -> None:
        self.name = next(running.names)
        self.key = entity_key(f"old_{self.name}")  # as it is stored
        self.connection = connection
        self.session = session
        self.service = running.service
        self._running = running
        self._clock = itertools.count()

    def copy(self) -> Copy:
        """One that has read nothing yet."""
        return Copy(self.session, [self.service], "", entity=self.name)

    async def whole_copy(self) -> Copy:
        copy = self.copy()
        await read_on(copy, limit=1000)
        return copy

    async def write(self, items: Sequence[str], *, deleted: bool, at_s: int | None = None) -> set[str]:
        """Placed when this returns, and later than all that was written before, unless told `at_s`. The outcomes."""
        at = START + timedelta(seconds=next(self._clock) if at_s is None else at_s)
        action = "DELETE" if deleted else "ADD"
        sent = [{"item": item, "actionDate": at.isoformat(), "action": action} for item in items]
        bearer = {"Authorization": f"Bearer {token('ann')}"}
        async with self.session.post(f"{self.service.url}/sync/{self.name}", json=sent, headers=bearer) as answer:
            assert answer.status == 200, await answer.text()
            receipts = (await answer.json())["receipts"]

        async def placed() -> bool:
            return not await self.connection.fetchval(_WAITS, self.key)

        await until(placed)
        return {receipt["outcome"] for receipt in receipts}

    async def age_deletions(self) -> None:
        """As if all that are placed had been so 40 days earlier."""
        await self.connection.execute(_AGE, self.key)

    async def tombstones(self) -> int:
        count: int = await self.connection.fetchval(_TOMBSTONES, self.key)
        return count

    async def ends(self) -> tuple[int, int]:
        """Head and horizon."""
        [row] = await self.connection.fetch(_ENDS, self.key)
        return row["position"], row["horizon"]

    async def live(self) -> object:
        return await live_records(self.connection, f"old_{self.name}")

    async def purge(self, older_than: str = "30d") -> list[str]:
        """By the command line; what it says."""
        done = await self.command("--entity", self.name, "--older-than", older_than)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    async def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        settings = {"database_url": self._running.dsn, "config": self._running.config}
        return await asyncio.to_thread(favsync, "feed", "purge", *words, **settings)

    async def status_after(self, cursor: str, *, accept: str) -> int:
        """Of a GET that goes on from a cursor, by pages or events. The problem, where it is one, must be ours."""
        url = f"{self.service.url}/feed/{self.name}"
        asked = headers(Accept=accept) | ({"Last-Event-ID": cursor} if accept == EVENTS else {})
        params = {} if accept == EVENTS else {"after": cursor, "limit": "1"}
        async with self.session.get(url, params=params, headers=asked) as answer:
            if answer.status == 410:
                assert answer.content_type == "application/problem+json"
                problem = await answer.json()
                assert problem["type"].endswith("/problems/cursor-expired")
                assert problem["resync"] == f"/feed/{self.name}"
            else:
                assert answer.content_type == accept
            return answer.status


@pytest.fixture
async def feed(running: Running) -> AsyncIterator[Feed]:
    connection = await asyncpg.connect(running.dsn)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session:
        yield Feed(running, connection, session)
    await connection.close()


async def read_on(copy: Copy, *, limit: int) -> int:
    """To the end; gives how many pages it took."""
    for count in itertools.count(1):
        if not await copy.page(limit=limit):
            return count
    raise AssertionError


def items(*numbers: int) -> list[str]:
    return [f"item-{number:04d}" for number in range(*numbers)]


async def test_a_slow_snapshot_is_finished_while_what_it_had_yet_to_read_is_purged(feed: Feed) -> None:
    """And an older cursor is told so, and the way; whoever is told drops what is not there any more."""
    await feed.write(items(MANY + 60), deleted=False)
    before = await feed.whole_copy()
    await feed.write(items(MANY), deleted=True)
    await feed.age_deletions()
    behind = await feed.whole_copy()
    slow = feed.copy()
    for _page in range(2):
        assert await slow.page(limit=7)
    await feed.write(items(MANY, MANY + 10), deleted=True)  # new: some of it the slow one has read as living
    await feed.write(items(5), deleted=False)  # of what is to be purged
    _head, horizon = await feed.ends()
    assert horizon == 0

    said = await feed.purge()
    _head, horizon = await feed.ends()
    assert said == [
        f"removed {MANY - 5} deletions from the feed of {feed.name}",
        f"a reader that had not come to position {horizon} begins anew",
    ]
    assert await feed.tombstones() == 10
    assert slow.position < horizon
    await slow.page(limit=7)
    await feed.write(items(MANY + 10, MANY + 20), deleted=True)
    assert await feed.purge() == ["removed 0 deletions from the feed of " + feed.name, said[1]]
    assert await read_on(slow, limit=7) > 3
    assert (slow.anew, slow.live) == (0, await feed.live())

    await feed.write(items(10), deleted=False)
    await feed.write(items(MANY + 20, MANY + 30), deleted=True)
    for copy, anew in ((slow, 0), (behind, 0), (before, 1)):
        await read_on(copy, limit=1000)
        assert (copy.anew, copy.live) == (anew, await feed.live())
    assert before.dropped == MANY - 10
    assert slow.dropped == behind.dropped == 0


async def test_a_stream_goes_on_through_a_purge_of_what_it_has_seen(feed: Feed) -> None:
    """One that comes back from before it gets 410, as an answer, not as a stream."""
    await feed.write(["a", "b"], deleted=False)
    copy = await feed.whole_copy()
    before = str(copy.cursor)
    stream = asyncio.create_task(copy.hear())
    await feed.write(["a"], deleted=True)

    async def heard(item: str, *, deleted: bool) -> bool:
        if stream.done():
            stream.result()
            raise AssertionError("the stream has ended")
        known = copy.seen.get(Key("ann", item))
        return known is not None and known.deleted == deleted

    await until(lambda: heard("a", deleted=True))
    await feed.age_deletions()
    assert (await feed.purge())[0] == f"removed 1 deletions from the feed of {feed.name}"
    await feed.write(["c"], deleted=False)
    await until(lambda: heard("c", deleted=False))
    assert (await feed.purge("0s"))[0] == f"removed 0 deletions from the feed of {feed.name}"
    await feed.write(["b"], deleted=True)
    await until(lambda: heard("b", deleted=True))
    assert copy.live == await feed.live()
    assert copy.anew == 0
    stream.cancel()
    assert await feed.status_after(before, accept=EVENTS) == 410
    assert await feed.status_after(str(copy.cursor), accept=EVENTS) == 200


async def test_a_cursor_has_ended_exactly_below_the_horizon(feed: Feed) -> None:
    """Or one whose snapshot began below it, wherever it has come to since; and no other."""
    cursors: dict[int, str] = {}  # of readers who are at the end
    begun: dict[int, str] = {}  # of readers who have read one change, by where the feed then ended
    for item, deleted in [("a", False), ("b", False), ("z", False), ("a", True), ("b", True), ("c", False)]:
        await feed.write([item], deleted=deleted)
        whole, first = await feed.whole_copy(), feed.copy()
        await first.page(limit=1)
        cursors[whole.position], begun[whole.position] = str(whole.cursor), str(first.cursor)
        assert (await feed.ends()) == (whole.position, 0)
    await feed.purge("0s")
    head, horizon = await feed.ends()
    assert (sorted(cursors), head, horizon) == ([1, 2, 3, 4, 5, 6], 6, 5)
    for accept in ("application/json", EVENTS):
        for position, cursor in [*cursors.items(), *begun.items()]:
            told = 410 if position < horizon else 200
            assert await feed.status_after(cursor, accept=accept) == told, (position, accept)


async def test_the_records_keep_what_the_feed_forgets(feed: Feed) -> None:
    """So an ADD from a phone that was offline still loses, and a newer one wins, and has a place again."""
    await feed.write(["a", "b"], deleted=False)
    await feed.write(["a", "b"], deleted=True)
    await feed.purge("0s")
    assert await feed.tombstones() == 0
    assert await feed.write(["a"], deleted=False, at_s=0) == {"superseded"}
    assert (await feed.whole_copy()).live == {}
    answer = await asyncio.to_thread(feed.service.request, "GET", f"/sync/{feed.name}")
    assert [(record["item"], record["action"]) for record in answer.content] == [("a", "DELETE"), ("b", "DELETE")]
    head, _horizon = await feed.ends()
    assert head == 4
    assert await feed.write(["a"], deleted=False) == {"applied"}
    copy = await feed.whole_copy()
    assert copy.live.keys() == {Key("ann", "a")}
    assert copy.position == head + 1


async def test_a_purge_that_got_as_far_as_the_horizon_is_run_again(feed: Feed) -> None:
    """Nobody misses anything meanwhile, and then it removes what it did not."""
    await feed.write(["a", "b"], deleted=False)
    before = await feed.whole_copy()
    await feed.write(["a"], deleted=True)
    await feed.connection.execute(purging._HORIZON, feed.key, datetime.now(UTC))
    assert await feed.tombstones() == 1
    await read_on(before, limit=10)
    assert (before.anew, before.dropped, before.live) == (1, 0, await feed.live())
    assert await feed.purge("0s") == [
        f"removed 1 deletions from the feed of {feed.name}",
        "a reader that had not come to position 3 begins anew",
    ]
    assert (await feed.whole_copy()).live == before.live


async def test_only_what_is_old_enough_goes_and_only_from_the_feed_that_is_named(feed: Feed) -> None:
    """By the name it had before, too; and not from that of another tenant."""
    nothing = [f"removed 0 deletions from the feed of {feed.name}"]
    assert await feed.purge("0s") == nothing
    await feed.write(["a", "b"], deleted=False)
    await feed.write(["a"], deleted=True)
    await feed.age_deletions()
    await feed.write(["b"], deleted=True)
    for words in (["--tenant", "other"], ["--older-than", "41d"]):
        done = await feed.command("--entity", feed.name, "--older-than", "30d", *words)
        assert (done.returncode, done.stdout.splitlines()) == (0, nothing)
    assert await feed.tombstones() == 2
    done = await feed.command("--entity", f"old_{feed.name}", "--older-than", "30d")
    assert done.stdout.splitlines()[0] == f"removed 1 deletions from the feed of old_{feed.name}"
    assert await feed.tombstones() == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--entity", "nothing", "--older-than", "30d"], "favsync: --entity: 'nothing' is not declared; there are: "),
        (["--entity", "feed_0", "--older-than", "soon"], "favsync: --older-than: is not a duration such as 90s, "),
        (["--entity", "feed_0", "--older-than", "-1d"], "favsync: --older-than: is not a duration such as 90s, "),
        (["--entity", "feed_0", "--older-than", "9999999999d"], "favsync: "),
    ],
)
async def test_what_cannot_be_purged_is_said_in_one_sentence(feed: Feed, words: list[str], said: str) -> None:
    """Nothing is done then."""
    done = await feed.command(*words)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith(said)
