"""A feed whose database was put together from several times: afterwards it is what the records say."""

import asyncpg
import pytest

from favsync.store import placing, purging
from favsync.store.database import Database
from tests.store.feeds import EVER, change, head, is_all_that_is_recorded, pending, place_all, placed, push

PURGED = frozenset({"purged"})
# One row a record; `SELECT` gives user, entity, item, seq, action_us, deleted and digest.
WAITS = (
    "INSERT INTO feed_pending (user_id, entity, seq, items, seqs, action_us, deleted, digests)"
    " SELECT u, e, s, ARRAY[i], ARRAY[s], ARRAY[a], ARRAY[d], ARRAY[g] FROM ({}) AS w (u, e, i, s, a, d, g)"
)
# What may have happened to tables that stand for different moments; each beside records that were not touched.
TAMPERED = {
    "nothing": "SELECT",
    "the feed is empty": "DELETE FROM feed",
    "there is no head": "DELETE FROM feed_head",
    "neither feed nor head": "DELETE FROM feed; DELETE FROM feed_head",
    "some records are in no feed": "DELETE FROM feed WHERE item IN ('a', 'b')",
    "the feed is older": "UPDATE feed SET seq = seq - 1, action_us = 0, fields = '{}' WHERE NOT deleted",
    "the feed is newer": "UPDATE feed SET seq = seq + 100, action_us = action_us + 100",
    "the feed has another date": "UPDATE feed SET action_us = action_us + 1 WHERE item = 'a'",
    "the feed has another action": "UPDATE feed SET deleted = true WHERE item = 'a'",
    "the feed has another content": "UPDATE feed SET digest = 'x', fields = '{\"x\":1}' WHERE item = 'a'",
    "the feed has records of nobody": "INSERT INTO feed SELECT entity, 'cy', item, position + 1000, seq, action_us,"
    " deleted, digest, fields, placed_at FROM feed WHERE user_id = 'ann'",
    "a feed of no records": "INSERT INTO feed VALUES ('z', 'ann', 'a', 1, 1, 1, false, '', null, now());"
    " INSERT INTO feed_head VALUES ('z', 1, 0)",
    "the head is behind": "UPDATE feed_head SET position = 1",
    "what waits is of nobody": WAITS.format(
        "SELECT 'cy', entity, item, seq, action_us, deleted, digest FROM records WHERE user_id = 'ann'"
    ),
    "what waits is newer": WAITS.format(
        "SELECT user_id, entity, item, seq + 100, action_us + 1, true, ''::bytea FROM records"
    ),
    "what waits is another version": WAITS.format(
        "SELECT user_id, entity, item, seq, action_us + 1, true, ''::bytea FROM records"
    )
    + "; DELETE FROM feed",
    "what waits is older": WAITS.format(
        "SELECT user_id, entity, item, seq - 1, action_us - 1, NOT deleted, ''::bytea FROM records"
    ),
    "what waits is older, and the feed is empty": WAITS.format(
        "SELECT user_id, entity, item, seq - 1, action_us - 1, NOT deleted, ''::bytea FROM records"
        " WHERE item <> 'purged'"
    )
    + "; DELETE FROM feed",
    "what waits is placed already": WAITS.format(
        "SELECT user_id, entity, item, seq, action_us, deleted, digest FROM records"
    ),
    "what one write left is of this history in part": "INSERT INTO feed_pending"
    " (user_id, entity, seq, items, seqs, action_us, deleted, digests)"
    " SELECT user_id, entity, 1000, array_agg(item), array_agg(seq + n % 3), array_agg(action_us), array_agg(deleted),"
    " array_agg(digest) FROM (SELECT *, row_number() OVER (ORDER BY seq) AS n FROM records) r"
    " WHERE item <> 'purged' GROUP BY 1, 2; DELETE FROM feed WHERE item IN ('a', 'b', 'gone')",
}


@pytest.fixture
async def filled(database: Database, connection: asyncpg.Connection) -> asyncpg.Connection:
    """Feeds with what lives, what is deleted, and what was purged."""
    await push(database, change("purged", 10, deleted=True))
    await place_all(connection)
    assert (await purging.purge(connection, "e", EVER)).removed == 1
    for entity in "ef":
        for user in ("ann", "bob"):
            first = [change(item, 10, user=user, entity=entity) for item in "abcd"]
            await push(database, *first, change("gone", 10, user=user, entity=entity, deleted=True))
            await push(database, change("b", 20, user=user, entity=entity))
            await push(database, change("d", 20, user=user, entity=entity, deleted=True))
    await place_all(connection)
    await is_all_that_is_recorded(connection, purged=PURGED)
    return connection


_KNOWN = "SELECT item FROM feed UNION SELECT unnest(items) FROM feed_pending"


async def reconcile(connection: asyncpg.Connection) -> None:
    async with connection.transaction(isolation="read_committed"):
        await placing.reconcile(connection)


@pytest.mark.parametrize("case", TAMPERED)
async def test_the_feed_is_what_the_records_say(filled: asyncpg.Connection, case: str) -> None:
    """Whatever was there. But for deletions of which nothing was: nobody has to be told of those.

    And the second time nothing is left to do.
    """
    records = await filled.fetch("SELECT *, fields::text FROM records ORDER BY 1, 2, 3")
    await filled.execute(TAMPERED[case])
    known = {row["item"] for row in await filled.fetch(_KNOWN)}
    await reconcile(filled)
    assert await filled.fetch("SELECT *, fields::text FROM records ORDER BY 1, 2, 3") == records
    assert await pending(filled) == []
    shown = {row["item"] for row in await filled.fetch("SELECT DISTINCT item FROM feed")}
    deleted = {"gone", "d", "purged"}
    assert {"a", "b", "c"} <= shown <= {"a", "b", "c"} | (known & deleted)
    await _shows_no_more_than_is_recorded(filled)
    if case in ("nothing", "what waits is of nobody", "there is no head", "the head is behind", "the feed is older"):
        await is_all_that_is_recorded(filled, purged=PURGED)
    before = [await filled.fetch(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in ("feed", "feed_head")]
    await reconcile(filled)
    assert [await filled.fetch(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in ("feed", "feed_head")] == before


async def _shows_no_more_than_is_recorded(connection: asyncpg.Connection) -> None:
    """Each record in the feed is at its version, at a place of its own that was given away; all that live are there."""
    wrong = await connection.fetch(
        """
        SELECT entity, user_id, item, r.seq, f.seq, r.deleted, f.deleted
          FROM records r FULL JOIN feed f USING (entity, user_id, item)
         WHERE (NOT r.deleted AND f.seq IS NULL)
            OR (f.seq IS NOT NULL
                AND (r.seq, r.action_us, r.deleted, r.digest, r.fields::text)
                    IS DISTINCT FROM (f.seq, f.action_us, f.deleted, f.digest, f.fields::text))
        """
    )
    assert wrong == []
    assert not await connection.fetch(
        "SELECT FROM feed f LEFT JOIN feed_head h USING (entity) WHERE f.position > coalesce(h.position, 0)"
    )


@pytest.mark.parametrize("count", [0, 1])
async def test_a_deletion_that_was_purged_stays_away(filled: asyncpg.Connection, count: int) -> None:
    """Unless it waits to be placed, as one that was deleted again."""
    if count:
        await filled.execute(
            "UPDATE records SET seq = seq + 100, action_us = 50 WHERE item = 'purged'; "
            + WAITS.format(
                "SELECT user_id, entity, item, seq, action_us, deleted, digest FROM records WHERE item = 'purged'"
            )
        )
    await reconcile(filled)
    assert await filled.fetchval("SELECT count(*) FROM feed WHERE item = 'purged'") == count
    assert await filled.fetchval("SELECT horizon FROM feed_head WHERE entity = 'e'") == 1


async def test_places_are_not_given_away_again(filled: asyncpg.Connection) -> None:
    """What was right keeps its own; what was not goes behind all that were given away, even where the head forgot."""
    before, top = await placed(filled), await head(filled)
    await filled.execute("DELETE FROM feed WHERE item = 'b'; UPDATE feed SET seq = seq + 1 WHERE item = 'a'")
    await filled.execute("UPDATE feed_head SET position = 3")
    remaining = await filled.fetchval("SELECT max(position) FROM feed WHERE entity = 'e' AND item NOT IN ('a', 'b')")
    await reconcile(filled)
    after = await placed(filled)
    kept = {item: position for item, position in before.items() if item not in ("a", "b")}
    assert {item: after[item] for item in kept} == kept
    assert min(after["a"], after["b"]) > remaining
    assert await head(filled) == max(after.values())
    assert top >= remaining
    await is_all_that_is_recorded(filled, purged=PURGED)


async def test_more_than_is_placed_at_once_is_placed_too(database: Database, filled: asyncpg.Connection) -> None:
    count = 2 * placing.CHANGES_MAX + 1
    await push(database, *(change(f"item{number}") for number in range(count)))
    await filled.execute("DELETE FROM feed_pending")
    await reconcile(filled)
    await is_all_that_is_recorded(filled, purged=PURGED)


async def test_numbers_of_changes_are_not_given_away_again(database: Database, filled: asyncpg.Connection) -> None:
    """Where the counters are older than the records: a change with a number that its record has had is never placed."""
    before = {row["user_id"]: row["seq"] for row in await filled.fetch("SELECT * FROM streams")}
    await filled.execute("UPDATE streams SET seq = 1 WHERE user_id = 'ann'; DELETE FROM streams WHERE user_id = 'bob'")
    await reconcile(filled)
    assert {row["user_id"]: row["seq"] for row in await filled.fetch("SELECT * FROM streams")} == before
    await push(database, *(change("a", 90, user=user) for user in before))
    await place_all(filled)
    await is_all_that_is_recorded(filled, purged=PURGED)
