"""Is it alive, is it ready, what is it?"""

from aiohttp import web

from favsync import __version__
from favsync.core import fields
from favsync.core.errors import Unavailable
from favsync.core.record import ITEM_LENGTH_MAX
from favsync.http import keys
from favsync.http.auth import TOKEN_LENGTH_MAX
from favsync.http.connections import HELD_BYTES_MAX, READER_S
from favsync.http.doors import FEED_LIMIT_MAX, LIMIT_MAX, WAIT_MAX_S, Answer, Door
from favsync.http.protocol import FIELD_BYTES_MAX, HEAD_BYTES_MAX, LINE_BYTES_MAX
from favsync.http.respond import json_response
from favsync.lanes import WAITING_MAX
from favsync.store.bounded import FIELDS_BYTES_MAX
from favsync.waiting import CALLER_OFFERS_MAX


async def alive(_request: web.Request) -> web.StreamResponse:
    """200 for as long as the process answers at all."""
    return json_response({"status": "alive"})


async def ready(request: web.Request) -> web.StreamResponse:
    """200 when requests can be served, else 503 with what stands in the way."""
    obstacle = await request.app[keys.DATABASE].ping()
    if obstacle:
        return json_response(
            {"status": "unready", "reason": obstacle},
            status=503,
            headers={"Retry-After": str(Unavailable.retry_after_s)},
        )
    return json_response({"status": "ready"})


async def index(request: web.Request) -> web.StreamResponse:
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
                "maxFieldsBytes": fields.BYTES_MAX,
                "maxLimit": LIMIT_MAX,
                "maxFeedLimit": FEED_LIMIT_MAX,
                "maxWaitSeconds": WAIT_MAX_S,
                "maxStreams": settings.streams_allowed,
                "maxAnswerFieldsBytes": FIELDS_BYTES_MAX,
                "maxClockSkewSeconds": settings.max_clock_skew,
                "maxTokenLength": TOKEN_LENGTH_MAX,
                "maxWaitingWritesPerCaller": CALLER_OFFERS_MAX,
                "maxLockedWritesPerUser": WAITING_MAX,
                "maxRequestsPerSecondPerUser": settings.rate_limit_user or None,
                "maxRequestsPerSecondPerAddress": settings.rate_limit_address or None,
                "maxBadTokensPerSecondPerAddress": settings.rate_limit_failures or None,
                "maxConnections": settings.max_connections,
                "maxHeadBytes": HEAD_BYTES_MAX,
                "maxHeaderBytes": FIELD_BYTES_MAX,
                "maxRequestLineBytes": LINE_BYTES_MAX,
                "headTimeoutSeconds": settings.head_timeout,
                "bodyTimeoutSeconds": settings.body_timeout,
                "keepAliveSeconds": settings.keepalive_timeout,
                "answerTimeoutSeconds": READER_S,
                "maxBytesHeldForClients": HELD_BYTES_MAX,
            },
            "entities": {
                entity.name: {
                    "path": f"/sync/{entity.name}",
                    "feed": f"/feed/{entity.name}",
                    "scope": entity.scope,
                    "maxItems": entity.max_items,
                }
                for entity in settings.all_entities
            },
            "links": {
                "openapi": "/openapi.json",
                "docs": "/docs",
                "sync": "/sync",
                **{path[1:]: path for entity in settings.entities for path in entity.legacy or ()},
                "healthz": "/healthz",
                "readyz": "/readyz",
            },
        }
    )


def doors() -> list[Door]:
    status = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
    unready = Answer(description="Something stands in the way: `reason`", schema=status, headers=["Retry-After"])
    about = {"type": "object", "required": ["name", "version", "limits", "entities", "links"]}
    return [
        Door(
            method="GET", path="/", handler=index, public=True, summary="What this is, its limits and its doors",
            answers={200: Answer(description="About the service", schema=about)},
        ),
        Door(
            method="GET", path="/healthz", handler=alive, public=True, summary="Is the process alive?",
            answers={200: Answer(description="It is", schema=status)},
        ),
        Door(
            method="GET", path="/readyz", handler=ready, public=True, summary="Can requests be served?",
            answers={200: Answer(description="They can", schema=status), 503: unready},
        ),
    ]  # fmt: skip
