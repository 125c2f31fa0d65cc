"""Programs that others wrote, and what they tell: wrk, pgbench, psql, curl."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.servers import ROOT
from favsync.store import binaries

SCRIPTS = ROOT / "bench" / "scripts"
THREADS = 2  # of the program that puts the load on
PAGE = 5000  # changes of a feed in one answer
_STARTS = 50
_TPS = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)
_CURSOR = re.compile(rb'"cursor":"([^"]+)","hasMore":(true|false)\}$')


class Load(NamedTuple):
    """What wrk tells. `failed`: no answer, or one that is neither 2xx nor 3xx."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    failed: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def wrk(url: str, script: str, *arguments: object, connections: int, seconds: float) -> Load:
    """Requests that `script` makes, each connection's as soon as the one before is answered."""
    program = shutil.which("wrk")
    if program is None:
        raise RuntimeError("wrk is not installed: apt-get install wrk")
    how = [f"-t{min(THREADS, connections)}", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", f"{script}.lua"]
    told = _run([program, *how, url, "--", *map(str, arguments)], cwd=SCRIPTS)
    found = Load(**json.loads(told.decode().splitlines()[-1]))
    if found.failed:
        raise RuntimeError(f"{script}: {found.failed} of {found.requests} requests failed")
    return found


class Postgres:
    """The tools of the PostgreSQL that the service runs. `target`: keyword arguments of `asyncpg.connect`."""

    def __init__(self, target: Mapping[str, Any]) -> None:
        self._folder = binaries.find()
        self._environment = os.environ | {
            "PGHOST": target["host"], "PGUSER": target["user"], "PGPASSWORD": target["password"],
            "PGDATABASE": target["database"],
        }  # fmt: skip

    def pgbench(self, script: str, *, clients: int, seconds: float, **variables: int) -> float:
        """Transactions a second."""
        defined = [f"-D{name}={value}" for name, value in variables.items()]
        how = ["-n", "-M", "prepared", "-j", str(THREADS), "-c", str(clients), "-T", str(max(1, round(seconds)))]
        told = _run([self._folder / "pgbench", *how, *defined, "-f", SCRIPTS / f"{script}.sql"], env=self._environment)
        match = _TPS.search(told.decode())
        if match is None:
            raise RuntimeError(f"pgbench told of no transactions: {told!r}")
        return float(match[1])

    def copy_s(self, query: str) -> float:
        """How long psql takes to write what a query gives into a file that keeps nothing."""
        began = time.perf_counter()
        _run([self._folder / "psql", "-qXc", f"\\copy ({query}) TO '/dev/null'"], env=self._environment)
        return time.perf_counter() - began


def read_feed_s(url: str, token: str, file: Path) -> float:
    """How long curl takes to read a feed to its end, page by page, into `file`."""
    began = time.perf_counter()
    cursor, more = "", b"true"
    while more == b"true":
        after = f"&after={cursor}" if cursor else ""
        _run(["curl", "-sSfo", file, "-H", f"Authorization: Bearer {token}", f"{url}?limit={PAGE}{after}"])
        with file.open("rb") as page:
            page.seek(-200, os.SEEK_END)
            match = _CURSOR.search(page.read())
        if match is None:
            raise RuntimeError("a page has no end")
        cursor, more = match[1].decode(), match[2]
    return time.perf_counter() - began


def curl_start_s() -> float:
    """How long a curl takes that asks for nothing, from its start to its end."""
    began = time.perf_counter()
    for _ in range(_STARTS):
        _run(["curl", "--version"])
    return (time.perf_counter() - began) / _STARTS


def _run(command: Sequence[str | Path], **how: Any) -> bytes:  # noqa: ANN401 -- subprocess's own
    done: subprocess.CompletedProcess[bytes] = subprocess.run(command, capture_output=True, check=False, **how)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with status {done.returncode}: {done.stderr.decode()[-2000:]}")
    return done.stdout
