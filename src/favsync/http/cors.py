"""Pages of other origins: OPTIONS, and the headers without which a browser keeps the answer to itself."""

from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Handler

from favsync.http import keys

ANY = "*"
EXPOSED = "ETag, Sync-Cursor, Sync-Time, Link, Retry-After, X-Request-ID, Preference-Applied, WWW-Authenticate"
# What a page may send beside the simple ones.
ALLOWED_HEADERS = (
    "Authorization, Content-Type, Content-Encoding, If-None-Match, Last-Event-ID, Prefer, Sync-Clock-Offset, "
    "X-Request-ID"
)
MAX_AGE_S = 600  # the most that Chromium remembers is 7200


def preflight(methods: Sequence[str]) -> Handler:
    """The answer to OPTIONS of a path: what it allows, and to a configured origin also what the Fetch standard asks."""
    allow = ", ".join(methods)

    async def options(request: web.Request) -> web.Response:
        headers = {"Allow": allow}
        if _allowed(request) and "Access-Control-Request-Method" in request.headers:
            headers["Access-Control-Allow-Methods"] = allow
            headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
            headers["Access-Control-Max-Age"] = str(MAX_AGE_S)
        return web.Response(status=204, headers=headers)

    return options


def stamp(request: web.Request, response: web.StreamResponse) -> None:
    """Lets a page of a configured origin read the response, whatever it is: errors too. No cookies are involved."""
    origins = request.app[keys.SETTINGS].cors_origins
    if not origins:
        return
    if ANY not in origins:  # else the answer is the same for all
        known = response.headers.get("Vary")
        response.headers["Vary"] = f"{known}, Origin" if known else "Origin"
    if origin := _allowed(request):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSED


def _allowed(request: web.Request) -> str | None:
    """What to allow: the request's origin where it is a configured one, or any."""
    origins = request.app[keys.SETTINGS].cors_origins
    if ANY in origins:
        return ANY
    origin = request.headers.get("Origin")
    return origin if origin in origins else None
