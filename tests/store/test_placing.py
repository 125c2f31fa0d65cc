"""How changes get their places in a feed: each record once, at its latest version, whoever else is at it."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Literal

import asyncpg
import pytest

from favsync.core.errors import LockTimeout
from favsync.core.record import Key, Record, Version
from favsync.store import feed, placing
from favsync.store.database import Database
from favsync.store.placing import CHANGES_MAX
from tests.store.feeds import EVER, change, head, is_all_that_is_recorded, pending, place_all, placed, push

SEED = 20170502
# As many writes of one change each, all at one instant.
SINGLY = """
INSERT INTO feed_pending (user_id, entity, seq, items, seqs, action_us, deleted, digests)
SELECT 'ann', 'e', n, ARRAY['item' || n], ARRAY[n], '{1}', '{f}', ARRAY[''::bytea] FROM generate_series(1, $1::int) n"""
LOCK_HEAD = "SELECT FROM feed_head WHERE entity = 'e' FOR UPDATE"


@pytest.fixture
async def sequencer(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A connection with the settings that a sequencer's has."""
    async with database.dedicated("favsync sequencer") as opened:
        yield opened


@pytest.fixture
async def another(database: Database) -> AsyncIterator[asyncpg.Connection]:
    async with database.dedicated("favsync sequencer") as opened:
        yield opened


async def test_what_was_written_gets_the_next_places(database: Database, sequencer: asyncpg.Connection) -> None:
    """Of each entity its own, by when it was written; and waits until it is settled."""
    assert await placing.waiting(sequencer) == []
    for item in "cab":
        await push(database, change(item), change(item, entity="f", user="bob"))
    assert {one.entity for one in await placing.waiting(sequencer)} == {"e", "f"}
    [_, (entity, until, _)] = sorted(await placing.waiting(sequencer))
    done = await placing.place(sequencer, entity, until)
    assert (done.entity, done.users) == ("f", ["bob"] * 3)
    assert (done.seqs, done.gained, done.head, done.more) == ([1, 2, 3], 3, 3, False)
    assert await placed(sequencer, "f") == {"c": 1, "a": 2, "b": 3}
    assert len(await pending(sequencer)) == 6
    await placing.settle(sequencer, done)
    assert len(await pending(sequencer)) == 3
    assert [one.entity for one in await placing.waiting(sequencer)] == ["e"]
    assert await placing.waiting(sequencer, ["e"]) == []
    await place_all(sequencer)
    assert await placing.heads(sequencer) == {"e": 3, "f": 3}
    await is_all_that_is_recorded(sequencer)


async def test_a_place_has_all_that_the_record_has(
    database: Database, sequencer: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    version = Version(7, False, b"\x00digest")
    await push(
        database,
        Record(Key("ann", "e", "a/b \u00fc"), version, b'{"n":1e+30,"a":"\\u001f"}'),
        change("b", 8, deleted=True),
    )
    await place_all(sequencer)
    page = await feed.page(database, "e", 0, limit=10)
    assert (page.head, page.horizon, page.more) == (2, 0, False)
    assert sorted(page.changes, key=lambda one: one.item) == [
        (page.changes[0].position, "ann", "a/b \u00fc", 7, False, '{"n":1e+30,"a":"\\u001f"}'),
        (page.changes[1].position, "ann", "b", 8, True, None),
    ]
    assert await connection.fetchval("SELECT digest FROM feed WHERE item LIKE 'a%'") == b"\x00digest"
    assert await connection.fetchval("SELECT bool_and(placed_at BETWEEN now() - interval '1 min' AND now()) FROM feed")


async def test_of_a_record_that_changed_often_the_last_version_is_placed(
    database: Database, sequencer: asyncpg.Connection
) -> None:
    await push(database, change("x"))
    await place_all(sequencer)
    for date in range(1, 5):
        await push(database, change("a", date, deleted=date == 4))
        await push(database, change("b", date))
    await push(database, change("x", 2))
    [done] = await place_all(sequencer)
    assert (len(done.seqs), done.gained, done.head) == (9, 3, 4)
    assert set((await placed(sequencer)).values()) == {2, 3, 4}, "and x is no longer at 1"
    assert await pending(sequencer) == []
    await is_all_that_is_recorded(sequencer)


async def test_placing_again_changes_nothing(database: Database, sequencer: asyncpg.Connection) -> None:
    """As after a crash before the first had settled: that what it placed waits still does no harm."""
    await push(database, change("a"), change("b", deleted=True))
    await push(database, change("a", 2))
    assert await pending(sequencer) == [("a", 1), ("a", 3), ("b", 2)]
    first = await placing.place(sequencer, "e", EVER)
    before = await placed(sequencer)
    again = await placing.place(sequencer, "e", EVER)
    assert (first.gained, again.gained) == (2, 0)
    assert (first.head, again.head, await head(sequencer)) == (2, 2, 2)
    assert sorted(again.seqs) == [2, 3]
    assert await placed(sequencer) == before
    await push(database, change("c"))
    third = await placing.place(sequencer, "e", EVER)
    assert third.gained == 1
    assert await placed(sequencer) == before | {"c": third.head}, "with a gap before it, for there are no promises"
    await placing.settle(sequencer, again)
    assert await pending(sequencer) == [("c", 4)], "exactly what was named waits no longer"


async def test_an_old_version_that_waits_still_takes_nobodys_place(
    database: Database, sequencer: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    """The newer one was placed by another, which had not seen the older."""
    await push(database, change("a", 1))
    await push(database, change("a", 2))
    await connection.execute("CREATE TABLE kept AS SELECT * FROM feed_pending")
    await connection.execute("DELETE FROM feed_pending WHERE seq = 1")
    await place_all(sequencer)
    await connection.execute("INSERT INTO feed_pending SELECT * FROM kept WHERE seq = 1")
    [late] = await place_all(sequencer)
    assert (late.seqs, late.gained, late.head) == ([1], 0, 1)
    await is_all_that_is_recorded(sequencer)


async def test_more_than_fits_is_placed_in_parts(sequencer: asyncpg.Connection, connection: asyncpg.Connection) -> None:
    """Also what was written at one instant."""
    count = 2 * CHANGES_MAX + 500
    await connection.execute(SINGLY, count)
    [(_, until, number)] = await placing.waiting(sequencer)
    assert number == CHANGES_MAX
    sizes = []
    while (done := await placing.place(sequencer, "e", until)).users:
        sizes.append((len(done.users), done.gained, done.more))
        await placing.settle(sequencer, done)
    assert sizes == [(CHANGES_MAX, CHANGES_MAX, True), (CHANGES_MAX, CHANGES_MAX, True), (500, 500, False)]
    assert sorted((await placed(sequencer)).values()) == list(range(1, count + 1))
    assert await head(sequencer) == count


async def test_only_what_was_there_when_one_looked_is_placed(database: Database, sequencer: asyncpg.Connection) -> None:
    """So that one entity under load does not keep the others waiting."""
    await push(database, change("a"))
    [(_, until, _)] = await placing.waiting(sequencer)
    await push(database, change("b"))
    assert (await placing.place(sequencer, "e", until - timedelta(microseconds=1))).users == []
    assert (await placing.place(sequencer, "e", until)).seqs == [1]
    assert await placed(sequencer) == {"a": 1}


async def test_the_oldest_are_looked_at_first(
    database: Database, sequencer: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    await connection.execute(SINGLY, CHANGES_MAX)
    await push(database, change("later", entity="f", user="bob"))
    assert [one.entity for one in await placing.waiting(sequencer)] == ["e"]
    assert [one.entity for one in await placing.waiting(sequencer, ["e"])] == ["f"], "unless that one is passed over"
    await connection.execute("UPDATE feed_pending SET written_at = now() + interval '1 s' WHERE seq = 1")
    assert {one.entity for one in await placing.waiting(sequencer)} == {"e", "f"}


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
async def test_in_a_transaction_that_sees_the_past_nothing_is_placed(
    database: Database, sequencer: asyncpg.Connection, isolation: Literal["repeatable_read", "serializable"]
) -> None:
    """It would not see what another has placed and settled while this one waited for the lock."""
    await push(database, change("a"))
    with pytest.raises(asyncpg.RaiseError, match=r"^place\(\) must see what was committed while it waited"):
        async with sequencer.transaction(isolation=isolation):
            await placing.place(sequencer, "e", EVER)
    assert await placed(sequencer) == {}


async def test_a_place_is_kept_where_commits_are_not_waited_for(
    database: Database, sequencer: asyncpg.Connection
) -> None:
    """As a setting of the database may have it: a position that was seen must not be given away again after a crash."""
    await push(database, change("a"))
    for setting, becomes in (("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")):
        await sequencer.execute(f"SET synchronous_commit = '{setting}'")
        async with sequencer.transaction(isolation="read_committed"):
            await placing.place(sequencer, "e", EVER)
            assert await sequencer.fetchval("SELECT current_setting('synchronous_commit')") == becomes


async def test_who_waits_for_the_lock_sees_what_was_done_meanwhile(
    database: Database, sequencer: asyncpg.Connection, another: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    """What the other has placed and settled is not placed again; not even where a purge has removed it since."""
    await push(database, change("a", deleted=True))
    await another.execute("SET lock_timeout = '60s'")
    async with connection.transaction(isolation="read_committed"):
        await connection.execute("INSERT INTO feed_head VALUES ('e', 0, 0)")
        late = asyncio.create_task(placing.place(another, "e", EVER))
        await _waits_for_a_lock(sequencer, another)
        await placing.settle(connection, await placing.place(connection, "e", EVER))
        await connection.execute("DELETE FROM feed")
    done = await late
    assert (done.users, done.gained, done.head) == ([], 0, 1)
    assert await placed(sequencer) == {}


async def _waits_for_a_lock(onlooker: asyncpg.Connection, who: asyncpg.Connection) -> None:
    async with asyncio.timeout(60):
        while not await onlooker.fetchval("SELECT cardinality(pg_blocking_pids($1))", who.get_server_pid()):
            await asyncio.sleep(0.01)


async def test_a_head_that_is_held_is_waited_for_a_moment_only(
    database: Database, sequencer: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    await push(database, change("a"), change("b", entity="f"))
    await connection.execute("INSERT INTO feed_head VALUES ('e', 0, 0)")
    async with connection.transaction():
        await connection.execute(LOCK_HEAD)
        with pytest.raises(LockTimeout):
            await placing.place(sequencer, "e", EVER)
        assert (await placing.place(sequencer, "f", EVER)).gained == 1
    assert (await placing.place(sequencer, "e", EVER)).gained == 1


async def test_several_sequencers_place_each_version_once(
    database: Database, sequencer: asyncpg.Connection, another: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    """They race for every batch while others write; some stop before they settle."""
    writing = True
    gained = [0, 0]

    async def sequence(number: int, own: asyncpg.Connection) -> None:
        chance = random.Random(SEED + number)
        while writing or await placing.waiting(own):
            for entity, until, _ in await placing.waiting(own):
                try:
                    done = await placing.place(own, entity, until)
                except LockTimeout:
                    continue
                gained[number] += done.gained
                if chance.random() < 0.8:
                    await placing.settle(own, done)
            await asyncio.sleep(0)

    async def write(number: int) -> None:
        chance = random.Random(SEED * 10 + number)
        for date in range(60):
            names = chance.sample(["a", "b", "c", "d", "f"], 3)
            user, entity = chance.choice(["ann", "bob"]), chance.choice("ef")
            await push(
                database,
                *(change(name, date, user=user, entity=entity, deleted=chance.random() < 0.3) for name in names),
            )

    sequencing = [asyncio.create_task(sequence(*one)) for one in enumerate((sequencer, another))]
    await asyncio.gather(*map(write, range(4)))
    writing = False
    await asyncio.gather(*sequencing)
    await is_all_that_is_recorded(connection)
    assert await pending(connection) == []
    assert min(gained) > 0, "both had something to do"
    assert sum(gained) <= sum((await placing.heads(connection)).values())


async def test_whose_records_have_a_new_place(database: Database, sequencer: asyncpg.Connection) -> None:
    assert await placing.owners(sequencer, "e", 0, most=5) == set()
    await push(database, change("a", user="ann"), change("b", user="bob"), change("c", user="ann", entity="f"))
    await place_all(sequencer)
    assert await placing.owners(sequencer, "e", 0, most=5) == {"ann", "bob"}
    before = await head(sequencer)
    assert await placing.owners(sequencer, "e", before, most=5) == set()
    await push(database, change("b", 2, user="bob"))
    await place_all(sequencer)
    assert await placing.owners(sequencer, "e", before, most=5) == {"bob"}
    await push(database, *(change("x", user=f"user{number}") for number in range(5)))
    await place_all(sequencer)
    assert len(await placing.owners(sequencer, "e", before + 1, most=5) or ()) == 5
    assert await placing.owners(sequencer, "e", before, most=5) is None, "too many to be told by name"


async def test_one_owner_with_many_changes_hides_no_other(database: Database, sequencer: asyncpg.Connection) -> None:
    """Either all are told by name, or it is said that they are not."""
    for number in range(8):
        await push(database, change(f"item{number}", user="ann"))
    await push(database, change("last", user="bob"))
    await place_all(sequencer)
    for most in range(1, 10):
        assert await placing.owners(sequencer, "e", 0, most=most) in (None, {"ann", "bob"}), most


async def test_what_is_told_fits_into_a_socket_however_long_the_names(
    database: Database, sequencer: asyncpg.Connection
) -> None:
    """PostgreSQL sends it before it commits: more would let one who has stopped reading keep the lock."""
    long = "\U0001f600" * 255
    for number in range(100):
        await push(database, change(f"{number:03}{long[3:]}", user=f"main/main/{long}"))
    [(_, until, number)] = await placing.waiting(sequencer)
    assert number == 100
    done = await placing.place(sequencer, "e", until)
    assert 0 < sum(len(user.encode()) for user in done.users) <= 49152
    assert done.more
    await placing.settle(sequencer, done)
    await place_all(sequencer)
    await is_all_that_is_recorded(sequencer)


async def test_large_fields_are_placed_in_smaller_parts(database: Database, sequencer: asyncpg.Connection) -> None:
    large = b'{"x":"%b"}' % (b"x" * 60_000)
    offered = [Record(Key("ann", "e", f"item{number}"), Version(1, False, b"d"), large) for number in range(200)]
    for begin in range(0, 200, 20):
        await push(database, *offered[begin : begin + 20])
    parts = await place_all(sequencer)
    assert [part.gained for part in parts] == [120, 80]
    assert 120 * len(large) <= 8 * 1024**2 < 140 * len(large)
    await is_all_that_is_recorded(sequencer)
