"""Rate limits: for each user, and for each address. Each process counts for itself."""

import math
import time

from aiohttp import web
from aiohttp.typedefs import Handler

from favsync.core.errors import TooManyRequests
from favsync.core.rate import RateLimiter
from favsync.http import address, keys

# A probe may come from the address of a proxy, or of the node that everybody comes through.
_WATCHING = frozenset({"/healthz", "/readyz", "/metrics"})


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses an address that sends too much, before anything else is looked at; but whoever watches over us."""
    if request.path not in _WATCHING:
        check(request.app[keys.ADDRESS_LIMITER], address_of(request))
    return await handler(request)


def address_of(request: web.Request) -> str:
    """Whom to hold to account."""
    return address.client(request, request.app[keys.SETTINGS].trusted_proxies)


def check(limiter: RateLimiter, key: str, *, count: bool = True) -> None:
    """Counts one of `key`, or only looks. Raises TooManyRequests."""
    wait_s = limiter.wait_s(key, time.monotonic(), count=count)
    if wait_s:
        raise TooManyRequests(math.ceil(wait_s))
