"""PostgreSQL's own programs (pg_dump, pg_restore, psql) on the embedded server, whether a service runs or not.

They find the server and its password in their environment. On Linux and macOS that is open to the same account and to
root only, who may read the password's file too; the arguments of a process are open to all, and a file made for it
would outlive a kill. PGREQUIREAUTH keeps them from telling the password to whatever else may answer.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import asyncpg

from favsync.core.errors import BackupError, DataDirInUse, EmbeddedError
from favsync.store import binaries
from favsync.store.cluster import Cluster
from favsync.store.embedded import Embedded
from favsync.store.faults import AWAY

POLL_S = 0.2
# How long somebody else's server may take to answer, to begin with.
PATIENCE_S = 60.0
STOP_S = 60.0
END_S = 3.0
CONNECT_TIMEOUT_S = 5.0


@contextlib.asynccontextmanager
async def reached(data_dir: Path) -> AsyncIterator[dict[str, Any]]:
    """How to reach the database in `data_dir`: arguments of `asyncpg.connect`.

    It is the server of the service where one runs, which goes on as it was; else one that runs only for this.
    Raises EmbeddedError.
    """
    embedded = Embedded(data_dir, connections=1)
    cluster = embedded.cluster
    try:
        if not cluster.pgdata.exists():
            raise EmbeddedError(f"data_dir: {cluster.data_dir} holds no database")
        target = await _running(cluster)
    except OSError as error:
        raise EmbeddedError(f"data_dir: {error.filename or data_dir}: {error.strerror or error}") from error
    if target:
        yield target
        return
    async with started(embedded) as target:
        yield target


@contextlib.asynccontextmanager
async def started(embedded: Embedded) -> AsyncIterator[dict[str, Any]]:
    """The server, from when it takes connections until it has ended; the lock of its data directory is held.

    Raises EmbeddedError.
    """
    try:
        target = await embedded.start()
        await embedded.up()
        yield target
    finally:
        await embedded.stop(timeout_s=STOP_S)


async def run(
    program: Path,
    *words: str,
    env: Mapping[str, str],
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    **rights: Any,  # noqa: ANN401 -- as Popen has them
) -> None:
    """Runs a program until it has done its work; ends it where this is cancelled.

    `rights`: more keywords of Popen. Raises BackupError with the first error that it named; the lines after that one
    may hold data.
    """
    process = await asyncio.create_subprocess_exec(
        program, *words, env=env, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **rights
    )
    try:
        _, stderr = await process.communicate()
    finally:
        await _end(process)
    if process.returncode:
        lines = stderr.decode(errors="replace").splitlines()
        said = next((line.partition("error: ")[2] for line in lines if "error: " in line), " ".join(lines[:1]))
        raise BackupError(said[:500] or f"{program.name} ended with status {process.returncode}")


async def psql(data_dir: Path, words: Sequence[str]) -> int:
    """Runs psql on the database in `data_dir`, on our terminal or pipes; gives its exit status.

    From its start on, Ctrl-C is its own. Raises EmbeddedError.
    """
    async with reached(data_dir) as target:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
        process = await asyncio.create_subprocess_exec(
            binaries.find() / "psql", *words, env=inherited | environment_of(target)
        )
        try:
            status = await process.wait()
        finally:
            await _end(process)
    return status if status >= 0 else 128 - status


def environment_of(target: Mapping[str, Any]) -> dict[str, str]:
    """What libpq reads from its environment to get there."""
    return {
        "PGHOST": target["host"],
        "PGPORT": str(target["port"]),
        "PGUSER": target["user"],
        "PGPASSWORD": target["password"],
        "PGDATABASE": target["database"],
        "PGREQUIREAUTH": "scram-sha-256",
    }


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends it if it has not: first by a signal on which pg_dump and pg_restore tell the server to stop."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), END_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _running(cluster: Cluster) -> dict[str, Any] | None:
    """How to reach the server of whoever has the data directory; None: nobody has, and its lock is ours now."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            cluster.acquire()
        except DataDirInUse as busy:
            target = cluster.running()
            if target and await _answers(target):
                return target
            if time.monotonic() > give_up:
                raise EmbeddedError(f"{busy.detail}, and its PostgreSQL does not answer") from None
            await asyncio.sleep(POLL_S)
        else:
            return None


async def _answers(target: Mapping[str, Any]) -> bool:
    try:
        connection = await asyncpg.connect(**target, timeout=CONNECT_TIMEOUT_S)
    except AWAY:
        return False
    except asyncpg.PostgresError as error:
        raise EmbeddedError(f"the embedded PostgreSQL: {error}") from error
    await connection.close(timeout=CONNECT_TIMEOUT_S)
    return True
