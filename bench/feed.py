"""The figures of the feed: how soon a write is seen, how fast a feed is read, what streams and the sequencer cost.

`python -m bench.feed [--quick] [--out FILE]` starts a service with a PostgreSQL of its own, in a
temporary folder, with the defaults. docs/performance.md says what the figures mean.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import beside, latency, reading, sequencing
from bench.results import Busy, Table, circumstances, say
from bench.servers import ROOT, Machine, raise_file_limit

OUT = ROOT / "bench" / "results" / "feed.json"


class Size(NamedTuple):
    """How much is measured."""

    writes: int
    pause_s: tuple[float, float]
    changes: int
    streams: int
    backlog: int
    rounds: int
    seconds: float
    settle_s: float


FULL = Size(400, (0.03, 0.13), 1_000_000, 1000, 200_000, rounds=5, seconds=5.0, settle_s=3.0)
QUICK = Size(20, (0.0, 0.02), 6000, 20, 3000, rounds=1, seconds=0.5, settle_s=0.2)
READING_ROUNDS = 3


def parts(machine: Machine, size: Size) -> dict[str, Callable[[], list[Table]]]:
    """In this order: the last two put records of their own in place of all others."""
    rounds, few = size.rounds, min(size.rounds, READING_ROUNDS)
    return {
        "latency": lambda: latency.measure(machine, writes=size.writes, pause_s=size.pause_s),
        "beside": lambda: beside.measure(
            machine, count=size.streams, rounds=rounds, seconds=size.seconds, settle_s=size.settle_s
        ),
        "sequencer": lambda: sequencing.cost(machine, rounds=rounds, seconds=size.seconds),
        "reading": lambda: reading.measure(machine, changes=size.changes, rounds=few),
        "drain": lambda: sequencing.drain(machine, changes=size.backlog, rounds=few),
    }


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.feed", description="Measures the feed.")
    parser.add_argument("--quick", action="store_true", help="small numbers: whether it works, in a few seconds")
    parser.add_argument("--out", type=Path, default=OUT, help="a file of JSON, in which what is measured is renewed")
    parser.add_argument("--only", action="append", help="one part; may be given again")
    wanted = parser.parse_args(words)
    raise_file_limit()
    measured: dict[str, Any] = json.loads(wanted.out.read_text()) if wanted.out.exists() else {}
    with Machine.started() as machine:
        with machine.sql() as sql:
            around = circumstances(sql.value("SHOW server_version"), quick=wanted.quick)
        for name, measure in parts(machine, QUICK if wanted.quick else FULL).items():
            if wanted.only is None or name in wanted.only:
                began, busy = time.monotonic(), Busy()
                tables = measure()
                others = busy.others()
                say(f"{name}: {time.monotonic() - began:.0f} s, {others} of the cores were taken by others")
                sys.stdout.writelines(f"\n{table.as_text()}" for table in tables)
                found = {table.name: table.as_json() for table in tables}
                measured[name] = {"circumstances": around | {"cores_of_others": others}, "tables": found}
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    wanted.out.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
