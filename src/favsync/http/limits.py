"""Rate limits: for each user, and for each address. Each process counts for itself."""

import math
import time

from aiohttp import web
from aiohttp.typedefs import Handler

from favsync.core.errors import TooManyRequests
from favsync.core.rate import RateLimiter
from favsync.http import address, keys


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses an address that sends too much, before anything else is looked at."""
    check(request.app[keys.ADDRESS_LIMITER], address.client(request, request.app[keys.SETTINGS].trusted_proxies))
    return await handler(request)


def check(limiter: RateLimiter, key: str) -> None:
    """Counts one request of `key`. Raises TooManyRequests."""
    wait_s = limiter.wait_s(key, time.monotonic())
    if wait_s:
        raise TooManyRequests(math.ceil(wait_s))
