"""What the database prints is what http/wire.py prints, to the byte."""

import random

import asyncpg
import orjson
import pytest

from favsync.core import fields, timestamp
from favsync.core.record import Key, Record, Version
from favsync.feed.schemas import dump_change
from favsync.http.wire import dump_version
from favsync.store import bounded, feed, records
from favsync.store.database import Database
from tests.core.strategies import EDGE_TEXTS

DATES = [
    0, 1, 999, 1000, 1_000_000, 10, 100, 120_000, 123_456, 999_999, 59_999_999, timestamp.LATEST_US,
    timestamp.LATEST_US - 999, timestamp.LATEST_US - 1, 951_782_400_000_000, 1_493_721_912_798_000,
    1_493_721_912_798_010,
]  # fmt: skip
ITEMS = [*filter(None, EDGE_TEXTS), *map(chr, range(1, 256)), "a,b", "[]", "x" * 255, "\U0001f600" * 255]
CONTENTS = [None, {}, {"": None}, {"a": ['\u20ac"\\/\x1f\x7f', 1e21, 0.1, -0.0]}, {text: text for text in EDGE_TEXTS}]


def _any_date(chance: random.Random) -> int:
    digits = chance.choice([1, 10, 100, 1000, 10_000, 100_000, 1_000_000])
    return chance.choice([chance.choice(DATES), chance.randrange(timestamp.LATEST_US) // digits * digits])


async def _show(database: Database, user: str, entity: str, most: int) -> records.Shown | None:
    key = records.ListKey(user, entity)
    return (await records.show(database, [key], most))[key]


def _printed(stored: list[Record]) -> bytes:
    written = [
        orjson.dumps(
            dump_version(
                one.key.item, one.version.action_us, one.version.deleted, one.fields.decode() if one.fields else None
            )
        )
        for one in sorted(stored)
    ]
    return b",".join(written)


@pytest.mark.parametrize("seed", range(5))
async def test_it_is_what_python_prints(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    stored = []
    for item in chance.sample(sorted(set(ITEMS)), 200):
        content = chance.choice(CONTENTS)
        written = None if content is None else fields.canonical(content)
        version = Version(_any_date(chance), written is None and chance.random() < 0.5, b"d" if written else b"")
        stored.append(Record(Key("main/main/ann", "main/e", item), version, written))
    await records.push(database, stored, [None] * len(stored))
    assert await _show(database, "main/main/ann", "main/e", 1000) == (200, _printed(stored))
    assert await _show(database, "main/main/ann", "main/e", 200) == (200, _printed(stored)), "all that there are"
    assert await _show(database, "main/main/ann", "main/e", 199) is None
    assert await _show(database, "main/main/ann", "main/other", 9) == (200, b"")
    assert await _show(database, "main/main/bob", "main/e", 9) == (0, b"")


async def test_many_lists_at_once_are_each_its_own(database: Database) -> None:
    """Those of users who are not there, of several entities of one user, and one that is too large among them."""
    sizes = {("main/main/ann", "main/e"): 3, ("main/main/ann", "main/f"): 1, ("main/main/bob", "main/e"): 9}
    stored = {
        records.ListKey(*who): [Record(Key(*who, f"{who}{n}"), Version(n, False, b"")) for n in range(size)]
        for who, size in sizes.items()
    }
    for each in stored.values():
        await records.push(database, each, [None] * len(each))
    nobody, nothing = records.ListKey("main/main/cy", "main/e"), records.ListKey("main/main/bob", "main/f")
    asked = [nobody, *reversed(stored), nothing]
    (ann_e, of_ann_e), (ann_f, of_ann_f), (bob_e, _) = stored.items()
    assert await records.show(database, asked, 8) == {
        ann_e: (4, _printed(of_ann_e)),
        ann_f: (4, _printed(of_ann_f)),
        bob_e: None,
        nothing: (9, b""),
        nobody: (0, b""),
    }


async def test_every_date_is_printed_as_python_prints_it(database: Database) -> None:
    chance = random.Random(1)
    dates = sorted({*DATES, *(_any_date(chance) for _ in range(20_000))})
    rows = await database.fetch("SELECT print_date(at) AS shown FROM unnest($1::bigint[]) at ORDER BY at", dates)
    assert [row["shown"] for row in rows] == [f'"{timestamp.render(at)}'.removesuffix("Z") for at in dates]


async def test_what_is_large_is_not_printed_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    written = fields.canonical({"text": "\u00fc" * 1000})
    stored = [Record(Key("a/b/c", "a/e", f"i{n}"), Version(n, False, b"d"), written) for n in range(9)]
    await records.push(database, stored, [None] * 9)
    assert await _show(database, "a/b/c", "a/e", 9) == (9, _printed(stored))
    monkeypatch.setattr(bounded, "FIELDS_BYTES_MAX", 9 * len(written) - 1)
    assert await _show(database, "a/b/c", "a/e", 9) is None
    monkeypatch.setattr(bounded, "FIELDS_BYTES_MAX", 9 * len(written))
    assert await _show(database, "a/b/c", "a/e", 8) is None


OWNERS = [
    "main/main/ann",
    "main/main/",
    "main/main/a/b",
    'main/main/\u00fc"\\',
    "main/other/bob",
    "main/other/a/b",
    "main//e",
]


async def test_a_page_of_a_feed_too(database: Database, connection: asyncpg.Connection) -> None:
    """Whoever's the changes are, and whatever gaps there are; but none that has fields."""
    chance = random.Random(1)
    items = chance.sample(sorted(set(ITEMS)), 200)
    positions = sorted(chance.sample(range(1, 1000), 200))
    rows = [
        ("main/e", chance.choice(OWNERS), item, position, position, _any_date(chance), chance.random() < 0.5, b"")
        for item, position in zip(items, positions, strict=True)
    ]
    names = ["entity", "user_id", "item", "position", "seq", "action_us", "deleted", "digest"]
    await connection.execute("ALTER TABLE feed ALTER placed_at SET DEFAULT now()")
    await connection.copy_records_to_table("feed", records=rows, columns=names)
    await connection.execute("INSERT INTO feed_head (entity, position, horizon) VALUES ('main/e', 1000, 7)")
    for after, limit in ((0, 1000), (0, 200), (0, 199), (500, 20), (positions[-2], 1), (positions[-1], 5), (1000, 5)):
        for namespace in ("main", "other"):
            page = await feed.page(database, "main/e", after, limit=limit)
            json = b",".join(orjson.dumps(dump_change(change, namespace)) for change in page.changes)
            shown = await feed.show(database, "main/e", after, f"main/{namespace}/", limit=limit)
            assert shown == (1000, 7, json, page.last, page.more)
    assert await feed.show(database, "main/none", 0, "main/main/", limit=5) == (0, 0, b"", None, False)
    await connection.execute("UPDATE feed SET fields = '{}' WHERE position = $1", positions[3])
    assert await feed.show(database, "main/e", positions[3], "main/main/", limit=5) is not None
    assert await feed.show(database, "main/e", positions[2], "main/main/", limit=5) is None
