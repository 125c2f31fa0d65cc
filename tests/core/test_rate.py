"""How often somebody may."""

from hypothesis import given
from hypothesis import strategies as st

from favsync.core.rate import BURST_S, RateLimiter


def test_a_burst_then_the_rate() -> None:
    limiter = RateLimiter(10, burst_s=0.5)
    assert [limiter.wait_s("ann", 100.0) for _ in range(5)] == [0.0] * 5
    assert round(limiter.wait_s("ann", 100.0), 6) == 0.1
    assert limiter.wait_s("bob", 100.0) == 0.0
    assert round(limiter.wait_s("ann", 100.05), 6) == 0.05
    assert limiter.wait_s("ann", 100.1) == 0.0
    assert limiter.wait_s("ann", 100.1) > 0.0
    assert [limiter.wait_s("ann", 200.0) for _ in range(5)] == [0.0] * 5, "a long rest does not save up more"
    assert limiter.wait_s("ann", 200.0) > 0.0


def test_the_burst_is_five_seconds_worth() -> None:
    limiter = RateLimiter(2)
    assert [limiter.wait_s("ann", 0.0) for _ in range(int(BURST_S * 2))] == [0.0] * 10
    assert limiter.wait_s("ann", 0.0) == 0.5


def test_looking_counts_nothing() -> None:
    limiter = RateLimiter(1, burst_s=2)
    assert [limiter.wait_s("ann", 0.0, count=False) for _ in range(5)] == [0.0] * 5
    assert [limiter.wait_s("ann", 0.0) for _ in range(2)] == [0.0] * 2
    assert limiter.wait_s("ann", 0.0, count=False) == limiter.wait_s("ann", 0.0) == 1.0
    assert limiter.wait_s("ann", 1.0, count=False) == 0.0


def test_seldom_is_possible_and_never_is_not_meant() -> None:
    limiter = RateLimiter(0.1)
    assert [limiter.wait_s("ann", now_s) for now_s in (0.0, 4.0, 10.0)] == [0.0, 6.0, 0.0]
    anything = RateLimiter(0)
    assert [anything.wait_s("ann", 0.0) for _ in range(1000)] == [0.0] * 1000


def test_beyond_its_room_the_least_lately_seen_begins_afresh() -> None:
    limiter = RateLimiter(1, burst_s=1, keys_max=2)
    assert limiter.wait_s("ann", 0.0) == limiter.wait_s("bob", 0.0) == 0.0
    assert limiter.wait_s("ann", 0.5) == 0.5, "refused, and seen"
    assert limiter.wait_s("cy", 0.5) == 0.0
    assert limiter.wait_s("ann", 0.5) == 0.5
    assert limiter.wait_s("bob", 0.5) == 0.0


@given(st.integers(1, 50), st.integers(1, 5), st.lists(st.floats(0, 2), max_size=100))
def test_no_span_of_time_sees_more_than_rate_and_burst(per_s: int, burst_s: int, gaps_s: list[float]) -> None:
    limiter = RateLimiter(per_s, burst_s=burst_s)
    now_s, passed_s = 1000.0, []
    for gap_s in gaps_s:
        now_s += gap_s
        if limiter.wait_s("ann", now_s) == 0.0:
            passed_s.append(now_s)
    for first in range(len(passed_s)):
        for last in range(first, len(passed_s)):
            assert last - first + 1 <= per_s * (passed_s[last] - passed_s[first] + burst_s) + 1e-6
