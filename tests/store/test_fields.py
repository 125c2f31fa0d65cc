"""The one statement that writes, with `fields` and a limit for each entity: against the law, and against a model."""

import hashlib
import random
from collections.abc import AsyncIterator, Mapping, Sequence

import asyncpg
import pytest

from favsync.core import fields
from favsync.core.merge import merge
from favsync.core.record import Key, Record, Version
from favsync.store import migrate, records
from favsync.store.database import Database
from favsync.store.records import Seen
from tests.core.strategies import EDGE_NUMBERS, EDGE_TEXTS
from tests.postgres import Server

# What differs in little, so that a digest alone decides, and what a database might rewrite.
CONTENTS: list[Mapping[str, object]] = [
    {},
    *({"n": number} for number in EDGE_NUMBERS),
    *({"t": text, text: None} for text in EDGE_TEXTS),
    {"b": [1, {"z": [], "a": {}}, True], "a": {"y": 1, "x": "  ü "}},
    {"long": "x" * 3000},  # lies beside its row
]
WRITTEN = [fields.canonical(content) for content in CONTENTS]

# As the releases before 0003_entities.sql ask.
PUSH_BEFORE = """
SELECT place, seen_action_us, seen_deleted, seen_digest, refused
  FROM push($1::text[], $2::text[], $3::text[], $4::bigint[], $5::boolean[], $6::bytea[], $7::text[], $8::bigint)
 ORDER BY place"""


def _any_record(chance: random.Random, key: Key, dates: int = 3) -> Record:
    deleted = chance.random() < 0.25
    written = None if deleted else chance.choice(WRITTEN)
    version = Version(chance.randrange(dates), deleted, b"" if written is None else fields.digest(written))
    return Record(key, version, written)


def _winner(stored: Record | None, incoming: Record) -> Record:
    standing = merge(stored.version if stored else None, incoming.version)[1]
    return stored if stored and standing == stored.version else incoming


_STORED = {
    "records": "SELECT *, fields::text AS text FROM records",
    "feed_pending": "SELECT p.user_id, p.entity, i.*, i.fields::text AS text FROM feed_pending p"
    " CROSS JOIN unnest(items, seqs, action_us, deleted, digests, fields)"
    " AS i (item, seq, action_us, deleted, digest, fields)",
}


async def _stored(connection: asyncpg.Connection, table: str) -> dict[tuple[Key, int], Record]:
    """By key and seq; each with the digest of the very bytes that are in the table."""
    rows = await connection.fetch(_STORED[table])
    found = {}
    for row in rows:
        written = None if row["text"] is None else row["text"].encode()
        assert row["deleted"] == (written is None)
        assert row["digest"] == (b"" if written is None else hashlib.sha256(written).digest())
        key = Key(row["user_id"], row["entity"], row["item"])
        found[key, row["seq"]] = Record(key, Version(row["action_us"], row["deleted"], row["digest"]), written)
    assert len(found) == len(rows)
    return found


async def _push_before(connection: asyncpg.Connection, offered: Sequence[Record], item_limit: int | None) -> list[Seen]:
    """Offers records as a release before does."""
    rows = await connection.fetch(
        PUSH_BEFORE,
        *map(list, zip(*(each.key for each in offered), strict=True)),
        *map(list, zip(*(each.version for each in offered), strict=True)),
        [each.fields and each.fields.decode() for each in offered],
        item_limit,
    )
    return [Seen(None if row[1] is None else Version(*row[1:4]), row[4]) for row in map(tuple, rows)]


async def test_sql_and_python_agree_on_every_pair(database: Database, connection: asyncpg.Connection) -> None:
    """12,000 random pairs, of which thousands differ in what they say alone: the bytes that stand are the winner's."""
    chance = random.Random(20170502)
    keys = [Key(f"u{number % 7}", f"e{number % 2}", str(number)) for number in range(12_000)]
    pairs = [(_any_record(chance, key), _any_record(chance, key)) for key in keys]
    ties = [
        one.version > other.version for one, other in pairs if one.version[:2] == other.version[:2] and one != other
    ]
    assert len(ties) > 2000
    assert 0.4 < sum(ties) / len(ties) < 0.6, "either may be the greater"
    for begin in range(0, len(pairs), 1000):
        first, second = map(list, zip(*pairs[begin : begin + 1000], strict=True))
        await records.push(database, first, [None] * len(first))
        seen = await records.push(database, second, [None] * len(second))
        assert [what.version for what in seen] == [each.version for each in first]

    standing = {key: record for (key, _seq), record in (await _stored(connection, "records")).items()}
    assert standing == {one.key: _winner(one, other) for one, other in pairs}
    pending: dict[Key, list[Record]] = {}
    for (key, _seq), record in sorted((await _stored(connection, "feed_pending")).items()):
        pending.setdefault(key, []).append(record)
    assert pending == {one.key: [one, other] if _winner(one, other) == other != one else [one] for one, other in pairs}


class Model:
    """What `push` says it does, in Python."""

    def __init__(self) -> None:
        self.records: dict[Key, tuple[Record, int]] = {}
        self.seqs: dict[str, int] = {}
        self.pending: dict[tuple[Key, int], Record] = {}

    def push(self, offered: Sequence[Record], limits: Sequence[int | None]) -> list[Seen]:
        """Each of its own user in the order of arrival; a number for each that might have won, given in order."""
        before = {key: record.version for key, (record, _seq) in self.records.items()}
        held: dict[tuple[str, str], int] = {}
        for key in before:
            held[key[:2]] = held.get(key[:2], 0) + 1
        taken: dict[str, int] = {}
        won: dict[str, list[Record]] = {}
        seen = []
        for record, limit in zip(offered, limits, strict=True):
            key, stood = record.key, before.get(record.key)
            refused = False
            if stood is None:
                held[key[:2]] = held.get(key[:2], 0) + 1
                refused = limit is not None and held[key[:2]] > limit
            seen.append(Seen(stood, refused))
            if stood is None or record.version > stood:
                taken[key.user] = taken.get(key.user, 0) + 1
                if not refused:
                    won.setdefault(key.user, []).append(record)
        for user, winners in won.items():
            self.seqs[user] = self.seqs.get(user, 0) + taken[user]
            for seq, record in enumerate(winners, self.seqs[user] - len(winners) + 1):
                self.records[record.key] = record, seq
                self.pending[record.key, seq] = record
        return seen


async def test_histories_end_where_the_model_says(database: Database, connection: asyncpg.Connection) -> None:
    """Batches over users and entities, each entity with a limit of its own or none, some as a release before asks."""
    chance, model = random.Random(7), Model()
    limits: dict[str, int | None] = {"a": 3, "b": 5, "c": None, "d": 1, "e": 0}
    keys = [Key(user, entity, item) for user in ("u", "v", "ü") for entity in limits for item in "stuvwxyz"]
    refused = settled = 0
    for turn in range(600):
        keys_of_turn = chance.sample(keys, chance.randrange(1, 25))
        offered = [_any_record(chance, key, dates=2 + turn // 100) for key in keys_of_turn]
        if chance.random() < 0.3:
            of_all = chance.choice([None, 0, 2, 6])
            seen = await _push_before(connection, offered, of_all)
            each_limit = [of_all] * len(offered)
        else:
            each_limit = [limits[key.entity] for key in keys_of_turn]
            seen = await records.push(database, offered, each_limit)
        assert seen == model.push(offered, each_limit), f"turn {turn}"
        refused += sum(what.refused for what in seen)
        settled += sum(what.version is not None for what in seen)
    assert refused > 300
    assert settled > 1000
    assert await _stored(connection, "records") == {(key, seq): one for key, (one, seq) in model.records.items()}
    assert await _stored(connection, "feed_pending") == model.pending
    streams = {row["user_id"]: row["seq"] for row in await connection.fetch("SELECT user_id, seq FROM streams")}
    assert {user: seq for user, seq in streams.items() if seq} == model.seqs


@pytest.fixture
async def before(postgres: Server) -> AsyncIterator[str]:
    """A database as the release before left it."""
    name = await postgres.create_database("template0")
    opened = await asyncpg.connect(postgres.dsn(name))
    await migrate.migrate(opened, migrate.known()[:2])
    await opened.close()
    yield postgres.dsn(name)
    await postgres.drop_database(name)


async def test_a_release_before_goes_on_while_it_is_replaced(before: str) -> None:
    """Its connections, and what is prepared on them, outlive the migration."""
    chance = random.Random(1)
    offered = [_any_record(chance, Key("main/main/ann", "main/favorites", f"i{number}")) for number in range(9)]
    newer = [one._replace(version=one.version._replace(action_us=9)) for one in offered]
    old = await asyncpg.connect(before)
    assert [what.refused for what in await _push_before(old, offered, 8)] == [False] * 8 + [True]

    database = Database(pool_size=1, declared={"favorites": "user"})
    await database.open({"dsn": before})
    versions = [one.version for one in offered[:8]]
    assert await _push_before(old, newer[:1], 8) == [Seen(versions[0], False)]
    assert await records.push(database, newer[1:], [8] * 8) == [
        *(Seen(version, False) for version in versions[1:]),
        Seen(None, True),
    ]
    assert await _push_before(old, newer, None) == [*(Seen(one.version, False) for one in newer[:8]), Seen(None, False)]
    assert sorted((await _stored(old, "records")).values(), key=lambda one: one.key) == newer
    await database.close()
    await old.close()
