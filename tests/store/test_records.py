"""The one statement that writes, against the law that it restates."""

import asyncio
import random
import time
from collections.abc import Sequence

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from favsync.core import fields
from favsync.core.errors import LockTimeout
from favsync.core.merge import merge
from favsync.core.record import Key, Record, Version
from favsync.store import bounded, records
from favsync.store.database import Database
from tests.core.strategies import texts, versions

DIGESTS = [b"", b"\x00", b"\x00\x00", b"\x01", b"\x7f", b"\x80", b"\xff"]


def record(user: str, item: str, version: Version, entity: str = "e") -> Record:
    return Record(Key(user, entity, item), version)


async def push(database: Database, *offered: Record, item_limit: int | None = None) -> list[records.Seen]:
    return await records.push(database, offered, [item_limit] * len(offered))


async def read(database: Database, user: str, entity: str) -> list[str]:
    """The items of a user's whole list."""
    listing = await records.read(database, user, [entity], [""], 10_000)
    assert not listing.more
    return [row.item for row in listing.rows]


async def stored(connection: asyncpg.Connection) -> dict[Key, Version]:
    rows = await connection.fetch("SELECT user_id, entity, item, action_us, deleted, digest FROM records")
    return {Key(*row[:3]): Version(*row[3:]) for row in map(tuple, rows)}


async def test_sql_and_python_agree_on_every_pair(database: Database, connection: asyncpg.Connection) -> None:
    """12,000 random pairs from a world so small that each kind of tie comes hundreds of times."""
    chance = random.Random(20170502)

    def any_version() -> Version:
        return Version(chance.randrange(4), chance.random() < 0.5, chance.choice(DIGESTS))

    pairs = [(any_version(), any_version()) for _ in range(12_000)]
    ties = sum(one[0] == other[0] and one != other for one, other in pairs)
    assert ties > 2000
    assert sum(one == other for one, other in pairs) > 100
    for chunk in range(0, len(pairs), 1000):
        numbered = [(str(number), pair) for number, pair in enumerate(pairs)][chunk : chunk + 1000]
        await push(database, *(record(f"u{int(item) % 7}", item, first) for item, (first, _) in numbered))
        seen = await push(database, *(record(f"u{int(item) % 7}", item, second) for item, (_, second) in numbered))
        assert [what.version for what in seen] == [first for _, (first, _) in numbered]
    standing = await stored(connection)
    for number, (first, second) in enumerate(pairs):
        assert standing[Key(f"u{number % 7}", "e", str(number))] == merge(first, second)[1], (first, second)


histories = st.lists(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ef"), st.sampled_from("xyz"), versions), max_size=4),
    max_size=6,
)


async def test_histories_end_where_the_law_says(database: Database, connection: asyncpg.Connection) -> None:
    """Batches over several users and entities: state, seq and what is pending, after each."""
    run = 0

    async def check(history: list[list[tuple[str, str, str, Version]]]) -> None:
        nonlocal run
        run += 1
        model: dict[Key, Version] = {}
        seqs: dict[str, int] = {}
        pending = 0
        for batch in history:
            offered = {Key(f"{run}{u}", entity, item): version for u, entity, item, version in batch}
            seen = await push(database, *(Record(key, version) for key, version in offered.items()))
            assert [what.version for what in seen] == [model.get(key) for key in offered]
            for key, version in offered.items():
                before = model.get(key)
                model[key] = merge(before, version)[1]
                if model[key] != before:
                    seqs[key.user] = seqs.get(key.user, 0) + 1
                    pending += 1
        for user in (f"{run}a", f"{run}b"):
            assert (await records.latest_seqs(database, [user]))[user] == seqs.get(user, 0)
            mine = {key: version for key, version in model.items() if key.user == user}
            rows = await connection.fetch(
                "SELECT entity, item, action_us, deleted, digest, seq FROM records WHERE user_id = $1", user
            )
            assert {Key(user, *row[:2]): Version(*row[2:5]) for row in map(tuple, rows)} == mine
            assert len({row["seq"] for row in rows}) == len(rows)
            assert max((row["seq"] for row in rows), default=0) == seqs.get(user, 0)
        count = "SELECT coalesce(sum(cardinality(items)), 0) FROM feed_pending WHERE user_id = ANY ($1)"
        assert await connection.fetchval(count, [f"{run}a", f"{run}b"]) == pending

    loop = asyncio.get_running_loop()

    @settings(max_examples=60)
    @given(histories)
    def search(history: list[list[tuple[str, str, str, Version]]]) -> None:
        asyncio.run_coroutine_threadsafe(check(history), loop).result()

    await asyncio.to_thread(search)
    assert run > 20


async def test_what_changes_nothing_leaves_no_trace(database: Database, connection: asyncpg.Connection) -> None:
    await push(database, record("ann", "x", Version(5, False)), record("bob", "x", Version(5, True)))
    traces = "SELECT (SELECT array_agg(s ORDER BY s) FROM (SELECT ctid::text, xmin::text, s.* FROM streams s) s)::text,"
    traces += " (SELECT array_agg(r ORDER BY r.user_id) FROM (SELECT ctid::text, xmin::text, r.user_id FROM records r) r)::text,"  # noqa: E501
    traces += " (SELECT count(*) FROM feed_pending)"
    before = await connection.fetchrow(traces)
    for _ in range(3):
        await push(database, record("ann", "x", Version(5, False)), record("bob", "x", Version(4, False)))
    assert await connection.fetchrow(traces) == before


async def test_full_versions_wait_for_the_feed(database: Database, connection: asyncpg.Connection) -> None:
    content = fields.canonical({"text": "ü", "n": 1.0})
    version = Version(7, False, fields.digest(content))
    await records.push(database, [Record(Key("ann", "notes", "x"), version, content)], [None])
    row = await connection.fetchrow("SELECT *, fields[1]::text AS text FROM feed_pending")
    assert row is not None
    assert (row["user_id"], row["entity"], row["items"], row["seqs"], row["seq"]) == ("ann", "notes", ["x"], [1], 1)
    assert [Version(*one) for one in zip(row["action_us"], row["deleted"], row["digests"], strict=True)] == [version]
    assert row["text"].encode() == content
    assert await connection.fetchval("SELECT fields::text FROM records") == content.decode()


async def test_the_item_limit_holds_in_the_order_of_arrival(database: Database) -> None:
    def ann(*items: str) -> list[Record]:
        return [record("ann", item, Version(len(items), False)) for item in items]

    async def refused(offered: Sequence[Record]) -> list[bool]:
        return [seen.refused for seen in await records.push(database, offered, [3] * len(offered))]

    assert await refused([*ann("a", "b"), record("bob", "a", Version(1, False))]) == [False, False, False]
    assert await refused(ann("b", "z", "y", "a", "x")) == [False, False, True, False, True]
    seq = (await records.latest_seqs(database, ["ann"]))["ann"]
    assert await refused([record("ann", "y", Version(9, True))]) == [True]
    assert (await records.latest_seqs(database, ["ann"]))["ann"] == seq, "nothing changed"
    assert await refused([record("ann", "y", Version(9, True), entity="other")]) == [False]
    assert await read(database, "ann", "e") == ["a", "b", "z"]
    eve = [record("eve", item, Version(1, False)) for item in "abcd"]
    assert await refused(eve) == [False, False, False, True]
    assert await refused(eve[::-1]) == [True, False, False, False], "who was refused leaves no room"


async def test_the_longest_names_fit(database: Database) -> None:
    user = "main/main/" + "\U0001f600" * 255
    for number in range(30):  # so that the index has pages to split
        item = f"{number:02d}" + "\U0010ffff" * 253
        await push(database, record(user, item, Version(1, False), entity="main/favorites"))
    assert len(await read(database, user, "main/favorites")) == 30
    assert (await records.latest_seqs(database, [user]))[user] == 30


async def test_items_come_in_the_order_of_their_code_points(database: Database) -> None:
    items = ["a", "B", "ä", "Z", "_", "\U0001f600", "\uffee", "10", "9", "a b", "ab"]
    await push(database, *(record("ann", item, Version(1, False)) for item in items))
    assert await read(database, "ann", "e") == sorted(items)


async def test_changes_since(database: Database) -> None:
    await push(database, record("ann", "a", Version(1, False)), record("ann", "b", Version(1, False)))
    await push(database, record("ann", "a", Version(2, True)), record("ann", "a", Version(1, False), entity="other"))
    changed = records.Row("e", "a", 2, True, None, 3)
    assert await records.changes(database, "ann", ["e"], 2, 9) == (4, [changed], False)
    other = records.Row("other", "a", 1, False, None, 4)
    assert await records.changes(database, "ann", ["e", "other"], 2, 9) == (4, [changed, other], False)
    assert await records.changes(database, "ann", ["e", "other"], 2, 1) == (4, [changed], True)
    assert await records.changes(database, "ann", ["e"], 4, 9) == (4, [], False)
    assert await records.read(database, "ann", ["nothing"], [""], 9) == (4, [], False)
    assert await records.read(database, "nobody", ["e"], [""], 9) == (0, [], False)


async def test_what_is_large_comes_in_parts(database: Database) -> None:
    """However many rows are asked for, an answer holds some 8 MiB of fields; and many small rows come all at once."""
    large = fields.canonical({"text": "\U0001f600" * 16_250})
    for begin in range(0, 160, 40):
        offered = [
            Record(Key("ann", f"e{number % 2}", f"i{number:03d}"), Version(1, False, fields.digest(large)), large)
            for number in range(begin, begin + 40)
        ]
        await push(database, *offered)
    small = [record("bob", f"i{number:04d}", Version(number, False), entity="e0") for number in range(3000)]
    for begin in range(0, 3000, 1000):
        await push(database, *small[begin : begin + 1000])

    seen, behind = [], ["", ""]
    while True:
        listing = await records.read(database, "ann", ["e0", "e1"], behind, 10_000)
        assert sum(len((row.fields or "").encode()) for row in listing.rows) <= bounded.FIELDS_BYTES_MAX
        seen += listing.rows
        last = seen[-1]
        behind = [last.item, ""] if last.entity == "e0" else ["\U0010ffff", last.item]
        if not listing.more:
            break
        assert len(listing.rows) > 100
    assert [(row.entity, row.item) for row in seen] == sorted((f"e{n % 2}", f"i{n:03d}") for n in range(160))

    listing = await records.read(database, "bob", ["e0"], [""], 10_000)
    assert ([row.item for row in listing.rows], listing.more) == ([one.key.item for one in small], False)
    listing = await records.read(database, "bob", ["e0"], ["i0099"], 2000)
    assert (listing.rows[0].item, listing.rows[-1].item, listing.more) == ("i0100", "i2099", True)
    assert len((await records.changes(database, "bob", ["e0"], 500, 10_000)).rows) == 2500
    listing = await records.changes(database, "bob", ["e0"], 500, 2499)
    assert (len(listing.rows), listing.rows[-1].seq, listing.more) == (2499, 2999, True)


async def test_an_answer_that_is_full_to_the_last_character_has_more_behind_it(database: Database) -> None:
    largest = fields.canonical({"text": "x" * (fields.BYTES_MAX - len('{"text":""}'))})
    full = bounded.FIELDS_BYTES_MAX // len(largest)
    assert full * len(largest) == bounded.FIELDS_BYTES_MAX
    version = Version(1, False, fields.digest(largest))
    offered = [Record(Key("ann", "e", f"i{number:04d}"), version, largest) for number in range(full)]
    for begin in range(0, full, 32):
        await push(database, *offered[begin : begin + 32])
    await push(database, *(record("ann", f"j{number:04d}", Version(1, True)) for number in range(1000)))
    listing = await records.read(database, "ann", ["e"], [""], 10_000)
    assert (len(listing.rows), listing.more) == (full + 1000, False), "what weighs nothing goes along"
    one_more = Record(Key("ann", "e", "k"), Version(2, False, fields.digest(b"{}")), b"{}")
    await push(database, one_more)
    for listing in (
        await records.read(database, "ann", ["e"], [""], 10_000),
        await records.changes(database, "ann", ["e"], 0, 10_000),
    ):
        assert (listing.rows[-1].item, len(listing.rows), listing.more) == ("j0999", full + 1000, True)


async def test_64_writers_never_deadlock_and_lose_nothing(database: Database, connection: asyncpg.Connection) -> None:
    """Each offers batches over the same few users, in an order of its own."""
    chance = random.Random(7)
    offers: list[list[Record]] = []
    for number in range(64):
        keys = [Key(f"u{user}", "e", f"i{item}") for user in range(6) for item in range(3)]
        chance.shuffle(keys)
        offers.append([Record(key, Version(chance.randrange(100), number % 2 == 0)) for key in keys[:9]])

    async def write(offer: list[Record]) -> None:
        for _ in range(20):
            try:
                await records.push(database, offer, [10] * len(offer))
            except LockTimeout as error:  # a queue of 64 may take longer than the limit; a deadlock is a fault
                if isinstance(error.__cause__, asyncpg.DeadlockDetectedError):
                    raise
            else:
                return
        raise AssertionError("never stored")

    await asyncio.gather(*map(write, offers))
    expected: dict[Key, Version] = {}
    for offer in offers:
        for each in offer:
            expected[each.key] = merge(expected.get(each.key), each.version)[1]
    assert await stored(connection) == expected
    rows = await connection.fetch(
        "SELECT s.seq, max(r.seq) AS top, count(DISTINCT r.seq) = count(*) AS apart"
        " FROM streams s JOIN records r USING (user_id) GROUP BY s.user_id, s.seq"
    )
    assert all(row["seq"] == row["top"] and row["apart"] for row in rows)


async def test_of_the_same_push_many_times_at_once_only_one_leaves_a_trace(
    database: Database, connection: asyncpg.Connection
) -> None:
    """Each looks before any of them has committed, and so takes numbers; all but one must give them back."""
    for turn in range(10):
        same = [record(f"u{user}", f"i{turn}", Version(turn, False)) for user in range(4)]
        await asyncio.gather(*(push(database, *same) for _ in range(8)))
        assert await connection.fetchval("SELECT array_agg(DISTINCT seq) FROM streams") == [turn + 1]
    assert await connection.fetchval("SELECT count(*) FROM feed_pending") == 40


async def test_a_thousand_users_in_one_push(database: Database, connection: asyncpg.Connection) -> None:
    """A backend's batch, in no order: receipts by place, a stream each, and no pair of arrays compared."""
    chance = random.Random(1)
    offered = [record(f"u{number}", "x", Version(number, False)) for number in range(1000)]
    chance.shuffle(offered)
    assert {seen.version for seen in await push(database, *offered)} == {None}
    newer = [
        record(each.key.user, "x", Version(each.version.action_us + number % 2, False))
        for number, each in enumerate(offered)
    ]
    began = time.monotonic()
    seen = await push(database, *newer)
    assert time.monotonic() - began < 2
    assert [what.version for what in seen] == [each.version for each in offered]
    assert await connection.fetchval("SELECT count(*) FROM streams WHERE seq = 1") == 500
    assert await connection.fetchval("SELECT count(*) FROM streams WHERE seq = 2") == 500


async def test_a_lock_that_somebody_holds_is_not_waited_for_long(
    database: Database, connection: asyncpg.Connection
) -> None:
    await push(database, record("ann", "x", Version(1, False)))
    async with connection.transaction():
        await connection.execute("SELECT FROM streams WHERE user_id = 'ann' FOR UPDATE")
        began = time.monotonic()
        with pytest.raises(LockTimeout):
            await push(database, record("ann", "x", Version(2, False)))
        assert 0.2 < time.monotonic() - began < 3
        await push(database, record("bob", "x", Version(2, False)))
    await push(database, record("ann", "x", Version(2, False)))


async def test_a_text_is_stored_as_it_came(database: Database) -> None:
    """Arrays are written by us, and not by the driver: none of their signs is taken for one of a text's."""
    loop = asyncio.get_running_loop()
    odd = texts | st.text(st.sampled_from('"\\{},; \n\t\x01\x7fNUL\u00fc'), max_size=9)

    async def check(items: list[str]) -> None:
        await database.fetch("DELETE FROM records")
        all_of_them = enumerate(items)
        offered = [record('a"b\\c', item, Version(at, at % 2 == 0), 'e,{"}') for at, item in all_of_them]
        assert await push(database, *offered) == [records.Seen(None, refused=False)] * len(items)
        assert await push(database, *offered) == [records.Seen(one.version, refused=False) for one in offered]
        rows = await database.fetch("SELECT user_id, entity, item, action_us, deleted, digest FROM records")
        assert {Record(Key(*row[:3]), Version(*row[3:])) for row in map(tuple, rows)} == set(offered)

    @given(st.lists(odd, min_size=1, unique=True))
    def search(items: list[str]) -> None:
        asyncio.run_coroutine_threadsafe(check(items), loop).result()

    await asyncio.to_thread(search)


async def test_no_text_holds_a_nul(database: Database) -> None:
    for item in ("\0", "a\0b", "\0\0"):
        with pytest.raises(ValueError, match="NUL"):
            await push(database, record("ann", item, Version(1, deleted=False)))
