"""Cursors and ETags: for their owner alone."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from favsync.core.cursor import SEQ_MAX, Seal
from favsync.core.errors import CursorExpired, MalformedRequest

SEAL = Seal(b"k" * 32)
ANN = ("main/main/ann", ["main/favorites"])
names = st.text(max_size=4)
scopes = st.tuples(names, st.lists(names, max_size=3))
seqs = st.integers(0, SEQ_MAX)


@given(scopes, seqs)
def test_its_owner_reads_it(scope: tuple[str, list[str]], seq: int) -> None:
    cursor = SEAL.cursor(*scope, seq)
    assert len(cursor) == 34
    assert SEAL.read_cursor(cursor, *scope) == seq


@given(scopes, scopes, seqs)
def test_nobody_else_does(mine: tuple[str, list[str]], theirs: tuple[str, list[str]], seq: int) -> None:
    if mine != theirs:
        with pytest.raises(CursorExpired):
            SEAL.read_cursor(SEAL.cursor(*mine, seq), *theirs)


@given(seqs)
def test_it_ends_with_its_epoch(seq: int) -> None:
    with pytest.raises(CursorExpired):
        Seal(b"l" * 32).read_cursor(SEAL.cursor(*ANN, seq), *ANN)


@given(st.integers(0, 33), st.sampled_from("ABab01-_"))
def test_no_letter_of_it_can_be_changed(place: int, letter: str) -> None:
    cursor = SEAL.cursor(*ANN, 12345)
    forged = cursor[:place] + letter + cursor[place + 1 :]
    if forged != cursor:
        with pytest.raises(CursorExpired):
            SEAL.read_cursor(forged, *ANN)


@pytest.mark.parametrize(
    "text",
    ["", "undefined", "null", "0", "A" * 33, "A" * 35, "A" * 36, "ü" * 34, "." * 34, "!" * 34, "=" * 34, " " * 34],
)
def test_what_was_never_a_cursor_is_not_one_that_expired(text: str) -> None:
    with pytest.raises(MalformedRequest, match=r"^`after` is not a cursor: pass a Sync-Cursor as it came[.]$"):
        SEAL.read_cursor(text, *ANN)


def test_a_cursor_of_another_layout_has_expired() -> None:
    raw = b"\x02" + base64.urlsafe_b64decode(SEAL.cursor(*ANN, 1) + "==")[1:]
    with pytest.raises(CursorExpired):
        SEAL.read_cursor(base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), *ANN)


def test_a_seq_that_no_database_holds_has_expired() -> None:
    with pytest.raises(CursorExpired):
        SEAL.read_cursor(SEAL.cursor(*ANN, SEQ_MAX + 1), *ANN)


@given(st.tuples(scopes, names, seqs), st.tuples(scopes, names, seqs))
def test_etags_are_equal_only_for_the_same_state_of_the_same_user(
    one: tuple[tuple[str, list[str]], str, int], other: tuple[tuple[str, list[str]], str, int]
) -> None:
    def etag(what: tuple[tuple[str, list[str]], str, int]) -> str:
        (user, entities), representation, seq = what
        return SEAL.etag(user, entities, representation, seq)

    assert (etag(one) == etag(other)) == (one == other)


def test_an_etag_is_weak_and_never_a_cursor() -> None:
    etag = SEAL.etag(*ANN, "", 7)
    assert etag.startswith('W/"')
    assert etag.endswith('"')
    with pytest.raises(CursorExpired):
        SEAL.read_cursor(etag[3:-1], *ANN)


def test_the_seal_is_what_it_was_in_the_last_release() -> None:
    """Another form of the same cursor would send every device back to the beginning."""
    assert SEAL.cursor(*ANN, 7) == "AQAAAAAAAAAH5mQpeqoOB3Gm1dBI1qIKSA"
    assert SEAL.etag(*ANN, "all", 7) == 'W/"AQAAAAAAAAAH0FD89Xdl1tGMnfzKkgC02g"'
