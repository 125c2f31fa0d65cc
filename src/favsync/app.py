"""The application: what it is made of, and in which order it starts and stops."""

import asyncio
import dataclasses
import functools
import hashlib
import hmac
import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from favsync import client
from favsync.ahead import Ahead
from favsync.client.records import content
from favsync.client.turns import in_turns
from favsync.core.rate import RateLimiter
from favsync.entities import doors as entities
from favsync.entities.forms import Form, Refused, Terms
from favsync.feed import doors as feeds
from favsync.gathering import Gathering
from favsync.http import access, health, keys, monitor, openapi, pages, problems, respond
from favsync.http.connections import READER_S, Connections, Wait
from favsync.http.doors import Door, register
from favsync.http.streams import Streams
from favsync.hub import Hub
from favsync.identity.authenticator import Authenticator
from favsync.identity.vault import Vault
from favsync.metrics import Metrics
from favsync.peers import doors as peers
from favsync.peers.attempt import Parts
from favsync.peers.cycle import Judge, Judged
from favsync.peers.routes import Links
from favsync.peers.running import Workers
from favsync.sequencer import Sequencer
from favsync.settings import Settings
from favsync.store import records
from favsync.store.database import Database
from favsync.store.embedded import Embedded
from favsync.sync import Sync
from favsync.turns import Turns

# The task that keeps the storage. It ends only where the service cannot go on, with an OperatorError.
STORAGE = web.AppKey("storage", asyncio.Task[None])

_SEQS_AT_ONCE = 1000  # read in one statement,
_LISTS_AT_ONCE = 8  # likewise, of which each takes as long as some hundred of those, and up to 300 KB
_LIST_STATEMENTS = 4  # at once, but of no more than half of the pool: a tenth faster than two of twice as many
_PAGES_AHEAD = 4  # of feeds, up to 2 MiB each
_NOBODYS = Terms(owner="", entity="", owner_of=lambda _user, _namespace: "", namespaces=frozenset())
_METRICS_CONNECTIONS_MAX = 20
_DATABASE_CLOSE_S = 1.0
_SEQUENCER_STOP_S = 0.5  # it has nothing to put in order; where PostgreSQL stands still, it may not hear
EMBEDDED_STOP_S = 3.0


@dataclasses.dataclass(frozen=True, slots=True)
class Shared:
    """What the processes of one service have in common: see `create_app`."""

    target: Awaitable[Mapping[str, Any]]  # keyword arguments of `asyncpg.connect`, when they are known
    log_key: bytes = dataclasses.field(repr=False)
    metrics: Path  # the folder in which they count
    leads: bool  # the one of them that places what all have written


def wall_clock_us() -> int:
    return time.time_ns() // 1000


def create_app(
    settings: Settings, *, now_us: Callable[[], int] = wall_clock_us, shared: Shared | None = None
) -> web.Application:
    """The whole service, but for a port. `now_us`: its clock, in microseconds since the epoch.

    `shared`: where this is one of several processes, whose parent keeps the embedded PostgreSQL, if there is one.
    """
    app = web.Application()
    app[keys.SETTINGS] = settings
    app[keys.NOW_US] = now_us
    app[keys.METRICS] = Metrics(shared.metrics if shared else None)
    app[keys.ADDRESS_LIMITER] = RateLimiter(settings.rate_limit_address)
    app[keys.FAILURE_LIMITER] = RateLimiter(settings.rate_limit_failures)
    app[keys.USER_LIMITER] = RateLimiter(settings.rate_limit_user)
    app[keys.SPACES] = settings.spaces
    app[keys.AUTHENTICATOR] = Authenticator(settings.all_issuers)
    app[keys.CONNECTIONS] = Connections(settings.max_connections, _patience_s(settings))
    app[keys.DATABASE] = Database(
        pool_size=settings.database_pool,
        migrate_first=settings.migrate,
        declared={entity.stored: entity.scope for entity in settings.entities},
        synchronous_failover=settings.synchronous_failover,
    )
    app[keys.SEQS] = Gathering(functools.partial(records.latest_seqs, app[keys.DATABASE]), most=_SEQS_AT_ONCE)
    app[keys.LISTS] = Gathering(
        functools.partial(records.show, app[keys.DATABASE]),
        most=_LISTS_AT_ONCE,
        statements=max(1, min(_LIST_STATEMENTS, settings.database_pool // 2)),
    )
    app[keys.BATCHES], app[keys.RICH_BATCHES] = Turns(1), Turns(1)
    app[keys.READS] = Turns(max(1, settings.database_pool // 2 - 1))
    app[keys.AHEAD] = Ahead(most=_PAGES_AHEAD)
    app[keys.HUB] = Hub(reads=max(1, settings.database_pool // 2))
    app[keys.STREAMS] = Streams(settings.streams_allowed)
    app[keys.SYNC] = Sync(
        app[keys.DATABASE],
        app[keys.METRICS],
        app[keys.HUB],
        now_us=now_us,
        max_clock_skew_s=settings.max_clock_skew,
        max_items={entity.stored: entity.max_items for entity in settings.all_entities},
    )
    app.middlewares.append(access.middleware(app, shared.log_key if shared else log_key(settings)))
    app.on_response_prepare.append(respond.stamp)
    storage, sequencer = functools.partial(_storage, shared), functools.partial(_sequencer, shared)
    app.cleanup_ctx.extend([storage, _ahead, _authenticator, sequencer, monitor.running])
    app.on_shutdown.append(_end_streams)
    ways_in = doors(settings)
    if settings.peers:
        ways_in += _peers(app, now_us)
    app[openapi.DOCUMENT] = openapi.document(ways_in)
    register(app, ways_in)
    return app


def _peers(app: web.Application, now_us: Callable[[], int]) -> list[Door]:
    """The doors of links; and what works on these, which starts and stops with the rest."""
    settings = app[keys.SETTINGS]
    vault = Vault(settings.link_keys)
    judges = {entity.name: judge(Form(entity, named=False)) for entity in settings.all_entities}
    parts = Parts(app[keys.DATABASE], app[keys.SYNC], vault, app[keys.METRICS], judges, now_us)
    workers = Workers(settings.peers, parts, app[keys.HUB])

    async def running(_app: web.Application) -> AsyncIterator[None]:
        async with workers.running():
            yield

    app.cleanup_ctx.append(running)
    by_name = {peer.name: peer for peer in settings.peers}
    return peers.doors(by_name, Links(by_name, vault, workers.made, workers.ended))


def judge(form: Form) -> Judge:
    """What the doors of an entity would say of records that a peer has."""

    async def judged(records: Sequence[client.Record]) -> list[Judged | str]:
        candidates, _ = await form.read([content(one) async for one in in_turns(records)], _NOBODYS, prefix="")
        return [one.detail if isinstance(one, Refused) else Judged(one.version, one.fields) for one in candidates]

    return judged


def doors(settings: Settings) -> list[Door]:
    """Every way in."""
    shown = entities.doors(settings.all_entities, max_batch=settings.max_batch)
    changes = feeds.doors(settings.all_entities)
    found = [*shown, *changes, *health.doors(), *openapi.doors(), *pages.doors()]
    return found if settings.metrics_port else [*found, *monitor.doors()]


def create_metrics_app(app: web.Application) -> web.Application:
    """The metrics of `app`, for a port of their own."""
    own = web.Application(middlewares=[problems.middleware])
    own[keys.SETTINGS] = dataclasses.replace(app[keys.SETTINGS], cors_origins=())
    own[keys.NOW_US] = app[keys.NOW_US]
    own[keys.METRICS] = app[keys.METRICS]
    own[keys.CONNECTIONS] = Connections(_METRICS_CONNECTIONS_MAX, _patience_s(app[keys.SETTINGS]))
    own.on_response_prepare.append(respond.stamp)
    register(own, monitor.doors())
    return own


def log_key(settings: Settings) -> bytes:
    """What keys the hashes that stand for users in the log: the same after a restart, where there is a secret."""
    secret = (settings.jwt_secret or "").encode() or os.urandom(32)
    return hmac.new(secret, b"favsync: users in the log", hashlib.sha256).digest()


async def _ahead(app: web.Application) -> AsyncIterator[None]:
    yield
    await app[keys.AHEAD].close()


async def _authenticator(app: web.Application) -> AsyncIterator[None]:
    async with app[keys.AUTHENTICATOR].running():
        yield


async def _sequencer(shared: Shared | None, app: web.Application) -> AsyncIterator[None]:
    listen, helps = app[keys.SETTINGS].listen, shared is not None and not shared.leads
    sequencer = Sequencer(app[keys.DATABASE], app[keys.HUB], app[keys.METRICS], listen=listen, helps=helps)
    running = asyncio.create_task(sequencer.run())
    yield
    running.cancel()
    await asyncio.wait([running], timeout=_SEQUENCER_STOP_S)


async def _end_streams(app: web.Application) -> None:
    """So that nobody who waits for news keeps the service from ending."""
    app[keys.STREAMS].close()


def _patience_s(settings: Settings) -> dict[Wait, float]:
    return {
        Wait.HEAD: settings.head_timeout,
        Wait.IDLE: settings.keepalive_timeout,
        Wait.BODY: math.inf,  # whoever reads it ends it, with an answer
        Wait.REST: READER_S,
        Wait.READ: READER_S,
    }


async def _storage(shared: Shared | None, app: web.Application) -> AsyncIterator[None]:
    """The database, opened behind the listening port: until it answers, /readyz says why it does not."""
    settings, database = app[keys.SETTINGS], app[keys.DATABASE]
    embedded = None
    if settings.embedded and not shared:
        embedded = Embedded(settings.data_dir, connections=settings.database_connections)
        embedded.acquire()
    app[STORAGE] = asyncio.create_task(_keep(app, shared, embedded))
    yield
    app[STORAGE].cancel()
    await asyncio.wait([app[STORAGE]])
    await database.close(timeout_s=_DATABASE_CLOSE_S)
    if embedded:
        await embedded.stop(timeout_s=EMBEDDED_STOP_S)


async def _keep(app: web.Application, shared: Shared | None, embedded: Embedded | None) -> None:
    database = app[keys.DATABASE]
    if embedded is None:
        await database.open(await shared.target if shared else {"dsn": app[keys.SETTINGS].database_url})
        await asyncio.Event().wait()  # nothing of ours can fail from here on
    else:
        opening = asyncio.create_task(database.open(await embedded.start()))
        watch = asyncio.create_task(embedded.watch())
        try:
            await asyncio.wait([opening, watch], return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                await opening
            await watch
        finally:
            opening.cancel()
            watch.cancel()
            await asyncio.wait([opening, watch])
