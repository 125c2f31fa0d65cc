"""Purging a feed: old tombstones go, and nothing else; whoever had not seen them is told to begin anew."""

import asyncio

import asyncpg
import pytest

from favsync.core.record import Record
from favsync.store import placing, purging
from favsync.store.database import Database
from favsync.store.purging import TOMBSTONES_AT_ONCE, Purged
from tests.store.feeds import EVER, change, head, is_all_that_is_recorded, pending, place_all, placed, push

# What stands in a feed was placed at one second each, by its position.
TICK = "UPDATE feed SET placed_at = to_timestamp(position)"
HORIZON = "SELECT horizon FROM feed_head WHERE entity = 'e'"


async def fill(database: Database, connection: asyncpg.Connection, *offered: Record) -> None:
    """Each in a second of its own, at the next position."""
    for one in offered:
        await push(database, one)
        await place_all(connection)
    await connection.execute(TICK)


async def purge(connection: asyncpg.Connection, *, before: float) -> Purged:
    """Of what was placed before that second."""
    return await purging.purge(connection, "e", await connection.fetchval("SELECT to_timestamp($1)", before))


def gone(item: str, date: int = 1) -> Record:
    return change(item, date, deleted=True)


async def test_a_feed_that_is_not_there_has_nothing_to_purge(connection: asyncpg.Connection) -> None:
    assert await purging.purge(connection, "e", EVER) == Purged(0, 0, 0)


async def test_a_feed_without_tombstones_is_whole(database: Database, connection: asyncpg.Connection) -> None:
    await fill(database, connection, change("a"), change("b"))
    assert await purging.purge(connection, "e", EVER) == Purged(0, 0, 0)
    assert await connection.fetchval(HORIZON) == 0


@pytest.mark.parametrize(
    ("before", "removed", "left", "horizon"),
    [
        (2, 0, "aBcDE", 0),
        (2.5, 1, "acDE", 2),
        (4, 1, "acDE", 2),
        (4.000001, 2, "acE", 4),
        (5, 2, "acE", 4),
        (6, 3, "ac", 5),
    ],
)
async def test_what_is_old_goes_and_the_horizon_is_its_last(
    database: Database, connection: asyncpg.Connection, *, before: float, removed: int, left: str, horizon: int
) -> None:
    """Capitals are deletions; each stands at the second that its place has for a number."""
    await fill(database, connection, change("a"), gone("B"), change("c"), gone("D"), gone("E"))
    assert await purge(connection, before=before) == Purged(removed, 0, horizon)
    assert "".join(await placed(connection)) == left
    assert await connection.fetchval(HORIZON) == horizon
    assert await head(connection) == 5, "what was given away stays given away"
    assert await connection.fetchval("SELECT count(*) FROM records") == 5, "the records keep theirs"


async def test_the_horizon_never_falls_back(database: Database, connection: asyncpg.Connection) -> None:
    await fill(database, connection, gone("A"), gone("B"), change("c"))
    assert await purge(connection, before=2.5) == Purged(2, 0, 2)
    for before in (0, 1.5, 2.5, 1000):
        assert await purge(connection, before=before) == Purged(0, 0, 2)
    await fill(database, connection, gone("D"))
    assert await purge(connection, before=1000) == Purged(1, 0, 4)


async def test_nothing_goes_beyond_the_horizon(database: Database, connection: asyncpg.Connection) -> None:
    """What was placed after that was raised, however old it may have become: nobody was told that it might go."""
    await fill(database, connection, gone("A"), gone("B"))
    await connection.execute("UPDATE feed_head SET horizon = 1")
    [row] = await connection.fetch("SELECT upto, seen, removed FROM purge('e', $1, 0, 1000)", EVER)
    assert tuple(row) == (1, 1, 1)
    assert await placed(connection) == {"B": 2}


async def test_one_feed_is_purged_and_no_other(database: Database, connection: asyncpg.Connection) -> None:
    await fill(database, connection, gone("A"), change("B", entity="f", deleted=True))
    assert await purging.purge(connection, "e", EVER) == Purged(1, 0, 1)
    assert await placed(connection, "f") == {"B": 1}
    heads = await connection.fetch("SELECT entity, horizon FROM feed_head ORDER BY 1")
    assert [tuple(row) for row in heads] == [("e", 1), ("f", 0)]


async def test_many_go_in_parts(database: Database, connection: asyncpg.Connection) -> None:
    """Some of each part stay, because they have changed."""
    count = 2 * TOMBSTONES_AT_ONCE + 500
    await push(database, *(gone(f"item{number}") for number in range(count)), change("live"))
    await place_all(connection)
    places = await placed(connection)
    again = [item for item, position in places.items() if position % 500 == 0 and item != "live"]
    await push(database, *(change(item, 2) for item in again))
    purged = await purging.purge(connection, "e", EVER)
    tops = [position for item, position in places.items() if item != "live"]
    assert purged == Purged(count - len(again), len(again), max(tops))
    assert set(await placed(connection)) == {"live", *again}


async def test_a_record_that_changes_just_now_keeps_its_tombstone(
    database: Database, connection: asyncpg.Connection
) -> None:
    await fill(database, connection, gone("A"), gone("B"))
    await push(database, change("A", 2))
    assert await purging.purge(connection, "e", EVER) == Purged(1, 1, 2)
    await place_all(connection)
    assert await placed(connection) == {"A": 3}
    await is_all_that_is_recorded(connection, purged=frozenset("B"))


async def test_what_was_placed_and_not_settled_is_not_placed_again_after_a_purge(
    database: Database, connection: asyncpg.Connection
) -> None:
    """A sequencer died between its steps: the tombstone stays, or the next one would place it anew."""
    await push(database, gone("A"))
    await placing.place(connection, "e", EVER)
    assert await purging.purge(connection, "e", EVER) == Purged(0, 1, 1)
    [late] = await place_all(connection)
    assert late.gained == 0
    assert await placed(connection) == {"A": 1}
    assert await purging.purge(connection, "e", EVER) == Purged(1, 0, 1)
    assert (await placed(connection), await pending(connection)) == ({}, [])


async def test_a_record_that_comes_back_after_a_purge_has_a_new_place(
    database: Database, connection: asyncpg.Connection
) -> None:
    await fill(database, connection, gone("A"))
    await purging.purge(connection, "e", EVER)
    await fill(database, connection, change("A", 2))
    assert await placed(connection) == {"A": 2}
    await fill(database, connection, gone("A", 3))
    assert await purging.purge(connection, "e", EVER) == Purged(1, 0, 3)


async def test_a_purge_waits_for_who_places_and_is_waited_for(
    database: Database, connection: asyncpg.Connection, dsn: str
) -> None:
    """Of both only one is at it at a time: the lock of the head."""
    await fill(database, connection, gone("A"))
    purger = await asyncpg.connect(dsn)
    async with connection.transaction(isolation="read_committed"):
        await push(database, change("A", 2))
        await placing.settle(connection, await placing.place(connection, "e", EVER))
        purging_task = asyncio.create_task(purging.purge(purger, "e", EVER))
        async with asyncio.timeout(60):
            while not await connection.fetchval("SELECT cardinality(pg_blocking_pids($1))", purger.get_server_pid()):
                await asyncio.sleep(0.01)
    assert (await purging_task).removed == 0, "it is alive again"
    assert await placed(connection) == {"A": 2}
    await purger.close()
