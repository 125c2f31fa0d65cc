"""Running the application on a port until somebody says stop."""

import asyncio
import shlex
import signal
import sys
import time

import structlog
from aiohttp import web

from favsync import app as application
from favsync.core.errors import OperatorError
from favsync.http import keys
from favsync.http.auth import issue
from favsync.http.server import Runner
from favsync.settings import Settings

_log = structlog.get_logger(__name__)

TRIAL_USER = "demo"
TRIAL_TOKEN_S = 3600


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM, SIGINT or SIGHUP, then ends what is under way and returns. Raises OperatorError."""
    app = application.create_app(settings)
    runner = Runner(app)
    stop = asyncio.Event()
    numbers = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup
        numbers.remove(signal.SIGHUP)
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await runner.setup()
        site = web.TCPSite(runner, settings.host, settings.port)
        try:
            await site.start()
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not the name of a host"
            raise OperatorError(f"cannot listen on {settings.host}:{settings.port}: {reason}") from error
        url = _url(settings.host, runner.addresses[0][1])
        _log.info("listening", url=url, embedded=settings.embedded)
        await _until_stopped(app, settings, url, stop)
        _log.info("stopping")
    finally:
        await runner.cleanup()
    _log.info("stopped")


async def _until_stopped(app: web.Application, settings: Settings, url: str, stop: asyncio.Event) -> None:
    async def greet() -> None:
        await app[keys.DATABASE].opened.wait()
        _log.info("ready")
        if settings.embedded:
            sys.stdout.write(greeting(settings, url))
            sys.stdout.flush()

    storage = app[application.STORAGE]
    greeter, stopped = asyncio.create_task(greet()), asyncio.create_task(stop.wait())
    await asyncio.wait([stopped, storage], return_when=asyncio.FIRST_COMPLETED)
    greeter.cancel()
    if not stop.is_set():
        stopped.cancel()
        await storage


def greeting(settings: Settings, url: str) -> str:
    """What a newcomer can paste into a shell: shown only by a service with a database of its own."""
    token = issue(settings.jwt_secrets[0], TRIAL_USER, scopes=(), now_s=int(time.time()), ttl_s=TRIAL_TOKEN_S)
    record = '[{"item": "session_21982", "actionDate": "2017-05-02T10:45:12.798Z", "action": "ADD"}]'
    return f"""
# favsync is up, with a PostgreSQL of its own in {settings.data_dir}. The token lasts an hour.
TOKEN={token}
curl -sS {url}/postUserFavorites -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
  -d {shlex.quote(record)}
curl -sS {url}/getUserFavorites -H "Authorization: Bearer $TOKEN"

"""


def _url(host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- compared with, not bound to
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
