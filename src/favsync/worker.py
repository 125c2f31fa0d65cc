"""One of several processes that serve on one port, started by `workers.py`: it serves what it is handed.

On stdin it gets a `Job`, then where the database is, and then nothing: its end is that of the parent. On stdout it
tells the parent, a line each, that it is `listening`, that it is `ready`, and what an operator has to mend: `error`,
and a JSON string.
"""

import asyncio
import contextlib
import json
import os
import pickle
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from favsync import logs, metrics_shared
from favsync.app import Shared, create_app
from favsync.core.errors import OperatorError
from favsync.http import keys
from favsync.serve import Ports, loop_factory, running, stop_signal, until_stopped
from favsync.settings import Settings

COMMAND = (sys.executable, "-P", "-c", f"from {__name__} import main; main()")
LISTENING, READY, ERROR = "listening", "ready", "error"
ORPHAN_S = 8.0
OPEN_S = 2.0


class Job(NamedTuple):
    """What a worker is handed: as a pickle, for it holds secrets. Files are numbers of open ones.

    `succeeds`: another had its place before.
    """

    number: int
    settings: Settings
    log_key: bytes
    metrics: Path
    service_files: Sequence[int]
    metrics_files: Sequence[int]
    succeeds: bool = False


def main() -> None:
    reports = os.dup(1)
    os.dup2(2, 1)  # whatever anybody prints is no report
    stdin = open(0, "rb", closefd=False)  # noqa: SIM115 -- it ends with the process
    try:
        job: Job = pickle.load(stdin)  # noqa: S301 -- from our parent
    except (EOFError, pickle.UnpicklingError):
        return  # it has ended meanwhile
    logs.configure(style=job.settings.log_format, level=job.settings.log_level, worker=job.number)
    metrics_shared.count_in(job.metrics, job.number)
    target: Future[Mapping[str, Any]] = Future()
    threading.Thread(target=_hear_parent, args=(stdin, target, job.metrics), daemon=True).start()

    def report(*words: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended meanwhile
            os.write(reports, " ".join(words).encode() + b"\n")

    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(job, target, report))
    except OperatorError as error:
        report(ERROR, json.dumps(error.detail))
        sys.exit(1)


async def _serve(job: Job, target: Future[Mapping[str, Any]], report: Callable[[str], None]) -> None:
    shared = Shared(asyncio.shield(asyncio.wrap_future(target)), job.log_key, job.metrics, leads=job.number == 0)
    app = create_app(job.settings, shared=shared)
    stop = stop_signal()
    async with running(app) as attend:
        if job.succeeds:
            # What waits for it at the port need not hear that the database is not open yet.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(OPEN_S):
                    await app[keys.DATABASE].opened.wait()
        await attend(Ports(_sockets(job.service_files), _sockets(job.metrics_files)))
        report(LISTENING)
        await until_stopped(app, stop, ready=lambda: report(READY))


def _sockets(files: Sequence[int]) -> list[socket.socket]:
    return [socket.socket(fileno=file) for file in files]


def _hear_parent(stdin: BinaryIO, target: Future[Mapping[str, Any]], metrics: Path) -> None:
    """Ends the process with its parent; in a thread, so even where the event loop is stuck."""
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        target.set_result(pickle.load(stdin))  # noqa: S301 -- from our parent
        stdin.read()
    shutil.rmtree(metrics, ignore_errors=True)  # as the parent would
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_S)
    os._exit(1)
