"""Cursors and ETags: for their owner alone."""

import base64
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from favsync.core.cursor import SEQ_MAX, FeedPlace, Place, Seal
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
    with pytest.raises(
        MalformedRequest, match=r"^`after`, or Last-Event-ID, is not a cursor: pass a Sync-Cursor as it came[.]$"
    ):
        SEAL.read_cursor(text, *ANN)


def test_a_cursor_of_another_layout_has_expired() -> None:
    raw = b"\x02" + base64.urlsafe_b64decode(SEAL.cursor(*ANN, 1) + "==")[1:]
    with pytest.raises(CursorExpired):
        SEAL.read_cursor(base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), *ANN)


def test_a_seq_that_no_database_holds_has_expired() -> None:
    assert SEAL.read_cursor(SEAL.cursor(*ANN, SEQ_MAX), *ANN) == SEQ_MAX
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


items = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255)
places = st.builds(Place, seq=seqs, entity=st.integers(0, 65_535), item=items)


@given(scopes, places)
def test_a_page_leads_its_owner_on(scope: tuple[str, list[str]], place: Place) -> None:
    page = SEAL.page(*scope, place)
    assert re.fullmatch("[A-Za-z0-9_-]+", page)
    assert SEAL.read_page(page, *scope) == place


@given(scopes, scopes, places)
def test_a_page_leads_nobody_else(mine: tuple[str, list[str]], theirs: tuple[str, list[str]], place: Place) -> None:
    page = SEAL.page(*mine, place)
    if mine != theirs:
        with pytest.raises(CursorExpired):
            SEAL.read_page(page, *theirs)
    with pytest.raises(CursorExpired):
        Seal(b"l" * 32).read_page(page, *mine)


@given(st.integers(0, 60), st.sampled_from("ABab01-_"))
def test_no_letter_of_a_page_can_be_changed(at: int, letter: str) -> None:
    page = SEAL.page(*ANN, Place(12345, 7, "session_21982, and ü"))
    forged = page[:at] + letter + page[at + 1 :]
    if forged != page:
        with pytest.raises(CursorExpired):
            SEAL.read_page(forged, *ANN)


@pytest.mark.parametrize("text", ["", "undefined", "A" * 37, "A" * 1397, "ü" * 40, "=" * 40, " " * 40])
def test_what_was_never_a_page_is_not_one_that_expired(text: str) -> None:
    with pytest.raises(
        MalformedRequest, match=r"^`page` is not one: follow the Link that came with the page before[.]$"
    ):
        SEAL.read_page(text, *ANN)


@pytest.mark.parametrize("text", ["A" * 38, "A" * 39, "A" * 40, "A" * 41, "_" * 40, "A" * 1396])
def test_a_page_that_is_not_ours_has_expired(text: str) -> None:
    with pytest.raises(CursorExpired):
        SEAL.read_page(text, *ANN)


def test_a_page_may_end_with_any_letter() -> None:
    pages = {place: SEAL.page(*ANN, place) for place in (Place(seq, 0, "abc") for seq in range(1000))}
    assert len({page[-1] for page in pages.values()}) == 64
    assert all(SEAL.read_page(page, *ANN) == place for place, page in pages.items())


def test_the_longest_item_has_a_page() -> None:
    place = Place(SEQ_MAX, 65_535, "\U0010ffff" * 255)
    assert len(SEAL.page(*ANN, place)) == 1396
    assert SEAL.read_page(SEAL.page(*ANN, place), *ANN) == place
    with pytest.raises(CursorExpired):
        SEAL.read_page(SEAL.page(*ANN, place._replace(seq=SEQ_MAX + 1)), *ANN)


def test_a_page_is_never_a_cursor_nor_a_cursor_a_page() -> None:
    with pytest.raises(MalformedRequest):
        SEAL.read_cursor(SEAL.page(*ANN, Place(1, 0, "x")), *ANN)
    with pytest.raises(MalformedRequest):
        SEAL.read_page(SEAL.cursor(*ANN, 1), *ANN)


def test_a_page_is_what_it_was_in_the_last_release() -> None:
    assert SEAL.page(*ANN, Place(7, 1, "x")) == "AQAAAAAAAAAHAAF4sKXeQe8Qhl3MiP1HBX0t9A"


feed_places = st.builds(FeedPlace, seqs, seqs)


@given(names, feed_places)
def test_the_cursor_of_a_feed_leads_on_in_that_feed(entity: str, place: FeedPlace) -> None:
    cursor = SEAL.feed_cursor(entity, place)
    assert re.fullmatch("[A-Za-z0-9_-]{44}", cursor)
    assert SEAL.read_feed_cursor(cursor, entity) == place


@given(names, names, feed_places)
def test_and_in_no_other_feed_nor_epoch(mine: str, theirs: str, place: FeedPlace) -> None:
    cursor = SEAL.feed_cursor(mine, place)
    if mine != theirs:
        with pytest.raises(CursorExpired):
            SEAL.read_feed_cursor(cursor, theirs)
    with pytest.raises(CursorExpired):
        Seal(b"l" * 32).read_feed_cursor(cursor, mine)


@given(feed_places, feed_places)
def test_two_places_in_a_feed_have_two_cursors(one: FeedPlace, other: FeedPlace) -> None:
    cursors = [SEAL.feed_cursor("main/favorites", place) for place in (one, other)]
    assert (cursors[0] == cursors[1]) == (one == other)


@given(st.integers(0, 43), st.sampled_from("ABab01-_"))
def test_no_letter_of_the_cursor_of_a_feed_can_be_changed(at: int, letter: str) -> None:
    cursor = SEAL.feed_cursor("main/favorites", FeedPlace(12345, 23456))
    forged = cursor[:at] + letter + cursor[at + 1 :]
    if forged != cursor:
        with pytest.raises(CursorExpired):
            SEAL.read_feed_cursor(forged, "main/favorites")


@pytest.mark.parametrize(
    "text", ["", "undefined", "0", "A" * 43, "A" * 45, "A" * 48, "ü" * 44, "." * 44, "=" * 44, " " * 44, "A" * 43 + "="]
)
def test_what_was_never_a_cursor_of_a_feed_is_not_one_that_expired(text: str) -> None:
    with pytest.raises(
        MalformedRequest, match=r"^`after`, or Last-Event-ID, is not a cursor of a feed: pass `cursor` as it came[.]$"
    ):
        SEAL.read_feed_cursor(text, "main/favorites")


@pytest.mark.parametrize("text", ["A" * 44, "_" * 44])
def test_the_cursor_of_a_feed_that_is_not_ours_has_expired(text: str) -> None:
    with pytest.raises(CursorExpired):
        SEAL.read_feed_cursor(text, "main/favorites")


@pytest.mark.parametrize("place", [FeedPlace(SEQ_MAX + 1, 0), FeedPlace(0, SEQ_MAX + 1)])
def test_a_position_that_no_database_holds_has_expired(place: FeedPlace) -> None:
    most = FeedPlace(SEQ_MAX, SEQ_MAX)
    assert SEAL.read_feed_cursor(SEAL.feed_cursor("e", most), "e") == most
    with pytest.raises(CursorExpired):
        SEAL.read_feed_cursor(SEAL.feed_cursor("e", place), "e")


def test_the_cursor_of_a_feed_is_no_other_cursor() -> None:
    """Nor a page, though one of the same length: each is sealed for its purpose."""
    cursor = SEAL.feed_cursor("main/favorites", FeedPlace(1, 0))
    with pytest.raises(MalformedRequest):
        SEAL.read_cursor(cursor, "main/favorites", [])
    with pytest.raises(CursorExpired):
        SEAL.read_page(cursor, "main/favorites", [])
    page = SEAL.page("main/favorites", [], Place(1, 0, "item12"))
    assert len(page) == 44
    with pytest.raises(CursorExpired):
        SEAL.read_feed_cursor(page, "main/favorites")


def test_the_cursor_of_a_feed_is_what_it_was_in_the_last_release() -> None:
    assert SEAL.feed_cursor("main/favorites", FeedPlace(7, 9)) == "AQAAAAAAAAAHAAAAAAAAAAnz2lP0zRVmnzGbWN4ggd1j"


@given(seqs, seqs)
@example(7, 7)
def test_all_who_are_beyond_their_base_are_at_the_same_place(position: int, base: int) -> None:
    place = FeedPlace.of(position, base)
    assert place.position == position
    assert place.base == (base if base > position else 0)
    assert max(place) == max(position, base), "what such a reader misses is the same"


@pytest.mark.parametrize(
    ("position", "base", "horizon", "misses"),
    [
        (0, 0, 0, False),
        (0, 0, 1, True),
        (7, 0, 6, False),
        (7, 0, 7, False),
        (7, 0, 8, True),
        (3, 7, 7, False),
        (3, 7, 8, True),
        (7, 3, 7, False),
        (7, 3, 8, True),
    ],
)
def test_a_reader_misses_what_was_purged_beyond_all_it_has_seen(
    position: int, base: int, horizon: int, misses: bool
) -> None:
    """`base` counts as seen: what was a deletion when the reader began, it has never met otherwise."""
    assert FeedPlace(position, base).misses(horizon) == misses
    assert FeedPlace.of(position, base).misses(horizon) == misses


@given(seqs, seqs, seqs)
def test_exactly_where_the_horizon_has_passed_both(position: int, base: int, horizon: int) -> None:
    assert FeedPlace(position, base).misses(horizon) == (position < horizon and base < horizon)
