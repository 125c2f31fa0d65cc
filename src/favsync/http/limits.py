"""Rate limits: for each user, and for each address. Each process counts for itself."""

import math
import time

from favsync.core.errors import TooManyRequests
from favsync.core.rate import RateLimiter


def check(limiter: RateLimiter, key: str, *, count: bool = True) -> None:
    """Counts one of `key`, or only looks. Raises TooManyRequests."""
    wait_s = limiter.wait_s(key, time.monotonic(), count=count)
    if wait_s:
        raise TooManyRequests(math.ceil(wait_s))
