"""The figures of the feed: how soon a write is seen, how fast a feed is read, what streams and the sequencer cost.

`python -m bench.feed [--quick] [--only PART] [--out FILE]` starts a service with a PostgreSQL of its own, in a
temporary folder, with the defaults. docs/performance.md says what the figures mean.
"""

from collections.abc import Sequence
from typing import NamedTuple

from bench import beside, latency, program, reading, sequencing
from bench.program import Parts
from bench.servers import ROOT, Machine

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


def parts(machine: Machine, size: Size) -> Parts:
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
    program.run(
        words, name="feed", about="Measures the feed.", out=OUT,
        parts=lambda machine, quick: parts(machine, QUICK if quick else FULL),
    )  # fmt: skip


if __name__ == "__main__":
    main()
