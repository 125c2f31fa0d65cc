"""What every request gets: an id, the server's time, one line in the log, one observation in the metrics."""

import asyncio
import functools
import hmac
import random
import re
import time

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from favsync import logs
from favsync.core import timestamp
from favsync.http import keys

REQUEST_ID = "X-Request-ID"
SYNC_TIME = "Sync-Time"
_ID_BITS = 128
_OWNER = web.RequestKey("owner", str)
_ID = web.RequestKey("request_id", str)
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
CLIENT_CLOSED = 499


def note_owner(request: web.Request, owner: str) -> None:
    """Whose request it is, for the log."""
    request[_OWNER] = owner


def middleware(log_key: bytes) -> Middleware:
    """`log_key`: keys the hash that stands for a user in the log, so that a list of users does not undo it."""

    @functools.lru_cache(10_000)
    def alias(owner: str) -> str:
        return hmac.digest(log_key, owner.encode(), "sha256").hex()[:16]

    @web.middleware
    async def access(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = time.perf_counter()
        sent_id = request.headers.get(REQUEST_ID, "")
        request[_ID] = sent_id if _SANE_ID.fullmatch(sent_id) else new_id()
        structlog.contextvars.bind_contextvars(request_id=request[_ID])
        status = 500
        try:
            response = await handler(request)
            status = response.status
            return response
        except asyncio.CancelledError:
            status = CLIENT_CLOSED
            raise
        finally:
            resource = request.match_info.route.resource
            route = resource.canonical if resource else None
            owner = request.get(_OWNER)
            duration_s = time.perf_counter() - began
            if request.transport is None:
                status = CLIENT_CLOSED  # whatever was answered, nobody was there to hear it
            request.app[keys.METRICS].request(request.method, route, status, duration_s)
            logs.line(
                "request",
                method=request.method,
                route=route,
                status=status,
                duration_ms=round(duration_s * 1000, 2),
                user=owner and alias(owner),
                request_id=request[_ID],
            )

    return access


def new_id() -> str:
    """For a request that has no id of its own."""
    # Nobody gains by guessing one, and one that nobody can guess costs 7 us.
    return f"{random.getrandbits(_ID_BITS):032x}"


def stamp(request: web.Request, response: web.StreamResponse) -> None:
    """Every response says when the server answered, from which a client learns how far its own clock is off."""
    stamp_headers(response, request.get(_ID) or new_id(), request.app[keys.NOW_US]())


def stamp_headers(response: web.StreamResponse, request_id: str, now_us: int) -> None:
    """The headers that every response has."""
    headers = response.headers
    headers[SYNC_TIME] = _in_ms(now_us // timestamp.US_PER_MS)
    headers[REQUEST_ID] = request_id
    headers["Server"] = "favsync"


@functools.lru_cache(1)  # answers come several a millisecond
def _in_ms(now_ms: int) -> str:
    return timestamp.render(now_ms * timestamp.US_PER_MS)
