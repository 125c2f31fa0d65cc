"""Is it alive, is it ready, what is it?"""

from aiohttp import web

from favsync import __version__
from favsync.core.errors import Unavailable
from favsync.core.record import ITEM_LENGTH_MAX
from favsync.http import keys
from favsync.http.protocol import HEAD_BYTES_MAX
from favsync.http.respond import json_response


async def alive(_request: web.Request) -> web.Response:
    """200 for as long as the process answers at all."""
    return json_response({"status": "alive"})


async def ready(request: web.Request) -> web.Response:
    """200 when requests can be served, else 503 with what stands in the way."""
    obstacle = await request.app[keys.DATABASE].ping()
    if obstacle:
        return json_response(
            {"status": "unready", "reason": obstacle},
            status=503,
            headers={"Retry-After": str(Unavailable.retry_after_s)},
        )
    return json_response({"status": "ready"})


async def index(request: web.Request) -> web.Response:
    """What this is, what it allows, and where the doors are."""
    settings = request.app[keys.SETTINGS]
    return json_response(
        {
            "name": "favsync",
            "version": __version__,
            "limits": {
                "maxBatch": settings.max_batch,
                "maxBodyBytes": settings.max_body,
                "maxItemsPerUser": settings.max_items,
                "maxItemLength": ITEM_LENGTH_MAX,
                "maxClockSkewSeconds": settings.max_clock_skew,
                "maxConnections": settings.max_connections,
                "maxHeadBytes": HEAD_BYTES_MAX,
                "headTimeoutSeconds": settings.head_timeout,
                "bodyTimeoutSeconds": settings.body_timeout,
                "keepAliveSeconds": settings.keepalive_timeout,
            },
            "links": {
                "getUserFavorites": "/getUserFavorites",
                "postUserFavorites": "/postUserFavorites",
                "healthz": "/healthz",
                "readyz": "/readyz",
            },
        }
    )


def routes() -> list[web.RouteDef]:
    return [web.get("/", index), web.get("/healthz", alive), web.get("/readyz", ready)]
