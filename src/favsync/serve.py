"""Running the application on a port until somebody says stop."""

import asyncio
import contextlib
import dataclasses
import gc
import shlex
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import structlog
from aiohttp import web

from favsync import app as application
from favsync import ports
from favsync.core.errors import OperatorError
from favsync.http import keys
from favsync.http.auth import issue
from favsync.http.server import Runner
from favsync.settings import Settings

_log = structlog.get_logger(__name__)

FILES_RESERVED = 256  # what is open besides: the listener, pipes, PostgreSQL's, connections that are just being closed
TRIAL_USER = "demo"
TRIAL_TOKEN_S = 3600


class Ports(NamedTuple):
    """The sockets of one process: for everything, and for the metrics where these have a port of their own."""

    service: list[socket.socket]
    metrics: list[socket.socket]


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM, SIGINT or SIGHUP, then ends what is under way and returns. Raises OperatorError."""
    settings = dataclasses.replace(settings, max_connections=connections_allowed(settings))
    app = application.create_app(settings)
    stop = stop_signal()
    async with running(app) as attend:
        [opened] = await open_ports(settings)
        await attend(opened)
        url = announce_listening(settings, opened)
        await until_stopped(app, stop, ready=lambda: announce_ready(settings, url))
        _log.info("stopping")
    _log.info("stopped")


async def open_ports(settings: Settings) -> list[Ports]:
    """What each of `settings.workers` processes listens on. Raises OperatorError."""
    opened = await ports.listen(settings.host, settings.port, processes=settings.workers)
    if not settings.metrics_port:
        return [Ports(own, []) for own in opened]
    try:
        # One queue for all: whoever takes a request from it tells of all.
        [metrics] = await ports.listen(settings.host, settings.metrics_port)
    except OperatorError:
        ports.close(opened)
        raise
    return [Ports(own, metrics) for own in opened]


@contextlib.asynccontextmanager
async def running(app: web.Application) -> AsyncIterator[Callable[[Ports], Awaitable[None]]]:
    """Starts `app`, and gives what makes it attend to ports; in the end, ends what is under way."""
    async with contextlib.AsyncExitStack() as stack:
        runners = Runner(app), Runner(application.create_metrics_app(app))
        for runner in runners:
            stack.push_async_callback(runner.cleanup)
            await runner.setup()

        async def attend(opened: Ports) -> None:
            for runner, sockets in zip(runners, opened, strict=True):
                for one in sockets:
                    await web.SockSite(runner, one, backlog=ports.BACKLOG).start()
            gc.collect()
            gc.freeze()  # what is made at the start stays, and need not be looked through again and again

        yield attend


def stop_signal() -> asyncio.Event:
    """Set by SIGTERM, SIGINT or SIGHUP."""
    stop = asyncio.Event()
    numbers = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup
        numbers.remove(signal.SIGHUP)
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def until_stopped(app: web.Application, stop: asyncio.Event, *, ready: Callable[[], None]) -> None:
    """Returns when `stop` is set; meanwhile calls `ready`, once. Raises OperatorError."""

    async def greet() -> None:
        await app[keys.DATABASE].opened.wait()
        ready()

    storage = app[application.STORAGE]
    greeter, stopped = asyncio.create_task(greet()), asyncio.create_task(stop.wait())
    await asyncio.wait([stopped, storage], return_when=asyncio.FIRST_COMPLETED)
    greeter.cancel()
    if not stop.is_set():
        stopped.cancel()
        await storage


def announce_listening(settings: Settings, opened: Ports) -> str:
    """Says so in the log; the URL to reach it by."""
    url = _url(settings.host, opened.service[0].getsockname()[1])
    _log.info(
        "listening",
        url=url, embedded=settings.embedded, workers=settings.workers, max_connections=settings.max_connections,
    )  # fmt: skip
    return url


def announce_ready(settings: Settings, url: str) -> None:
    _log.info("ready")
    if settings.embedded and settings.jwt_secret:
        sys.stdout.write(greeting(settings.jwt_secret, settings.data_dir, url))
        sys.stdout.flush()


def connections_allowed(settings: Settings) -> int:
    """`max_connections`, or as many as there can be files, of which some are kept for everything else.

    Raises the soft file limit as far as that needs. Raises OperatorError where no connection is left.
    """
    if sys.platform == "win32":
        return settings.max_connections
    import resource  # noqa: PLC0415 -- not there on Windows

    reserved = FILES_RESERVED + settings.database_pool
    wanted = settings.max_connections + reserved
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        except (ValueError, OSError):  # macOS has a limit beneath the one that it tells
            _log.debug("the file limit cannot be raised", limit=limit)
        else:
            limit = raised
    if limit == resource.RLIM_INFINITY or limit >= wanted:
        return settings.max_connections
    if limit <= reserved:
        raise OperatorError(f"the file limit (ulimit -n) is {limit}; it must be above {reserved}")
    allowed = limit - reserved
    _log.warning("fewer connections, for want of files", max_connections=allowed, file_limit=limit)
    return allowed


def greeting(secret: str, data_dir: Path, url: str) -> str:
    """What a newcomer can paste into a shell: shown only by a service with a database and tokens of its own."""
    token = issue(secret, TRIAL_USER, scopes=(), now_s=int(time.time()), ttl_s=TRIAL_TOKEN_S)
    record = '[{"item": "session_21982", "actionDate": "2017-05-02T10:45:12.798Z", "action": "ADD"}]'
    return f"""
# favsync is up, with a PostgreSQL of its own in {data_dir}. The token lasts an hour.
DEMO={token}
curl -sS {url}/postUserFavorites -H "Authorization: Bearer $DEMO" -H 'Content-Type: application/json' \\
  -d {shlex.quote(record)}
curl -sS {url}/getUserFavorites -H "Authorization: Bearer $DEMO"

"""


def _url(host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- compared with, not bound to
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 -- not there on Windows

    return uvloop.new_event_loop
