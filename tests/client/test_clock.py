"""The service's time, learnt from answers."""

from favsync.client import Clock
from favsync.core import timestamp
from favsync.core.record import Version
from favsync.core.timestamp import LATEST_US, render

T = 1_600_000_000_000_000
S = 1_000_000


class Hands:
    """A wall clock and a monotonic one."""

    def __init__(self) -> None:
        self.wall_us, self.steady_s = T, 100.0
        self.clock = Clock(lambda: self.wall_us, lambda: self.steady_s)

    def request(self, ahead_us: int, took_s: float, *, set_by_us: int = 0, header: str | None = None) -> None:
        """The service's clock is so far ahead, and it answers in the middle."""
        asking = self.clock.asking()
        middle_us = self.wall_us + ahead_us + round(took_s * S / 2)
        said = render(middle_us) if header is None else header
        self.wall_us += round(took_s * S) + set_by_us
        self.steady_s += took_s
        asking.answered(said)


def test_it_learns_by_how_much_it_is_wrong() -> None:
    hands = Hands()
    assert (hands.clock.offset_ms, hands.clock.now_us()) == (None, T)
    hands.request(-90 * S, 0.2)
    assert (hands.clock.offset_ms, hands.clock.error_ms) == (-90_000, 100)
    assert hands.clock.now_us() == hands.wall_us - 90 * S


def test_a_first_offset_counts_however_small() -> None:
    hands = Hands()
    hands.request(5_000, 0.1)
    assert hands.clock.offset_ms == 5


def test_noise_changes_nothing() -> None:
    hands = Hands()
    hands.request(0, 0.1)
    hands.request(999_000, 0.1)
    assert hands.clock.offset_ms == 0
    hands.request(4 * S, 5.0)
    assert hands.clock.offset_ms == 0, "less than the request took"
    hands.request(1_001_000, 0.1)
    assert hands.clock.offset_ms == 1_001


def test_what_took_too_long_tells_nothing() -> None:
    hands = Hands()
    hands.request(90 * S, 10.1)
    assert hands.clock.offset_ms is None
    hands.request(90 * S, 9.9)
    assert hands.clock.offset_ms == 90_000


def test_a_clock_that_was_set_meanwhile_tells_nothing() -> None:
    for by_us in (-2 * S, 2 * S):
        hands = Hands()
        hands.request(90 * S, 0.1, set_by_us=by_us)
        assert hands.clock.offset_ms is None


def test_rubbish_tells_nothing() -> None:
    hands = Hands()
    for header in ("", "now", "2200-01-01T00:00:00Z"):
        hands.request(0, 0.1, header=header)
    hands.clock.asking().answered(None)
    assert hands.clock.offset_ms is None


def test_a_stamp_is_never_before_what_was_seen() -> None:
    hands = Hands()
    hands.wall_us = T + 1_234
    assert hands.clock.stamp() == T + 1_000
    assert hands.clock.stamp(Version(T - 5, False)) == T + 1_000
    assert hands.clock.stamp(Version(T + 7_000_001, True)) == T + 7_001_001
    assert Version(hands.clock.stamp(Version(T + S, True)), False) > Version(T + S, True)
    assert hands.clock.stamp(Version(LATEST_US, True)) == LATEST_US
    timestamp.within_range(LATEST_US)
