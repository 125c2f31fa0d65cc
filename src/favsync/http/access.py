"""What every request gets: an id, the server's time, one line in the log, one observation in the metrics."""

import asyncio
import hashlib
import hmac
import re
import time
import uuid

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from favsync.core import timestamp
from favsync.http import keys

_log = structlog.get_logger(__name__)

REQUEST_ID = "X-Request-ID"
SYNC_TIME = "Sync-Time"
_OWNER = web.RequestKey("owner", str)
_ID = web.RequestKey("request_id", str)
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
CLIENT_CLOSED = 499


def note_owner(request: web.Request, owner: str) -> None:
    """Whose request it is, for the log."""
    request[_OWNER] = owner


def middleware(log_key: bytes) -> Middleware:
    """`log_key`: keys the hash that stands for a user in the log, so that a list of users does not undo it."""

    @web.middleware
    async def access(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = time.perf_counter()
        sent_id = request.headers.get(REQUEST_ID, "")
        request[_ID] = sent_id if _SANE_ID.fullmatch(sent_id) else uuid.uuid4().hex
        status = 500
        with structlog.contextvars.bound_contextvars(request_id=request[_ID]):
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
                _log.info(
                    "request",
                    method=request.method,
                    route=route,
                    status=status,
                    duration_ms=round(duration_s * 1000, 2),
                    user=owner and hmac.new(log_key, owner.encode(), hashlib.sha256).hexdigest()[:16],
                )

    return access


async def stamp(request: web.Request, response: web.StreamResponse) -> None:
    """Every response says when the server answered, from which a client learns how far its own clock is off."""
    stamp_headers(response, request.get(_ID) or uuid.uuid4().hex, request.app[keys.NOW_US]())


def stamp_headers(response: web.StreamResponse, request_id: str, now_us: int) -> None:
    """The headers that every response has."""
    response.headers[SYNC_TIME] = timestamp.render(now_us // timestamp.US_PER_MS * timestamp.US_PER_MS)
    response.headers[REQUEST_ID] = request_id
    response.headers["Server"] = "favsync"
