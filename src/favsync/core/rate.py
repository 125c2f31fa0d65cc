"""How often somebody may do something: the generic cell rate algorithm (ITU-T I.371), one number a key."""

from collections import OrderedDict
from collections.abc import Hashable

BURST_S = 5.0
KEYS_MAX = 100_000


class RateLimiter:
    """`per_s` a second for each key, in the long run; at once as many as `burst_s` seconds allow. 0: no limit.

    Keys beyond `keys_max` push out those that were seen least lately, which then begin afresh.
    """

    def __init__(self, per_s: float, *, burst_s: float = BURST_S, keys_max: int = KEYS_MAX) -> None:
        self._interval_s = 1 / per_s if per_s else 0.0
        self._burst_s = max(burst_s, self._interval_s)
        self._keys_max = keys_max
        self._free_at_s: OrderedDict[Hashable, float] = OrderedDict()

    def wait_s(self, key: Hashable, now_s: float, *, count: bool = True) -> float:
        """0.0 where `key` may go on, which is then counted, unless `count` is false; else in how many seconds it may.

        >>> limiter = RateLimiter(2, burst_s=1)
        >>> [limiter.wait_s("ann", now_s) for now_s in (10, 10, 10, 10.25, 10.5)]
        [0.0, 0.0, 0.5, 0.25, 0.0]
        """
        if not self._interval_s:
            return 0.0
        free_at_s = max(self._free_at_s.get(key, now_s), now_s) + self._interval_s
        wait_s = free_at_s - self._burst_s - now_s
        if wait_s <= 0 and count:
            self._free_at_s[key] = free_at_s
        if key in self._free_at_s:
            self._free_at_s.move_to_end(key)
        if len(self._free_at_s) > self._keys_max:
            del self._free_at_s[next(iter(self._free_at_s))]
        return max(wait_s, 0.0)
