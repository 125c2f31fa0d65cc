"""A PostgreSQL with a standby that streams from it, and an address at which services look for the one that leads."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from favsync.files import make_data_dir, write_secret
from favsync.store import binaries, clients
from tests.postgres import Server

DEADLINE_S = 60.0


def until(condition: Callable[[], bool], timeout_s: float = DEADLINE_S) -> None:
    """Returns when it holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def psql(dsn: str, *statements: str) -> str:
    """What the statements give, each in a transaction of its own; the first that fails is the last."""
    words = [word for statement in statements for word in ("-c", statement)]
    done = subprocess.run(
        [binaries.find() / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *words, dsn],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Node(Server):
    """A server that can be killed, and come back."""

    def sql(self, *statements: str) -> str:
        return psql(self.dsn("postgres"), *statements)

    def start(self) -> None:
        """After `kill`: it recovers."""
        self.cluster.release()
        self.__enter__()

    def kill(self) -> None:
        """SIGKILL, of all its processes; returns when none is left."""
        assert self._process is not None
        others = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.wait()
        for process in others:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        until(lambda: not any(_lives(process) for process in others))

    @contextlib.contextmanager
    def stopped(self, kind: str) -> Iterator[None]:
        """One of its processes does nothing for a while: without `checkpointer` the control file stays as it is."""
        process = psutil.Process(int(self.sql(f"SELECT pid FROM pg_stat_activity WHERE backend_type = '{kind}'")))
        process.suspend()
        try:
            yield
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def cut(self) -> None:
        """Ends all connections of services, as who moves an address does."""
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'favsync%'")


class Pair:
    """`first` leads to begin with, `second` follows it; `dsn` is of a database at the address, which is a link."""

    def __init__(self, first: Node, second: Node, address: Path) -> None:
        self.first, self.second = first, second
        self._address = address
        self.lead(first)

    @property
    def dsn(self) -> str:
        return self.first.dsn("postgres").partition("?")[0] + f"?host={self._address}"

    def lead(self, node: Node) -> None:
        """The address is that of `node`, for connections made from now on."""
        scratch = self._address.with_name("address.new")
        scratch.symlink_to(node.cluster.target()["host"])
        scratch.replace(self._address)

    def synchronous(self) -> None:
        """From now on nothing is acknowledged that the standby has not on disk."""
        self.first.sql("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        until(lambda: self.first.sql("SELECT sync_state FROM pg_stat_replication") == "sync")

    def separate(self) -> None:
        """Nothing reaches the standby any more."""
        self.second.sql("ALTER SYSTEM SET primary_conninfo = 'host=/nowhere'", "SELECT pg_reload_conf()")
        until(lambda: self.first.sql("SELECT count(*) FROM pg_stat_replication") == "0")

    def caught_up(self) -> None:
        """Returns when the standby shows all that has been written."""
        written = self.first.sql("SELECT pg_current_wal_flush_lsn()")
        until(lambda: self.second.sql(f"SELECT pg_last_wal_replay_lsn() >= '{written}'") == "t")

    def promote(self) -> None:
        """The standby leads a timeline of its own; returns when it takes writes."""
        assert self.second.sql("SELECT pg_promote()") == "t"


@contextlib.contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    """Both run, and the second follows. `folder`: is there, and any account may pass through it."""
    with Node(folder / "first") as first:
        _copy(first, folder / "second")
        with Node(folder / "second") as second:
            until(lambda: first.sql("SELECT state FROM pg_stat_replication") == "streaming")
            yield Pair(first, second, folder / "address")


def _copy(source: Node, data_dir: Path) -> None:
    """A base backup of a server that runs, as a standby of it, in a data directory like its own."""
    cluster, target = source.cluster, source.cluster.target()
    make_data_dir(data_dir)
    write_secret(data_dir / "postgres-password", target["password"])
    home = data_dir / "postgres"
    home.mkdir(mode=0o700)
    if os.geteuid() == 0:
        owner = cluster.pgdata.stat()
        os.chown(home, owner.st_uid, owner.st_gid)
        [copy] = cluster.data_dir.glob("binaries-*")
        (data_dir / copy.name).symlink_to(copy)
    rights = cluster.as_account()
    rights["env"] |= clients.environment_of(target)
    done = subprocess.run(
        [cluster.bin / "pg_basebackup", "--pgdata", home / "data", "--write-recovery-conf", "--checkpoint=fast"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **rights,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False
