"""Rate limits: for each user, and for each address. Each process counts for itself."""

import math
import time

from aiohttp import web

from favsync.core.errors import TooManyRequests
from favsync.core.rate import RateLimiter
from favsync.http import address, keys


def address_of(request: web.Request) -> str:
    """Whom to hold to account."""
    return address.client(request, request.app[keys.SETTINGS].trusted_proxies)


def check(limiter: RateLimiter, key: str, *, count: bool = True) -> None:
    """Counts one of `key`, or only looks. Raises TooManyRequests."""
    wait_s = limiter.wait_s(key, time.monotonic(), count=count)
    if wait_s:
        raise TooManyRequests(math.ceil(wait_s))
