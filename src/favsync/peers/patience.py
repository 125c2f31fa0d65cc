"""How long to leave a peer alone: each link for itself, and all of a peer's together where it does not answer."""

import random

BACKOFF_MIN_S = 2.0
BACKOFF_MAX_S = 3600.0
OPENS_AT = 5  # failures in a row, of whatever links
PROBE_MIN_S, PROBE_MAX_S = 5.0, 300.0


def backoff_s(failures: int) -> float:
    """After so many failures of one link in a row, the first being 1: doubled each time, and a random half of it."""
    longest = min(BACKOFF_MIN_S * 2.0 ** min(failures, 30), BACKOFF_MAX_S)
    return random.uniform(longest / 2, longest)  # noqa: S311 -- so that links do not come together again


class Breaker:
    """Opens where a peer fails again and again, so that its links do not each wait for the same timeouts.

    While it is open, one attempt at a time may try; the first that succeeds closes it. `now_s`: a clock that only
    grows. `probe`: what `began` has said of the attempt.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._closed_until_s = 0.0  # nothing goes before this
        self._probing = False

    @property
    def is_open(self) -> bool:
        return self._failures >= OPENS_AT

    def room(self, wanted: int, now_s: float) -> int:
        """How many of `wanted` attempts may begin."""
        if now_s < self._closed_until_s:
            return 0
        if not self.is_open:
            return wanted
        return 0 if self._probing else min(wanted, 1)

    def began(self) -> bool:
        """Whether this attempt is the one that tries for all. Each attempt has to end, however it does."""
        probe = self.is_open and not self._probing
        self._probing = self._probing or probe
        return probe

    def ended(self, *, probe: bool) -> None:
        """Whether or not it has shown how the peer does: where a probe has not, there is room for another."""
        if probe:
            self._probing = False

    def succeeded(self) -> None:
        """The peer has answered as one does that is in order."""
        self._failures = 0

    def failed(self, now_s: float, *, probe: bool) -> None:
        if self.is_open and not probe:
            return  # it began before that was known, and says nothing new
        self._failures += 1
        if self.is_open:
            longest = min(PROBE_MIN_S * 2.0 ** min(self._failures - OPENS_AT, 20), PROBE_MAX_S)
            self.pause(now_s + random.uniform(longest / 2, longest))  # noqa: S311 -- likewise

    def pause(self, until_s: float) -> None:
        """Nothing goes before that."""
        self._closed_until_s = max(self._closed_until_s, until_s)
