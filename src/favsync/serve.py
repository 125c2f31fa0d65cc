"""Running the application on a port until somebody says stop."""

import asyncio
import dataclasses
import gc
import shlex
import signal
import sys
import time
from pathlib import Path

import structlog
from aiohttp import web

from favsync import app as application
from favsync.core.errors import OperatorError
from favsync.http import keys
from favsync.http.auth import issue
from favsync.http.server import Runner
from favsync.settings import Settings

_log = structlog.get_logger(__name__)

BACKLOG = 1024
FILES_RESERVED = 256  # what is open besides: the listener, pipes, PostgreSQL's, connections that are just being closed
TRIAL_USER = "demo"
TRIAL_TOKEN_S = 3600


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM, SIGINT or SIGHUP, then ends what is under way and returns. Raises OperatorError."""
    settings = dataclasses.replace(settings, max_connections=connections_allowed(settings))
    app = application.create_app(settings)
    runner = Runner(app)
    own_runner = Runner(application.create_metrics_app(app)) if settings.metrics_port else None
    stop = asyncio.Event()
    numbers = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup
        numbers.remove(signal.SIGHUP)
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await _listen(runner, settings.host, settings.port)
        if own_runner and settings.metrics_port:
            await _listen(own_runner, settings.host, settings.metrics_port)
        url = _url(settings.host, runner.addresses[0][1])
        gc.collect()
        gc.freeze()  # what is made at the start stays, and need not be looked through again and again
        _log.info("listening", url=url, embedded=settings.embedded, max_connections=settings.max_connections)
        await _until_stopped(app, settings, url, stop)
        _log.info("stopping")
    finally:
        try:
            if own_runner:
                await own_runner.cleanup()
        finally:
            await runner.cleanup()
    _log.info("stopped")


async def _listen(runner: Runner, host: str, port: int) -> None:
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not the name of a host"
        raise OperatorError(f"cannot listen on {host}:{port}: {reason}") from error


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


async def _until_stopped(app: web.Application, settings: Settings, url: str, stop: asyncio.Event) -> None:
    async def greet() -> None:
        await app[keys.DATABASE].opened.wait()
        _log.info("ready")
        if settings.embedded and settings.jwt_secret:
            sys.stdout.write(greeting(settings.jwt_secret, settings.data_dir, url))
            sys.stdout.flush()

    storage = app[application.STORAGE]
    greeter, stopped = asyncio.create_task(greet()), asyncio.create_task(stop.wait())
    await asyncio.wait([stopped, storage], return_when=asyncio.FIRST_COMPLETED)
    greeter.cancel()
    if not stop.is_set():
        stopped.cancel()
        await storage


def greeting(secret: str, data_dir: Path, url: str) -> str:
    """What a newcomer can paste into a shell: shown only by a service with a database and tokens of its own."""
    token = issue(secret, TRIAL_USER, scopes=(), now_s=int(time.time()), ttl_s=TRIAL_TOKEN_S)
    record = '[{"item": "session_21982", "actionDate": "2017-05-02T10:45:12.798Z", "action": "ADD"}]'
    return f"""
# favsync is up, with a PostgreSQL of its own in {data_dir}. The token lasts an hour.
TOKEN={token}
curl -sS {url}/postUserFavorites -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
  -d {shlex.quote(record)}
curl -sS {url}/getUserFavorites -H "Authorization: Bearer $TOKEN"

"""


def _url(host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- compared with, not bound to
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
