"""How long the disk takes to keep what PostgreSQL writes ahead: a commit waits for that."""

import contextlib
import os
import re
import subprocess
import time
from pathlib import Path

from bench.quantiles import quantile
from bench.results import Table
from bench.servers import Machine
from favsync.store import binaries

BLOCK_BYTES = 8192
FILE_BYTES = 16 * 2**20  # a segment of PostgreSQL's log
_PER_OPERATION = re.compile(r"^\s*fdatasync\s.*?(\d+) usecs/op", re.MULTILINE)
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has none


def measure(machine: Machine, *, seconds: float) -> list[Table]:
    table = Table("disk", "8 KiB written and kept (fdatasync), ms", ["mean", "p50", "p99", "greatest"])
    times_ms = [1000 * each for each in _times_s(machine.folder / "segment", seconds)]
    figures = (sum(times_ms) / len(times_ms), quantile(times_ms, 0.5), quantile(times_ms, 0.99), max(times_ms))
    table.add("block after block, from Python", *figures)
    if (mean_us := _pg_test_fsync_us(machine.folder / "fsync")) is not None:
        table.add("pg_test_fsync", mean_us / 1000, None, None, None)
    return [table]


def _times_s(path: Path, seconds: float) -> list[float]:
    """In a file that is there already, block after block, over and over."""
    block = os.urandom(BLOCK_BYTES)
    path.write_bytes(bytes(FILE_BYTES))
    found: list[float] = []
    with path.open("r+b", buffering=0) as file:
        os.fsync(file.fileno())
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            os.pwrite(file.fileno(), block, len(found) * BLOCK_BYTES % FILE_BYTES)
            _sync(file.fileno())
            found.append(time.perf_counter() - began)
    path.unlink()
    return found


def _pg_test_fsync_us(path: Path) -> float | None:
    """PostgreSQL's own program for it, as far as it has come to fdatasync; None where there is none."""
    command: list[str | Path] = [binaries.find() / "pg_test_fsync", "-s", "1", "-f", path]
    said = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None  # noqa: S101 -- it is a pipe
        for line in process.stdout:
            said += line
            if _PER_OPERATION.search(said):
                break
        process.terminate()  # of its many ways this one is PostgreSQL's on Linux
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    match = _PER_OPERATION.search(said)
    return float(match[1]) if match else None
