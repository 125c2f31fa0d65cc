"""Backups of the embedded database: one file in pg_dump's custom format, which any pg_restore of its age can read.

pg_dump guards the rows by checksums, and not the schema. So a line follows its last byte, which pg_restore does not
look at, with the SHA-256 of what stands before.

The epoch is left out of a backup, and ended in what is restored: a database that has forgotten something honours no
cursor from before, wherever it was put back.

A dump is a program: restoring it runs whatever SQL is in it, as the superuser of the embedded server, which may run
commands as the account of that server. Restore only what you trust.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import asyncpg
import structlog

from favsync.core.errors import BackupError, MigrationError
from favsync.store import binaries, clients, epoch, migrate, restoring, sql
from favsync.store.cluster import Cluster
from favsync.store.embedded import Embedded

_log = structlog.get_logger(__name__)

_COUNT = sql.query("records/count")
_SNAPSHOT = sql.query("database/snapshot")
_ANALYZE = sql.query("database/analyze")

_MAGIC = b"PGDMP"
_SEAL = b"\nfavsync sha256 "
_SEALED = len(_SEAL) + 64 + 1
_TAIL = 4096
_CHUNK = 1024 * 1024
_PARTIAL = ".favsync-backup-"
_CLIENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}
_RESTORE = (
    "--single-transaction", "--exit-on-error", "--no-password", "--no-owner", "--no-privileges", "--no-tablespaces",
    "--no-publications", "--no-subscriptions", "--no-security-labels",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Saved:
    records: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Restored:
    """`replaced`: there was a database before, without records."""

    records: int
    replaced: bool


async def save(data_dir: Path, place: Path) -> Saved:
    """Dumps the database in `data_dir`, as of one instant, to `place`; a file that is there is replaced at the end.

    Nothing waits for it, and nothing is stopped. Raises OperatorError; then `place` is as it was.
    """
    place = _place(place)
    async with clients.reached(data_dir) as target, _connected(target) as connection:
        if not await migrate.applied(connection):
            raise BackupError(f"data_dir: {data_dir} holds a database that has no tables yet")
        with _replacing(place) as file:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                # By its number, which nobody can turn to another file; to its standard output pg_dump writes a file
                # that is not cut off where it ends, and so could be cut short without anybody noticing.
                await clients.run(
                    binaries.find() / "pg_dump", "--format=custom", "--no-password", "--exclude-table-data=epoch",
                    f"--snapshot={await connection.fetchval(_SNAPSHOT)}",
                    f"--file=/dev/fd/{file.fileno()}",
                    env=_CLIENT | clients.environment_of(target), pass_fds=[file.fileno()],
                )  # fmt: skip
                records = await connection.fetchval(_COUNT)
            size = file.seek(0, os.SEEK_END)
            if file.write(_seal(file, size)) != _SEALED:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            file.seek(0)
            # All rows are unpacked, which a list of the contents would not do.
            await clients.run(binaries.find() / "pg_restore", "--file=/dev/null", env=_CLIENT, stdin=file)
            return Saved(records, size + _SEALED)


async def restore(data_dir: Path, file: Path) -> Restored:
    """Makes the database in `data_dir` from a dump of this or an older release, and of this or an older PostgreSQL.

    Raises OperatorError, also where the database there holds records, or a service runs on it; then what was there is
    there still.
    """
    with _opened(file) as dump:
        cluster = Cluster(data_dir)
        cluster.acquire()
        try:
            restoring.discard(cluster.data_dir, threading.Event())
            replaced = cluster.pgdata.exists()
            if replaced:
                await _check_empty(cluster.data_dir)
            folder = restoring.make(cluster.data_dir)
            try:
                records = await _fill(folder, file, dump)
                restoring.adopt(cluster.data_dir, folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError as error:
            raise BackupError(f"data_dir: {error.filename or data_dir}: {error.strerror or error}") from error
        finally:
            cluster.release()
    return Restored(records, replaced)


def _place(path: Path) -> Path:
    """Where the file itself goes, if `path` is a link; BackupError where something else is, such as a folder."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise BackupError(f"{path} is not a file")
    return path


@contextlib.contextmanager
def _replacing(place: Path) -> Iterator[IO[bytes]]:
    """A new file beside `place` and for our eyes only, which takes its place at the end, or is removed.

    Its lock, which goes with whoever writes it, tells it from those of a backup that was killed: these are removed too.
    """
    try:
        for old in place.parent.glob(_PARTIAL + "*"):
            with contextlib.suppress(OSError):
                _remove_abandoned(old)
        scratch, file = _locked_beside(place)
        try:
            with file:
                yield file
                os.fsync(file.fileno())
                scratch.replace(place)
        finally:
            scratch.unlink(missing_ok=True)
        restoring.sync(place.parent)
    except OSError as error:
        raise BackupError(f"{place}: {error.strerror or error}") from error
    except BackupError as error:
        raise BackupError(f"{place}: {error.detail}") from error


def _locked_beside(place: Path) -> tuple[Path, IO[bytes]]:
    """A new file. Until it is locked, another backup may take it for abandoned, and remove it: then one more."""
    while True:
        scratch = place.with_name(_PARTIAL + secrets.token_hex(8))
        file = os.fdopen(os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "r+b", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return scratch, file
        file.close()


def _remove_abandoned(path: Path) -> None:
    """OSError where its lock is held, or it is not a file."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(fd)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The dump, after a first look at it."""
    with contextlib.ExitStack() as stack:
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise BackupError(f"{path} is not a file")
            file = stack.enter_context(path.open("rb", buffering=0))
            if file.read(len(_MAGIC)) != _MAGIC:
                raise BackupError(f"{path} is not a dump in pg_dump's custom format")
            _check_seal(file, path)
            file.seek(0)
        except OSError as error:
            raise BackupError(f"{path}: {error.strerror or error}") from error
        yield file


def _seal(file: IO[bytes], size: int) -> bytes:
    """The line for the first `size` bytes; the file is then at their end."""
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(min(size - file.tell(), _CHUNK)):
        digest.update(chunk)
    return _SEAL + digest.hexdigest().encode() + b"\n"


def _check_seal(file: IO[bytes], path: Path) -> None:
    """BackupError where it has that line, and the line is not true, or not the end. What pg_dump made has none."""
    start = max(0, file.seek(0, os.SEEK_END) - _TAIL)
    file.seek(start)
    tail = file.read()
    place = tail.find(_SEAL)
    if place < 0:
        _log.warning("the file has no seal: its integrity was not checked", file=str(path))
    elif tail[place:] != _seal(file, start + place):
        raise BackupError(f"{path} is damaged: it is not what was saved in it")


@contextlib.asynccontextmanager
async def _connected(target: dict[str, Any]) -> AsyncIterator[asyncpg.Connection]:
    """A connection without time limits; what the driver raises in it is said in a sentence."""
    try:
        connection = await asyncpg.connect(**target, timeout=clients.CONNECT_TIMEOUT_S)
        try:
            yield connection
        finally:
            await connection.close(timeout=clients.CONNECT_TIMEOUT_S)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise BackupError(f"the embedded PostgreSQL: {error}") from error


async def _check_empty(data_dir: Path) -> None:
    async with clients.started(Embedded(data_dir, connections=1)) as target, _connected(target) as connection:
        if await migrate.applied(connection) and (count := await connection.fetchval(_COUNT)):
            raise BackupError(f"data_dir: {data_dir} holds records already ({count}); restore into another one")


async def _fill(folder: Path, file: Path, dump: IO[bytes]) -> int:
    """A cluster in `folder` with what is in the dump, as this release has it; how many records that are."""
    embedded = Embedded(folder, connections=1)
    async with clients.started(embedded) as target:
        # As the account, which then has no more rights over us than the server itself, whatever is in the file.
        rights = embedded.cluster.as_account()
        rights["env"] |= clients.environment_of(target)
        program, words = embedded.cluster.bin / "pg_restore", (*_RESTORE, f"--dbname={target['database']}")
        try:
            await clients.run(program, *words, stdin=dump, **rights)
        except BackupError as error:
            raise BackupError(f"{file} cannot be restored: {error.detail}") from error
        async with _connected(target) as connection:
            return await _bring_up_to_date(connection, file)


async def _bring_up_to_date(connection: asyncpg.Connection, file: Path) -> int:
    foreign = BackupError(f"{file} is not a dump of a favsync database")
    try:
        migrations, applied = migrate.known(), await migrate.applied(connection)
        if not applied or not all(isinstance(row["version"], int) for row in applied):
            raise foreign
        if (last := applied[-1])["version"] > len(migrations):
            raise BackupError(f"{file} is of a newer release of favsync: this one has no migration {last['name']}")
        await migrate.migrate(connection, migrations)
        await epoch.end(connection)
        await connection.execute(_ANALYZE)
        return int(await connection.fetchval(_COUNT))
    except MigrationError as error:
        raise BackupError(f"{file}: {error.detail}") from error
    except asyncpg.SyntaxOrAccessError as error:  # tables that are missing, or others than ours
        raise foreign from error
