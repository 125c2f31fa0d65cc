"""What processes take of the machine: memory and CPU, the service's told apart from PostgreSQL's."""

import contextlib
import threading
from types import TracebackType
from typing import NamedTuple, Self

import asyncpg
import psutil

from bench.servers import Sql

SAMPLE_S = 0.02
POSTGRES = "postgres"
_SERVERS = "SELECT pid, backend_type, application_name FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
_OWN = "SELECT pg_backend_pid()"


class Peak:
    """The most memory that processes have had at a time, each for itself, while this was looked at."""

    def __init__(self, *pids: int) -> None:
        self._processes = [psutil.Process(pid) for pid in pids]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.before = self._rss()
        self.peak = list(self.before)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self.peak = [max(pair) for pair in zip(self.peak, self._rss(), strict=True)]

    def _rss(self) -> list[int]:
        return [_rss_of(process) for process in self._processes]


def _rss_of(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has ended
        return 0


class Cpu(NamedTuple):
    """Seconds. `service`: its processes, with the sequencer's part that is Python. `backends`: those of requests.

    `background`: what PostgreSQL has besides (WAL writer, checkpointer, I/O workers, autovacuum). `sequencer`: the
    backends of its connections.
    """

    service: float
    backends: float
    background: float
    sequencer: float


class CpuWatch:
    """CPU seconds that a service and its embedded PostgreSQL have taken since this was made, without those of `sql`."""

    def __init__(self, pid: int, sql: Sql) -> None:
        self._pid = pid
        self._sql = sql
        self._before = self._used()

    def taken(self) -> Cpu:
        """Processes that have come meanwhile count whole; of one that has ended, what its parent knows of it."""
        servers = {row["pid"]: row for row in self._sql.rows(_SERVERS)}
        own = self._sql.value(_OWN)
        seconds = dict.fromkeys(Cpu._fields, 0.0)
        now = self._used()
        for (pid, name), used_s in now.items():
            if pid != own:
                seconds[_kind(name, servers.get(pid))] += used_s - self._before.get((pid, name), 0.0)
        for pid, name in self._before.keys() - now.keys():
            seconds[_kind(name, servers.get(pid))] -= self._before[pid, name]  # which is in its parent's figure
        return Cpu(**seconds)

    def _used(self) -> dict[tuple[int, str], float]:
        """By process and name; with what ended children had taken."""
        found = {}
        for process, name in family(self._pid).items():
            with contextlib.suppress(psutil.Error):
                found[process.pid, name] = sum(process.cpu_times()[:4])
        return found


def family(pid: int) -> dict[psutil.Process, str]:
    """The process and all that descend from it, with their names."""
    process = psutil.Process(pid)
    found = {}
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.Error):  # it has just ended
            found[each] = each.name()
    return found


def of_service(pid: int) -> list[int]:
    """The processes of a service, without those of its PostgreSQL."""
    return [process.pid for process, name in family(pid).items() if name != POSTGRES]


def _kind(name: str, row: asyncpg.Record | None) -> str:
    if name != POSTGRES:
        return "service"
    if row is None or row["backend_type"] not in {"client backend", "parallel worker"}:
        return "background"
    return "sequencer" if row["application_name"] == "favsync sequencer" else "backends"
