"""The sequencer, as it runs: what holds up one feed holds up no other, and nothing ends it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import structlog

from favsync import sequencer as module
from favsync.hub import Hub, Topic
from favsync.metrics import Metrics
from favsync.sequencer import Sequencer
from favsync.store import placing
from favsync.store.database import Database
from favsync.store.placing import CHANGES_MAX
from tests.store.feeds import change, is_all_that_is_recorded, pending, placed, push, until

CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'favsync sequencer'"
FAULTY = """
CREATE SEQUENCE attempts;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM nextval('attempts');
  RAISE EXCEPTION 'this entity cannot be placed';
END
$$;
CREATE TRIGGER fail BEFORE INSERT ON feed FOR EACH ROW WHEN (new.entity = 'e') EXECUTE FUNCTION fail();
"""


@pytest.fixture
def hub() -> Hub:
    return Hub()


@contextlib.asynccontextmanager
async def running(database: Database, hub: Hub, *, listen: bool = True) -> AsyncIterator[None]:
    task = asyncio.create_task(Sequencer(database, hub, Metrics(), listen=listen).run())
    yield
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


@contextlib.asynccontextmanager
async def held(dsn: str, entity: str = "e") -> AsyncIterator[None]:
    """Somebody sits on the head of that feed."""
    holder = await asyncpg.connect(dsn)
    async with holder.transaction():
        await holder.execute("SELECT FROM feed_head WHERE entity = $1 FOR UPDATE", entity)
        yield
    await holder.close()


async def settled(connection: asyncpg.Connection) -> bool:
    return not await pending(connection)


async def test_what_is_written_is_placed_told_of_and_settled(
    database: Database, connection: asyncpg.Connection, hub: Hub
) -> None:
    async with running(database, hub):
        with hub.follow(Topic("e")) as feed, hub.follow(Topic("e", "ann")) as anns, hub.follow(Topic("e", "x")) as xs:
            await push(database, change("a"), change("b", entity="f"))
            hub.wrote([])
            assert await feed.beyond(0, wait_s=60)
            assert await anns.beyond(0, wait_s=60)
            assert await placed(connection) == {"a": 1}, "it is told of when it can be read"
            others = xs.number  # before the first look at a feed, all are told
            number = anns.number
            await push(database, change("c"), change("d", user="bob"))
            hub.wrote([])
            assert await anns.beyond(number, wait_s=60)
            assert xs.number == others, "whose records have no new place is not told"
        await until(lambda: settled(connection), "it waits still")
        await is_all_that_is_recorded(connection)


@pytest.mark.parametrize("listen", [True, False])
async def test_what_nobody_tells_of_is_found(
    database: Database, connection: asyncpg.Connection, hub: Hub, *, listen: bool
) -> None:
    """Written by another process, one that died, or by hand."""
    async with running(database, hub, listen=listen):
        for number in range(3):
            await push(database, *(change(f"item{number} {n}") for n in range(CHANGES_MAX // 2 + 1)))
            await until(lambda: settled(connection), "it waits still")
    await is_all_that_is_recorded(connection)


@pytest.mark.parametrize("listen", [True, False])
async def test_what_one_process_places_the_other_tells_of(
    database: Database, connection: asyncpg.Connection, *, listen: bool
) -> None:
    """Whoever of the two is faster."""
    writer, reader = Hub(), Hub()
    async with running(database, writer, listen=listen), running(database, reader, listen=listen):
        with reader.follow(Topic("e")) as feed, reader.follow(Topic("e", "ann")) as anns:
            for number in range(5):
                feed_was, anns_was = feed.number, anns.number
                await push(database, change(f"item{number}"))
                writer.wrote([Topic("e", "ann")])
                assert await feed.beyond(feed_was, wait_s=60)
                assert await anns.beyond(anns_was, wait_s=60)
                assert f"item{number}" in await placed(connection)


async def test_a_hint_is_sent_only_where_something_was_placed(
    database: Database, connection: asyncpg.Connection, hub: Hub
) -> None:
    """At most one a tick. Where nothing was, nobody is woken."""
    heard: list[str] = []

    def hear(_connection: object, _pid: int, channel: str, _payload: object) -> None:
        heard.append(channel)

    async def in_all(count: int) -> bool:
        return len(heard) >= count

    await connection.add_listener(placing.CHANNEL, hear)
    async with running(database, hub):
        await push(database, change("a"), change("b", entity="f"))
        hub.wrote([])
        await until(lambda: in_all(1), "no hint")
        hub.wrote([])
        await until(lambda: asyncio.sleep(0, not hub.woken.is_set()), "it does not look")
        await push(database, change("c"))
        hub.wrote([])
        await until(lambda: in_all(2), "no hint")
        assert heard == [placing.CHANNEL] * 2
    await connection.remove_listener(placing.CHANNEL, hear)


async def test_a_feed_that_somebody_holds_stops_no_other(
    database: Database, connection: asyncpg.Connection, hub: Hub, dsn: str
) -> None:
    """Also where so much of it waits that a look sees nothing else."""
    await connection.execute("INSERT INTO feed_head VALUES ('e', 0, 0), ('f', 0, 0)")
    await push(database, *(change(f"item{number}") for number in range(CHANGES_MAX + 500)))

    async def is_placed(item: str) -> bool:
        return item in await placed(connection, "f")

    async with running(database, hub):
        async with held(dsn):
            for number in range(3):
                await push(database, change(f"item{number}", entity="f"))
                hub.wrote([])
                await until(lambda: is_placed(f"item{number}"), "it is held up")  # noqa: B023 -- awaited here
            assert await placed(connection) == {}
        await until(lambda: settled(connection), "it does not go on")
    await is_all_that_is_recorded(connection)


async def test_a_feed_that_cannot_be_placed_stops_no_other_and_is_told_of_once(
    database: Database, connection: asyncpg.Connection, hub: Hub
) -> None:
    await connection.execute(FAULTY)

    async def tries(count: int) -> bool:
        return bool(await connection.fetchval("SELECT last_value >= $1 FROM attempts", count))

    async def is_placed(item: str) -> bool:
        return item in await placed(connection, "f")

    with structlog.testing.capture_logs() as logs:
        async with running(database, hub):
            await push(database, change("a"), change("a", entity="f"))
            await until(lambda: is_placed("a"), "it is held up")
            await until(lambda: tries(4), "it is not tried again")
            await push(database, change("b", entity="f"))
            await until(lambda: is_placed("b"), "it is held up")
            assert _told(logs, "nothing can be placed in a feed") == [{"entity": "e", "log_level": "error"}]
            await connection.execute("ALTER TABLE feed DISABLE TRIGGER fail")
            await until(lambda: settled(connection), "it does not go on")
            await connection.execute("ALTER TABLE feed ENABLE TRIGGER fail")
            await push(database, change("c"))
            tried = await connection.fetchval("SELECT last_value FROM attempts")
            await until(lambda: tries(tried + 3), "it is not tried again")
    assert len(_told(logs, "nothing can be placed in a feed")) == 2, "once each time that it begins"


def _told(logs: list[Any], event: str) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in entry.items() if name not in ("event", "exc_info")}
        for entry in logs
        if entry["event"] == event
    ]


async def test_a_connection_that_is_cut_is_replaced(
    database: Database, connection: asyncpg.Connection, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.1)

    async def cut() -> bool:
        return bool(await connection.fetch(CUT))

    with structlog.testing.capture_logs() as logs:

        async def went_on(times: int) -> bool:
            return len(_told(logs, "the feeds go on")) == times

        async with running(database, hub):
            for number in range(3):
                await until(cut, "there is no connection")
                await push(database, change(f"item{number}"))
                await until(lambda: settled(connection), "it waits still")
                await until(lambda: went_on(number + 1), "it is not said")  # noqa: B023 -- awaited here
    events = [entry["event"] for entry in logs if entry["event"].startswith("the ")]
    assert events == ["the feeds stand still", "the feeds go on"] * 3, "each is said once, in turn"
    await is_all_that_is_recorded(connection)


async def test_a_fault_of_its_own_does_not_end_it(
    database: Database, connection: asyncpg.Connection, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, and a while later it begins again."""
    monkeypatch.setattr(module, "FAILED_S", 0.1)
    heads = placing.heads
    calls = 0

    async def fails_at_first(own: asyncpg.Connection) -> dict[str, int]:
        nonlocal calls
        calls += 1
        if calls <= 2:
            raise LookupError
        return await heads(own)

    monkeypatch.setattr(placing, "heads", fails_at_first)
    with structlog.testing.capture_logs() as logs:
        async with running(database, hub):
            await push(database, change("a"))
            await until(lambda: settled(connection), "it waits still")
            await until(lambda: asyncio.sleep(0, calls > 2), "it does not begin again")
    assert len(_told(logs, "the sequencer failed, and begins again")) == 2


async def test_before_the_database_was_reached_it_waits(hub: Hub) -> None:
    database = Database(pool_size=1)
    with structlog.testing.capture_logs() as logs:
        async with running(database, hub):
            await asyncio.sleep(0.2)
    assert logs == []
