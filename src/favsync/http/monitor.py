"""GET /metrics, and what has to be looked at for it from time to time."""

import asyncio
import math
import time
from collections.abc import AsyncIterator

import structlog
from aiohttp import web

from favsync.core.errors import Unavailable
from favsync.http import keys
from favsync.http.doors import Answer, Door
from favsync.metrics import CONTENT_TYPE
from favsync.store import pending

_log = structlog.get_logger(__name__)

LOOK_S = 0.5
PENDING_S = 10.0


async def metrics(request: web.Request) -> web.Response:
    return web.Response(body=request.app[keys.METRICS].render(), headers={"Content-Type": CONTENT_TYPE})


def doors() -> list[Door]:
    return [
        Door(
            method="GET", path="/metrics", handler=metrics, public=True, summary="For Prometheus",
            answers={200: Answer(description="The text format 0.0.4", content_type="text/plain")},
        )
    ]  # fmt: skip


async def running(app: web.Application) -> AsyncIterator[None]:
    """Looks at what is in use, at the event loop, and at how long changes wait for the feed."""
    tasks = [asyncio.create_task(_watch_process(app)), asyncio.create_task(_watch_pending(app))]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _watch_process(app: web.Application) -> None:
    metrics, settings = app[keys.METRICS], app[keys.SETTINGS]
    while True:
        busy, idle = app[keys.DATABASE].pool_use()
        metrics.pool(busy=busy, idle=idle, most=settings.database_pool)
        metrics.streams(now=len(app[keys.STREAMS]), most=settings.streams_allowed)
        metrics.connections(now=len(app[keys.CONNECTIONS]), most=settings.max_connections)
        began = time.monotonic()
        await asyncio.sleep(LOOK_S)
        metrics.loop_lag(max(0.0, time.monotonic() - began - LOOK_S))


async def _watch_pending(app: web.Application) -> None:
    app[keys.METRICS].pending_age(math.nan)
    await app[keys.DATABASE].opened.wait()
    while True:
        age_s = math.nan
        try:
            age_s = await pending.oldest_age_s(app[keys.DATABASE])
        except Unavailable:
            pass  # which /readyz tells
        except Exception:  # noqa: BLE001 -- a gauge that stands still would be taken for true
            _log.exception("what waits for the feed cannot be looked at")
        app[keys.METRICS].pending_age(age_s)
        await asyncio.sleep(PENDING_S)
