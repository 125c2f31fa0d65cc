"""The law, as laws."""

import functools
import random

from hypothesis import given
from hypothesis import strategies as st

from favsync.core.merge import Outcome, merge
from favsync.core.record import Version
from tests.core.strategies import versions


def _fold(history: list[Version]) -> Version | None:
    standing: Version | None = None
    for version in history:
        _, standing = merge(standing, version)
    return standing


@given(versions, versions)
def test_it_does_not_matter_which_of_two_came_first(one: Version, other: Version) -> None:
    assert merge(one, other)[1] == merge(other, one)[1]


@given(versions, versions, versions)
def test_it_does_not_matter_who_met_first(one: Version, two: Version, three: Version) -> None:
    assert merge(merge(one, two)[1], three)[1] == merge(one, merge(two, three)[1])[1]


@given(versions)
def test_the_same_version_again_is_a_duplicate(version: Version) -> None:
    assert merge(version, version) == (Outcome.DUPLICATE, version)


@given(st.lists(versions, min_size=1), st.randoms(use_true_random=False))
def test_any_order_with_any_duplicates_ends_in_the_same_state(history: list[Version], chance: random.Random) -> None:
    retried = history + chance.choices(history, k=len(history))
    chance.shuffle(retried)
    assert _fold(retried) == _fold(history)


@given(st.lists(versions, min_size=2), st.integers(1, 9))
def test_replicas_that_merge_their_results_agree(history: list[Version], cut: int) -> None:
    cut %= len(history)
    halves = [half for half in (_fold(history[:cut]), _fold(history[cut:])) if half is not None]
    assert functools.reduce(lambda one, other: merge(one, other)[1], halves) == _fold(history)


@given(st.none() | versions, versions)
def test_the_receipt_tells_what_happened(stored: Version | None, incoming: Version) -> None:
    outcome, winner = merge(stored, incoming)
    assert winner in (stored, incoming)
    assert (outcome == Outcome.APPLIED) == (winner == incoming != stored)
    assert (outcome == Outcome.DUPLICATE) == (stored == incoming)
    assert (outcome == Outcome.SUPERSEDED) == (winner != incoming)
    assert outcome.settled


def test_what_was_not_taken_into_account_is_not_settled() -> None:
    assert [outcome for outcome in Outcome if not outcome.settled] == [Outcome.FUTURE, Outcome.LIMIT, Outcome.INVALID]
