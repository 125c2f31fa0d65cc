"""Several processes on one port: here is what they share, and in the place of one that dies comes another.

The parent keeps the sockets, the embedded PostgreSQL and the folder of the metrics; it sees no request. Workers are
started from nothing, not forked, so that none of its files, threads and signals are theirs: docs/adr/0010.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import pickle
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from favsync import metrics_shared, ports, worker
from favsync.app import EMBEDDED_STOP_S, log_key
from favsync.core.errors import OperatorError
from favsync.serve import Ports, announce_listening, announce_ready, connections_allowed, open_ports, stop_signal
from favsync.settings import Settings
from favsync.store.embedded import Embedded

_log = structlog.get_logger(__name__)

Target = asyncio.Future[Mapping[str, Any]]  # where the database is: keyword arguments of `asyncpg.connect`

BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0)
STEADY_S = 10.0
STOP_S = 6.0  # for requests to end, or to be cancelled, and for what the database takes


async def serve(settings: Settings) -> None:
    """As `serve.serve`, by `settings.workers` processes."""
    settings = dataclasses.replace(settings, max_connections=connections_allowed(settings))
    stopped = asyncio.create_task(stop_signal().wait())
    async with contextlib.AsyncExitStack() as stack:
        embedded = None
        if settings.embedded:
            embedded = Embedded(settings.data_dir, connections=settings.database_connections)
            embedded.acquire()
            stack.push_async_callback(embedded.stop, timeout_s=EMBEDDED_STOP_S)
        folder = stack.enter_context(metrics_shared.folder())
        metrics_shared.came(folder, metrics_shared.PARENT, os.getpid())
        opened = await open_ports(settings)
        stack.callback(_close, opened)
        work = asyncio.create_task(_work(settings, embedded, folder, opened))
        await asyncio.wait([stopped, work], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work
        _log.info("stopping")
        _close(opened)  # what the workers do not take any more, nobody does
        work.cancel()
        await asyncio.wait([work])
    _log.info("stopped")


def _close(opened: list[Ports]) -> None:
    for own in opened:
        ports.close(list(own))


async def _work(settings: Settings, embedded: Embedded | None, folder: Path, opened: list[Ports]) -> None:
    """Goes on until it is cancelled, which ends the workers. Raises OperatorError."""
    target: Target = asyncio.get_running_loop().create_future()
    news = _News(settings, opened[0])
    key = log_key(settings)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_database(settings, embedded, target))
            for number, own in enumerate(opened):
                service, metrics = ([one.fileno() for one in sockets] for sockets in own)
                job = worker.Job(number, settings, key, folder, service, metrics)
                group.create_task(_Worker(job, target, news).keep())
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from None


async def _database(settings: Settings, embedded: Embedded | None, target: Target) -> None:
    """Says where the database is; and where it is ours, keeps it."""
    if embedded is None:
        target.set_result({"dsn": settings.database_url})
    else:
        target.set_result(await embedded.start())
        await embedded.watch()


class _News:
    """What workers tell. What they all have told is said once."""

    def __init__(self, settings: Settings, opened: Ports) -> None:
        self._settings = settings
        self._opened = opened
        self._told: dict[str, set[int]] = {worker.LISTENING: set(), worker.READY: set()}
        self._url = ""

    def hear(self, number: int, word: str) -> None:
        told = self._told[word]
        if number in told:
            _log.info(f"another worker is {word}", worker=number)
            return
        told.add(number)
        if len(told) == self._settings.workers:
            if word == worker.LISTENING:
                self._url = announce_listening(self._settings, self._opened)
            else:
                announce_ready(self._settings, self._url)

    def has_told(self, number: int, word: str) -> bool:
        """Whether a worker with this number ever said so."""
        return number in self._told[word]


class _Worker:
    """One place of a worker, and the processes that fill it, one after the other."""

    def __init__(self, job: worker.Job, target: Target, news: _News) -> None:
        self._job = job
        self._target = target
        self._news = news

    async def keep(self) -> None:
        """Goes on until it is cancelled. Raises OperatorError: that of a worker, or since none ever came to listen."""
        number, failures = self._job.number, 0
        while True:
            began = time.monotonic()
            try:
                status: int | str = await self._one()
            except OSError as error:  # no process, or no memory, is to be had
                status = error.strerror or type(error).__name__
            if time.monotonic() - began > STEADY_S:
                failures = 0
            if failures == len(BACKOFF_S) and not self._news.has_told(number, worker.LISTENING):
                raise OperatorError(f"worker {number} does not start: it ended with status {status}")
            _log.error("a worker ended; starting another", worker=number, status=status)
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1

    async def _one(self) -> int | str:
        """One process from its beginning to its end, and what it ended with: an error, a status, or minus a signal."""
        process = await self._started()
        telling = asyncio.create_task(self._tell(process))
        try:
            metrics_shared.came(self._job.metrics, self._job.number, process.pid)
            error = await self._hear(process)
            status = await process.wait()
        finally:
            telling.cancel()
            await _end(process)
            metrics_shared.went(self._job.metrics, self._job.number)
        if error and self._news.has_told(self._job.number, worker.READY):
            return error  # which others, that are up, may outlast: somebody is turning a password
        if error:
            raise OperatorError(error)
        return status

    async def _tell(self, process: Process) -> None:
        assert process.stdin  # noqa: S101 -- it is a pipe, and stays open: its end would be ours
        succeeds = self._news.has_told(self._job.number, worker.LISTENING)
        process.stdin.write(pickle.dumps(self._job._replace(succeeds=succeeds)))
        process.stdin.write(pickle.dumps(await asyncio.shield(self._target)))

    async def _hear(self, process: Process) -> str:
        """What an operator has to mend, if it said so, when it says no more."""
        error = ""
        assert process.stdout  # noqa: S101 -- it is a pipe
        async for line in process.stdout:
            word, _, rest = line.decode().strip().partition(" ")
            if word == worker.ERROR:
                error = json.loads(rest)
            else:
                self._news.hear(self._job.number, word)
        return error

    async def _started(self) -> Process:
        starting = asyncio.create_task(
            asyncio.create_subprocess_exec(
                *worker.COMMAND,
                stdin=PIPE,
                stdout=PIPE,
                pass_fds=(*self._job.service_files, *self._job.metrics_files),
                start_new_session=True,  # a Ctrl-C at the terminal is the parent's to handle
            )
        )
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):
                (await starting).kill()
            raise


async def _end(process: Process) -> None:
    """Has it finish what is under way; returns when it has ended."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        _log.warning("a worker does not end, and is killed", pid=process.pid)
        process.kill()
        await process.wait()
