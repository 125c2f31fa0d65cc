"""The law again, with `fields`: what a record says decides ties, however it was spelled and wherever it has been."""

import functools
import json
import random
from typing import NamedTuple

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from favsync.core import fields
from favsync.core.merge import Outcome, merge
from favsync.core.record import Version
from tests.core.spelling import spell
from tests.core.strategies import EDGE_NUMBERS, EDGE_TEXTS, objects


class Held(NamedTuple):
    """What a replica holds of a record: the version, and the bytes whose digest is in it."""

    version: Version
    fields: bytes | None


def _held(action_us: int, content: dict[str, object] | None) -> Held:
    """`content`: None for a DELETE."""
    if content is None:
        return Held(Version(action_us, deleted=True), None)
    written = fields.canonical(content)
    return Held(Version(action_us, deleted=False, digest=fields.digest(written)), written)


def _merge(one: Held | None, other: Held) -> Held:
    winner = merge(one and one.version, other.version)[1]
    return one if one and winner == one.version else other


def _fold(history: list[Held]) -> Held:
    return functools.reduce(_merge, history)


# Three instants, and few contents that differ in a value alone: ties are common.
contents = st.none() | st.sampled_from([{}, {"a": 1}, {"a": 2}, {"a": "1"}, {"a": None}, {"b": 1}]) | objects
held = st.builds(_held, st.integers(0, 2), contents)
chances = st.randoms(use_true_random=False)


@given(st.lists(held, min_size=1, max_size=12), chances)
def test_any_order_with_any_duplicates_ends_in_the_same_bytes(history: list[Held], chance: random.Random) -> None:
    retried = history + chance.choices(history, k=len(history))
    chance.shuffle(retried)
    assert _fold(retried) == _fold(history)


@given(held, held, held)
def test_it_does_not_matter_who_met_first(one: Held, two: Held, three: Held) -> None:
    assert _merge(_merge(one, two), three) == _merge(one, _merge(two, three))
    assert _merge(one, two) == _merge(two, one)
    assert _merge(one, one) == one


@given(objects, objects)
def test_of_two_contents_of_one_instant_the_greater_digest_stands(
    one: dict[str, object], other: dict[str, object]
) -> None:
    first, second = _held(1, one), _held(1, other)
    outcome, winner = merge(first.version, second.version)
    assert winner.digest == max(first.version.digest, second.version.digest)
    assert (outcome is Outcome.DUPLICATE) == (first.fields == second.fields)
    assert _merge(first, _held(1, None)) == _held(1, None), "DELETE has the last word of an instant"


@given(objects, chances)
@example({"a": EDGE_NUMBERS, "b": EDGE_TEXTS}, random.Random(1))
@example(dict(zip(EDGE_TEXTS, EDGE_NUMBERS, strict=False)), random.Random(2))
def test_however_it_is_spelled_and_whoever_reads_it(content: dict[str, object], chance: random.Random) -> None:
    expected = fields.canonical(content)
    for _ in range(3):
        spelled = spell(content, chance)
        for read in (orjson.loads, json.loads):
            again = fields.canonical(read(spelled))
            assert again == expected, spelled
            assert fields.digest(again) == fields.digest(expected)
    assert orjson.dumps(orjson.Fragment(expected)) == expected, "emitted as it was hashed"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1, "b": 2}', '{"b":2,"a":1.0}'),
        ('{"a": 1e2}', '{"a": 100}'),
        ('{"a": -0.0}', '{"a": 0}'),
        ('{"a": 5e-324}', '{"a": 3e-324}'),
        ('{"a": 1e21}', '{"a": 1000000000000000000000.0}'),
        ('{"a": 9007199254740991}', '{"a": 9.007199254740991e15}'),
        (r'{"\u0061": "\ud83D\uDE00\/"}', '{"a": "\U0001f600/"}'),
    ],
)
def test_these_say_the_same(one: str, other: str) -> None:
    assert fields.canonical(json.loads(one)) == fields.canonical(orjson.loads(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": "e\u0301"}, {"a": "\u00e9"}),
        ({"a": 1}, {"a": True}),
        ({"a": 0}, {"a": False}),
        ({"a": 1}, {"a": "1"}),
        ({"a": None}, {}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": 2**53 - 1}, {"a": 2**53 - 2}),
        ({"a": "\ufffd"}, {"a": "?"}),
    ],
)
def test_these_do_not(one: dict[str, object], other: dict[str, object]) -> None:
    assert fields.digest(fields.canonical(one)) != fields.digest(fields.canonical(other))
