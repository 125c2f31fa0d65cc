"""How long a peer is left alone, without a peer."""

import pytest

from favsync.peers.patience import BACKOFF_MAX_S, OPENS_AT, PROBE_MAX_S, Breaker, backoff_s


def opened(now_s: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(OPENS_AT):
        probe = breaker.began()
        breaker.failed(now_s, probe=probe)
        breaker.ended(probe=probe)
    assert breaker.is_open
    return breaker


def test_a_link_waits_twice_as_long_each_time_and_never_as_long_as_another() -> None:
    for failures, longest in ((1, 4.0), (2, 8.0), (5, 64.0), (30, BACKOFF_MAX_S), (10**6, BACKOFF_MAX_S)):
        waits = {backoff_s(failures) for _ in range(200)}
        assert longest / 2 <= min(waits) < max(waits) <= longest
        assert len(waits) > 100


def test_it_opens_after_failures_in_a_row() -> None:
    breaker = Breaker()
    for _ in range(3 * OPENS_AT):
        for _ in range(OPENS_AT - 1):
            breaker.failed(0, probe=False)
        breaker.succeeded()
        assert breaker.room(8, 0) == 8
    for _ in range(OPENS_AT):
        breaker.failed(0, probe=False)
    assert breaker.room(8, 0) == 0


def test_one_at_a_time_tries_once_it_has_been_open_for_a_while() -> None:
    breaker = opened()
    assert breaker.room(8, 2.4) == 0
    assert breaker.room(8, 5.1) == 1
    probe = breaker.began()
    assert probe
    assert breaker.room(8, 10**6) == 0
    breaker.failed(5.1, probe=probe)
    breaker.ended(probe=probe)
    assert breaker.room(8, 10.0) == 0
    assert breaker.room(8, 15.2) == 1
    probe = breaker.began()
    breaker.succeeded()
    breaker.ended(probe=probe)
    assert breaker.room(8, 15.2) == 8


def test_a_probe_that_shows_nothing_makes_room_for_another() -> None:
    """Our own database went away in its midst, or it was cancelled."""
    breaker = opened()
    breaker.ended(probe=breaker.began())
    assert breaker.room(8, 5.1) == 1


def test_what_began_before_it_opened_says_nothing_new() -> None:
    """With a thousand at once, its first opening would else last as long as any."""
    breaker = Breaker()
    attempts = [breaker.began() for _ in range(1000)]
    for probe in attempts:
        breaker.failed(0, probe=probe)
        breaker.ended(probe=probe)
    assert breaker.room(8, 5.1) == 1
    probe = breaker.began()
    breaker.ended(probe=False)
    assert breaker.room(8, 5.1) == 0, "there is one that tries"
    breaker.ended(probe=probe)


def test_it_is_never_closed_for_longer_than_its_most() -> None:
    breaker, now_s = opened(), 0.0
    for _ in range(50):
        now_s += PROBE_MAX_S
        assert breaker.room(8, now_s) == 1
        breaker.failed(now_s, probe=breaker.began())
        breaker.ended(probe=True)


def test_of_what_begins_at_once_when_it_is_open_one_tries_for_all() -> None:
    """Links are claimed for as much room as there was before it opened."""
    breaker = opened()
    assert [breaker.began() for _ in range(8)] == [True, *[False] * 7]


@pytest.mark.parametrize("later_s", [1.0, 9.0])
def test_a_pause_is_kept_whoever_succeeds_meanwhile(later_s: float) -> None:
    breaker = Breaker()
    breaker.pause(10)
    breaker.pause(5)
    breaker.succeeded()
    assert (breaker.room(8, later_s), breaker.room(8, 10.0)) == (0, 8)
