"""Records on their way out and in."""

import asyncio
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from favsync.client import Receipt, Record, RefusedRecord, Unsendable
from favsync.client.records import Listing, NotARecord, batches, read, receipts, write
from favsync.core.fields import canonical, digest
from favsync.core.merge import merge
from favsync.core.record import Version
from tests.client.peer import DATE, good
from tests.core.strategies import objects

DATE_US = 1577836800000000
BAD = [
    (good(""), "item does not have 1 to 255 characters"),
    (good(256 * "x"), "item does not have 1 to 255 characters"),
    (good(7), "item is not text"),
    ({}, "actionDate is not text"),
    (good("a\0b"), "item holds a NUL character"),
    (good("\ud800"), "item holds half of a surrogate pair"),
    (good(date=1577836800), "actionDate is not text"),
    (good(date="yesterday"), "actionDate is not an RFC 3339 date and time such as 2017-05-02T10:45:12.798Z"),
    (good(date="2200-01-01T00:00:00Z"), "actionDate is outside the years 1970 to 2100"),
    (good(action="add"), "action is neither ADD nor DELETE"),
    (good(action=None), "action is neither ADD nor DELETE"),
    (good(action=["ADD"]), "action is neither ADD nor DELETE"),
    (good(fields=[]), "fields is not an object"),
    (good(fields={"n": [2**60]}), "fields/n/0 is a number that JSON cannot carry exactly; send it as a string"),
    ("a", "is not an object"),
    (None, "is not an object"),
]


@pytest.mark.parametrize(("content", "reason"), BAD)
def test_a_record_that_is_none_is_refused_and_the_others_are_read(content: Any, reason: str) -> None:
    listing = Listing()
    for one in (good("first"), content, good("last")):
        listing.add(one)
    assert [record.item for record in listing.records] == ["first", "last"]
    named = isinstance(content, dict) and content.get("item") == "a"
    assert listing.refused == [RefusedRecord(1, reason, "a" if named else None)], "which is known, where it can be read"


def test_a_date_is_read_as_the_protocol_has_it() -> None:
    for date in (DATE, "2020-01-01T00:00:00", "2020-01-01T02:00:00+02:00", "2020-01-01 00:00:00z"):
        assert read(good(date=date)).action_us == DATE_US
    assert read(good(date="2020-01-01T00:00:00.0000019Z")).action_us == DATE_US + 1


def test_other_members_are_passed_over() -> None:
    assert read(good(user=7, namespace=[], likes=3)) == Record("a", DATE_US)
    assert read(good(user="ann"), named=True).user == "ann"
    assert read(good(action="DELETE", fields={"gone": 1})).fields is None
    assert read(good(fields=None)).fields is None


def test_of_an_item_that_is_there_twice_the_greater_version_stands() -> None:
    early, late = good(date=DATE), good(date="2020-01-01T00:00:00.001Z", action="DELETE")
    for pair, lesser in (
        ([early, late], 0),
        ([late, early], 1),
        ([early, early], 1),
        ([late, good(action="DELETE")], 1),
    ):
        listing = Listing()
        for one in pair:
            listing.add(one)
        assert listing.records == [max((read(one) for one in pair), key=lambda record: record.version)]
        assert [one.index for one in listing.refused] == [lesser]


def test_an_item_that_a_later_page_has_again_is_no_mistake() -> None:
    for pair in ([good(), good(date="2021-01-01T00:00:00Z")], [good(date="2021-01-01T00:00:00Z"), good()]):
        listing = Listing()
        for one in pair:
            listing.begin_page()
            listing.add(one)
        assert (len(listing.records), listing.refused) == (1, [])
        assert listing.records[0].action_us > DATE_US


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.booleans(), objects), max_size=8))
def test_a_list_comes_to_what_the_law_makes_of_it(rows: list[tuple[str, int, bool, dict[str, Any]]]) -> None:
    listing, expected = Listing(), dict[str, Version]()
    for item, at_us, deleted, fields in rows:
        record = Record(item, at_us, deleted, fields)
        listing.add(json.loads(write(record)))
        expected[item] = merge(expected.get(item), record.version)[1]
    assert {record.item: record.version for record in listing.records} == expected
    assert len(listing.records) + len(listing.refused) == len(rows)


@given(objects, st.booleans())
def test_what_is_written_is_read_as_the_same_version(fields: dict[str, Any], deleted: bool) -> None:
    record = Record("a", 1_234_567, deleted, fields)
    again = read(json.loads(write(record)))
    assert again.version == record.version
    assert again.version.digest == (b"" if deleted else digest(canonical(fields)))


def test_what_is_written() -> None:
    assert json.loads(write(Record("a", DATE_US))) == good()
    assert json.loads(write(Record("a", DATE_US + 1, deleted=True, fields={"x": 1}))) == good(
        date="2020-01-01T00:00:00.000001Z", action="DELETE"
    )
    assert json.loads(write(Record("a", DATE_US, fields={"x": (1, {"y": None})}, user="ann", namespace="n"))) == good(
        fields={"x": [1, {"y": None}]}, user="ann", namespace="n"
    )


@pytest.mark.parametrize(
    ("record", "pointer"),
    [
        (Record("", 1), "/1/item"),
        (Record(256 * "x", 1), "/1/item"),
        (Record("a\0", 1), "/1/item"),
        (Record("\udfff", 1), "/1/item"),
        (Record("a", -1), "/1/actionDate"),
        (Record("a", 2**62), "/1/actionDate"),
        (Record("a", 1.5), "/1/actionDate"),  # type: ignore[arg-type]
        (Record("a", True), "/1/actionDate"),
        (Record("a", 1, fields={"a/b": {"c": float("nan")}}), "/1/fields/a~1b/c"),
        (Record("a", 1, fields={"c": object()}), "/1/fields/c"),
        (Record("a", 1, fields={"c": 70_000 * "x"}), "/1/fields"),
        (Record("a", 1, fields=[1]), "/1/fields"),  # type: ignore[arg-type]
        (Record("a", 1, user=""), "/1/user"),
        (Record("a", 1, namespace="n"), "/1/namespace"),
    ],
)
def test_what_cannot_be_sent_is_named_by_its_place(record: Record, pointer: str) -> None:
    with pytest.raises(ValueError) as caught:
        asyncio.run(batches([Record("fine", 1), record], size=10, bytes_max=1000))
    assert isinstance(caught.value, Unsendable)
    assert (caught.value.fault.index, caught.value.fault.pointer) == (1, pointer)


@given(st.lists(st.integers(1, 100), max_size=12), st.integers(1, 4), st.integers(1, 400))
def test_batches_hold_all_in_order_within_their_bounds(lengths: list[int], size: int, bytes_max: int) -> None:
    records = [Record(length * "x", at) for at, length in enumerate(lengths)]
    made = asyncio.run(batches(records, size=size, bytes_max=bytes_max))
    assert [one for batch in made for one in batch] == [write(record) for record in records]
    for batch in made:
        assert 1 <= len(batch) <= size
        assert len(batch) == 1 or len(b"[" + b",".join(batch) + b"]") <= bytes_max


async def test_a_batch_may_be_as_large_as_a_request_to_the_byte() -> None:
    records = [Record("a", 1), Record("b", 1)]
    together = len(b"[" + write(records[0]) + b"," + write(records[1]) + b"]")
    assert [len(await batches(records, size=9, bytes_max=together - less)) for less in (0, 1)] == [1, 2]


async def test_others_have_their_turn_meanwhile() -> None:
    waited_s: list[float] = []

    async def other() -> None:
        while True:
            at = time.monotonic()
            await asyncio.sleep(0)
            waited_s.append(time.monotonic() - at)

    others = asyncio.create_task(other())
    await batches([Record(f"{number}", 1) for number in range(20_000)], size=500, bytes_max=1_000_000)
    others.cancel()
    assert len(waited_s) > 20


def test_fields_that_are_far_too_large_cost_no_time() -> None:
    vast = {"list": [{"a": 1.5, "b": "x"} for _ in range(500_000)]}
    began_s = time.process_time()
    with pytest.raises(NotARecord, match="more than 65536 bytes"):
        read(good(fields=vast))
    assert time.process_time() - began_s < 1


def test_receipts_are_read_or_there_are_none() -> None:
    one = {"item": "a", "outcome": "applied", "action": "DELETE", "actionDate": DATE, "user": "ann"}
    odd = {"item": None, "outcome": "invalid", "action": None, "actionDate": "never", "detail": "is bad"}
    assert receipts({"receipts": [one, odd]}, 2) == [
        Receipt("a", "applied", DATE_US, deleted=True, user="ann"),
        Receipt(None, "invalid", detail="is bad"),
    ]
    others: list[Any] = [[], {}, None, {"receipts": None}, {"receipts": [one]}]
    for content in (*others, {"receipts": [one, {}]}, {"receipts": [one, 7]}):
        assert receipts(content, 2) is None


def test_which_receipts_settle() -> None:
    words = ["applied", "duplicate", "superseded", "future", "limit", "invalid", "unheard-of"]
    assert [Receipt("a", word).settled for word in words] == [True] * 3 + [False] * 4
