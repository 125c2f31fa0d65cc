"""The time as the service has it, learnt from its answers."""

import time
from collections.abc import Callable

from favsync.core import timestamp
from favsync.core.record import Version
from favsync.core.timestamp import LATEST_US, US_PER_MS

SLOW_MS = 10_000  # a request that took longer tells too little
NOISE_MS = 1_000  # a difference below that is not worth a change


def _now_us() -> int:
    return time.time_ns() // 1000


class Clock:
    """`offset_ms`: the service's time minus one's own; None before the first answer that tells.

    `error_ms`: by how much that may be wrong, at most: half the time that the request took.
    """

    def __init__(self, now_us: Callable[[], int] = _now_us, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._now_us = now_us
        self._monotonic_s = monotonic_s
        self.offset_ms: int | None = None
        self.error_ms: int | None = None

    def now_us(self) -> int:
        """One's own clock, corrected: microseconds since 1970."""
        return self._now_us() + (self.offset_ms or 0) * US_PER_MS

    def stamp(self, seen: Version | None = None) -> int:
        """The date for what somebody does now who has seen `seen`: never before that, and in whole milliseconds.

        Without the second half, who has a slow clock could not undo what they see.
        """
        at_us = self.now_us() // US_PER_MS * US_PER_MS
        if seen is not None:
            at_us = max(at_us, seen.action_us + US_PER_MS)
        return min(at_us, LATEST_US)

    def asking(self) -> "Measurement":
        """Before a request is sent."""
        return Measurement(self, self._now_us(), self._monotonic_s())

    def learn(self, sync_time: str, began_us: int, took_s: float) -> None:
        """From an answer with this Sync-Time, as docs/client.md has it."""
        ended_us, took_ms = self._now_us(), round(took_s * 1000)
        was_set = abs(ended_us - began_us - took_s * timestamp.US_PER_S) > NOISE_MS * US_PER_MS
        if took_ms > SLOW_MS or was_set:  # somebody has set the clock meanwhile, or the machine slept
            return
        try:
            measured_us = timestamp.parse(sync_time) - (began_us + ended_us) // 2
        except ValueError:
            return
        measured_ms = round(measured_us / US_PER_MS)
        if self.offset_ms is None or abs(measured_ms - self.offset_ms) > max(NOISE_MS, took_ms):
            self.offset_ms, self.error_ms = measured_ms, (took_ms + 1) // 2

    def elapsed_s(self, since_s: float) -> float:
        return self._monotonic_s() - since_s


class Measurement:
    """When a request was sent."""

    def __init__(self, clock: Clock, began_us: int, began_s: float) -> None:
        self._clock = clock
        self._began_us = began_us
        self._began_s = began_s

    def answered(self, sync_time: str | None) -> None:
        """At the head of the answer."""
        if sync_time is not None:
            self._clock.learn(sync_time, self._began_us, self._clock.elapsed_s(self._began_s))
