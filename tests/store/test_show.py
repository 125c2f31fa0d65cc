"""What the database prints is what http/wire.py prints, to the byte."""

import random

import orjson
import pytest

from favsync.core import fields, timestamp
from favsync.core.record import Key, Record, Version
from favsync.http.wire import dump_version
from favsync.store import bounded, records
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
    assert await records.show(database, "main/main/ann", "main/e", 1000) == (200, _printed(stored))
    assert await records.show(database, "main/main/ann", "main/e", 200) == (200, _printed(stored)), "all that there are"
    assert await records.show(database, "main/main/ann", "main/e", 199) is None
    assert await records.show(database, "main/main/ann", "main/other", 9) == (200, b"")
    assert await records.show(database, "main/main/bob", "main/e", 9) == (0, b"")


async def test_every_date_is_printed_as_python_prints_it(database: Database) -> None:
    chance = random.Random(1)
    dates = sorted({*DATES, *(_any_date(chance) for _ in range(20_000))})
    rows = await database.fetch("SELECT show_date(at) AS shown FROM unnest($1::bigint[]) at ORDER BY at", dates)
    assert [row["shown"] for row in rows] == [timestamp.render(at) for at in dates]


async def test_what_is_large_is_not_printed_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    written = fields.canonical({"text": "\u00fc" * 1000})
    stored = [Record(Key("a/b/c", "a/e", f"i{n}"), Version(n, False, b"d"), written) for n in range(9)]
    await records.push(database, stored, [None] * 9)
    assert await records.show(database, "a/b/c", "a/e", 9) == (9, _printed(stored))
    monkeypatch.setattr(bounded, "FIELDS_BYTES_MAX", 9 * len(written) - 1)
    assert await records.show(database, "a/b/c", "a/e", 9) is None
    monkeypatch.setattr(bounded, "ROWS_AT_ONCE", 8)
    monkeypatch.setattr(bounded, "FIELDS_BYTES_MAX", 9 * len(written))
    assert await records.show(database, "a/b/c", "a/e", 9) is None
