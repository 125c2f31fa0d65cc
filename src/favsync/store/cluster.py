"""The files and commands of an embedded PostgreSQL: everything about it that needs no event loop.

DATA_DIR/
  lock                  flock: one service at a time
  jwt_secret            the service's, not PostgreSQL's
  postgres-password     of PostgreSQL's only role, 0600
  binaries-VERSION/     only under root: a copy that the account can read
  start.log             what the latest start said
  run/                  0700, the account's own: the socket
  postgres/             0700, the account's own
    data/               PGDATA
  restoring-*/          while a backup is restored: a data directory like this one

Under root, nothing of ours is made, opened for writing or handed over below a folder that the account can write: it
could have put a link there, to anything. So root does not use a data directory that is not its own.
"""

import contextlib
import fcntl
import functools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from favsync.core.errors import DataDirInUse, EmbeddedError
from favsync.files import ensure_secret, make_data_dir, write_secret
from favsync.store import binaries, leftover, restoring

ACCOUNT = "favsync"
ANYBODY_UID = 65534
QUIT_S = 1.0
SOCKET_PATH_MAX = 103  # the smallest of the systems' limits
_ROLE = "favsync"
_DATABASE = "postgres"
_MISREAD = set("\n\r,\"'$`\\")  # initdb hands paths to a shell, and a socket's folder stands in a list


class Cluster:
    """One embedded PostgreSQL cluster, in `data_dir`.

    PostgreSQL refuses to run as root, so under root it gets an account of its own: whose the cluster is already, else
    `favsync` where the system has it, else uid 65534. `connections`: how many there will be. Every method may raise
    EmbeddedError.
    """

    def __init__(self, data_dir: Path, *, connections: int = 10) -> None:
        self.data_dir = data_dir.absolute()
        self._home = self.data_dir / "postgres"
        self.pgdata = self._home / "data"
        self._password_file = self.data_dir / "postgres-password"
        self._start_log = self.data_dir / "start.log"
        self._run = self.data_dir / "run"
        self._connections_max = max(100, connections + 20)
        self._abandoned = threading.Event()
        self._lock_fd: int | None = None

    # -- before the first start ----------------------------------------------------------------------------------

    def acquire(self) -> None:
        """Makes the data directory and takes its lock, which the kernel gives back however this process ends."""
        if strange := set(str(self.data_dir)) & _MISREAD:
            raise EmbeddedError(f"data_dir: PostgreSQL's tools misread {' '.join(sorted(strange))!r} in a path")
        try:
            make_data_dir(self.data_dir)
            self._lock_fd = os.open(self.data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise EmbeddedError(f"data_dir: {error.filename or self.data_dir}: {error.strerror or error}") from error
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock_fd, 20).decode(errors="replace").strip() or "?"
            self.release()
            raise DataDirInUse(f"data_dir: {self.data_dir} is in use by another favsync (process {holder})") from None
        os.ftruncate(self._lock_fd, 0)
        os.write(self._lock_fd, str(os.getpid()).encode())

    def release(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def prepare(self) -> None:
        """Whatever is missing: folders, password, binaries, the cluster itself. Stops a server left over by a crash."""
        self._check_reachable()
        try:
            restoring.discard(self.data_dir, self._abandoned)
            self._own_folder(self._home)
            self._own_folder(self._run)
            if len(str(self._run / ".s.PGSQL.5432")) > SOCKET_PATH_MAX:
                self._run = Path(tempfile.mkdtemp(prefix="favsync-"))
                self._own_folder(self._run)
            self.bin = binaries.find() if self._account is None else binaries.copied_to(self.data_dir)
            if not self.pgdata.exists():
                self._initialise()
            elif not self._password_file.exists():
                raise EmbeddedError(f"data_dir: {self._password_file} is missing, and the cluster is there")
            self._check_version()
            leftover.end(self.pgdata, self._abandoned)
        except OSError as error:
            raise EmbeddedError(f"data_dir: {error.filename or self.data_dir}: {error.strerror or error}") from error

    def abandon(self) -> None:
        """Asks a `prepare` that runs in another thread to end soon."""
        self._abandoned.set()

    # -- running -------------------------------------------------------------------------------------------------

    def target(self) -> dict[str, Any]:
        """How to reach it: keyword arguments of `asyncpg.connect`."""
        password = self._password_file.read_text().strip()
        return {"host": str(self._run), "port": 5432, "user": _ROLE, "password": password, "database": _DATABASE}

    def running(self) -> dict[str, Any] | None:
        """How to reach the server that whoever holds the lock runs; None where it has not said that it is up."""
        state, folder = (leftover.pid_file_line(self.pgdata, number) for number in (8, 5))
        return self.target() | {"host": folder} if state == "ready" else None

    def spawn(self) -> subprocess.Popen[bytes]:
        """Starts the server as a child; it is up when it answers."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._run),
            "unix_socket_permissions": "0700",
            "max_connections": str(self._connections_max),
            "logging_collector": "on",
            "log_filename": "postgresql-%a.log",  # seven files, each begun anew after a week
            "log_truncate_on_rotation": "on",
            "log_rotation_size": "0",
            "log_checkpoints": "off",
            "log_min_messages": "log",  # not the errors of statements: those the service answers for
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(self._start_log, flags, 0o600), "wb") as log:
            return subprocess.Popen(
                [self.bin / "postgres", "-D", self.pgdata, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C at the terminal is the service's to handle
                **self.as_account(),
            )

    def is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """The server itself has noted that it takes connections."""
        lines = [leftover.pid_file_line(self.pgdata, number) for number in (1, 8)]
        return lines == [str(process.pid), "ready"]

    def last_words(self) -> str:
        """The end of what the latest start said, in one line."""
        with contextlib.suppress(OSError):
            lines = self._start_log.read_text(errors="replace").strip().splitlines()
            return " / ".join(lines[-3:])[-500:]
        return ""

    def stop(self, process: subprocess.Popen[bytes], *, timeout_s: float) -> None:
        """A fast shutdown; after `timeout_s` an immediate one, which the next start recovers from; never more."""
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        for number in (signal.SIGQUIT, signal.SIGKILL):
            try:
                process.wait(timeout_s)
                break
            except subprocess.TimeoutExpired:
                process.send_signal(number)
                timeout_s = QUIT_S
        process.wait()
        if self._run.parent != self.data_dir:
            shutil.rmtree(self._run, ignore_errors=True)

    # -- parts ---------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _account(self) -> pwd.struct_passwd | None:
        """Whom PostgreSQL runs as; None: ourselves."""
        if os.geteuid() != 0:
            return None
        uid = self._home.stat().st_uid if self._home.exists() else 0
        with contextlib.suppress(KeyError):
            return pwd.getpwuid(uid) if uid else pwd.getpwnam(ACCOUNT)
        with contextlib.suppress(KeyError):
            return pwd.getpwuid(uid or ANYBODY_UID)
        raise EmbeddedError(
            f"data_dir: the system has no account with uid {uid or ANYBODY_UID} for PostgreSQL to run as; "
            f"make one named {ACCOUNT}"
        )

    def as_account(self) -> dict[str, Any]:
        """Keyword arguments of Popen: that account, a folder it can stand in, and nothing of our environment."""
        arguments: dict[str, Any] = {"cwd": self._home, "env": {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}}
        if (account := self._account) is not None:
            arguments |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        return arguments

    def _own_folder(self, folder: Path) -> None:
        """A folder of the account's, in a folder that is not."""
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)
        if self._account is not None:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)

    def _check_reachable(self) -> None:
        account = self._account
        if account is None:
            return
        uid = account.pw_uid
        for folder in [self.data_dir, *self.data_dir.parents]:
            state = folder.stat()
            if not state.st_mode & (0o100 if state.st_uid == uid else 0o001):
                raise EmbeddedError(
                    f"data_dir: under root PostgreSQL runs as uid {uid}, which {folder} is closed to; "
                    f"choose a place such as /var/lib/favsync"
                )

    def _check_version(self) -> None:
        with (self.pgdata / "PG_VERSION").open() as file:
            version = file.read(8).strip()
        if version != str(binaries.MAJOR):
            raise EmbeddedError(
                f"data_dir: {self.pgdata} is of PostgreSQL {version}, and this release runs {binaries.MAJOR}"
            )

    def _initialise(self) -> None:
        """Makes the cluster beside its place and then renames it: a half-made one is never taken for one.

        Each try has a name of its own, since an initdb that outlived its service may still be writing to the last.
        """
        for old in self._home.glob("new-*"):
            shutil.rmtree(old, ignore_errors=True)
        scratch = self._home / f"new-{secrets.token_hex(8)}"
        password_file = self.data_dir / "postgres-password.new"
        password_file.unlink(missing_ok=True)
        write_secret(password_file, ensure_secret(self._password_file))
        if self._account is not None:
            os.chown(password_file, self._account.pw_uid, self._account.pw_gid)
        try:
            done = subprocess.run(
                [
                    self.bin / "initdb", "--pgdata", scratch, "--username", _ROLE, "--pwfile", password_file,
                    "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-instructions",
                ],
                capture_output=True, text=True, check=False, **self.as_account(),
            )  # fmt: skip
        finally:
            password_file.unlink()
        if done.returncode != 0:
            raise EmbeddedError(f"data_dir: initdb failed: {done.stderr.strip()[-500:]}")
        scratch.rename(self.pgdata)
