"""Keeps the embedded PostgreSQL running for as long as the service runs."""

import asyncio
import contextlib
import subprocess
import time
from pathlib import Path
from typing import Any

import structlog

from favsync.core.errors import EmbeddedError
from favsync.store.cluster import Cluster

_log = structlog.get_logger(__name__)

POLL_S = 0.2
BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
STEADY_S = 10.0


class Embedded:
    """A PostgreSQL of the service's own: `acquire`, `start`, then `watch` for as long as it is wanted, then `stop`."""

    def __init__(self, data_dir: Path, *, connections: int) -> None:
        self.cluster = Cluster(data_dir, connections=connections)
        self._process: subprocess.Popen[bytes] | None = None

    def acquire(self) -> None:
        """Takes the data directory; EmbeddedError where another service has it."""
        self.cluster.acquire()

    async def start(self) -> dict[str, Any]:
        """Makes what is missing, starts the server, and says how to reach it: arguments of `asyncpg.connect`.

        It may still be recovering: it is up when it answers. Raises EmbeddedError.
        """
        preparing = asyncio.create_task(asyncio.to_thread(self.cluster.prepare))
        try:
            await asyncio.shield(preparing)
        except asyncio.CancelledError:
            self.cluster.abandon()  # the directory stays ours until the thread has left it
            await asyncio.wait([preparing])
            preparing.exception()  # why it ended is not news any more
            raise
        try:
            self._process = self.cluster.spawn()
        except OSError as error:
            raise EmbeddedError(f"the embedded PostgreSQL does not start: {error}") from error
        return self.cluster.target()

    async def up(self) -> None:
        """Returns when the server, recovered, takes connections. Raises EmbeddedError where it ended before."""
        while self._process is not None and not self.cluster.is_ready(self._process):
            if self._process.poll() is not None:
                raise EmbeddedError(f"the embedded PostgreSQL does not start: {self.cluster.last_words()}")
            await asyncio.sleep(POLL_S)

    async def watch(self) -> None:
        """Restarts the server whenever it ends. Raises EmbeddedError where it ended at each try and never was up."""
        failures, was_up, since = 0, False, time.monotonic()
        while self._process is not None:
            status = self._process.poll()
            if status is None:
                was_up = was_up or self.cluster.is_ready(self._process)
                if time.monotonic() - since > STEADY_S:
                    failures = 0
                await asyncio.sleep(POLL_S)
                continue
            reason = self.cluster.last_words()
            if not was_up and failures == len(BACKOFF_S):
                raise EmbeddedError(f"the embedded PostgreSQL does not start: {reason}")
            _log.error("the embedded PostgreSQL ended; starting it again", status=status, last_words=reason)
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1
            since = time.monotonic()
            with contextlib.suppress(OSError):
                self._process = self.cluster.spawn()

    async def stop(self, *, timeout_s: float) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            await asyncio.to_thread(self.cluster.stop, process, timeout_s=timeout_s)
        self.cluster.release()
