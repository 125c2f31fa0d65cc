"""The figures of the service, set against those of its database.

`python -m bench.service [--quick] [--only PART] [--out FILE]` starts a service with a PostgreSQL of its own, in a
temporary folder, with the defaults. `BENCH_SECONDS`: for how long at a time. docs/performance.md says what the figures
mean. Needs wrk and curl.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bench import cpu, disk, footprint, half, low, program, rows, sizes, stack, stall, workers
from bench.chart import draw
from bench.program import Parts
from bench.servers import ROOT, Machine

OUT = ROOT / "bench" / "results" / "service.json"
SECONDS = 5.0


class Size(NamedTuple):
    """How much is measured. `seconds`: of what is beside the rows, at most. `few`, `many`: users, of two sizes."""

    users: int
    few: int
    many: int
    rounds: int
    rounds_beside: int
    seconds: float
    posts: int
    settle_s: float


FULL = Size(2000, 250, 25_000, rounds=5, rounds_beside=3, seconds=SECONDS, posts=300, settle_s=3.0)
QUICK = Size(50, 20, 100, rounds=1, rounds_beside=1, seconds=1.0, posts=20, settle_s=0.2)


def parts(machine: Machine, size: Size, seconds: float) -> Parts:
    """`seconds`: of the rows, at a time. Some start the service anew."""
    users, rounds, beside_s = size.users, size.rounds_beside, min(size.seconds, seconds)
    return {
        "disk": lambda: disk.measure(machine, seconds=beside_s),
        "start": lambda: footprint.start(machine, rounds=rounds),
        "rows": lambda: rows.measure(machine, users=users, rounds=size.rounds, seconds=seconds),
        "half": lambda: half.measure(machine, users=users, rounds=rounds, seconds=beside_s),
        "stack": lambda: stack.measure(machine, users=users, rounds=rounds, seconds=beside_s),
        "cpu": lambda: cpu.measure(machine, users=users, rounds=rounds, seconds=beside_s),
        "low": lambda: low.measure(machine, users=users, rounds=rounds, count=size.posts),
        "stall": lambda: stall.measure(machine, rounds=rounds, seconds=beside_s),
        "rss": lambda: footprint.memory(machine, users=users, seconds=beside_s, settle_s=size.settle_s),
        "workers": lambda: workers.measure(machine, users=users, rounds=rounds, seconds=beside_s),
        "sizes": lambda: sizes.measure(machine, few=size.few, many=size.many, rounds=rounds, seconds=beside_s),
    }


def main(words: Sequence[str] | None = None) -> None:
    seconds = float(os.environ.get("BENCH_SECONDS", SECONDS))
    found = program.run(
        words, name="service", about="Measures the service.", out=OUT,
        parts=lambda machine, quick: parts(machine, QUICK if quick else FULL, seconds),
    )  # fmt: skip
    if "rows" in found.measured:
        found.out.with_suffix(".svg").write_text(draw(_charted(found.measured)))


def _charted(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The rows, and beneath them what a hundred times as many records cost."""
    rows = dict(measured["rows"]["tables"]["rows"]["rows"])
    if "sizes" in measured:
        for what, row in measured["sizes"]["tables"]["sizes"]["rows"].items():
            rows[f"{what}: loss by size"] = {"ratio": row["our loss to theirs"], "must be": row["must be"]}
    return rows


if __name__ == "__main__":
    main()
