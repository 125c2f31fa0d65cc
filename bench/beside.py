"""What open event streams cost: memory for each, and how much slower writes are beside them."""

import time
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.results import Spread, Table
from bench.servers import Machine, Streams, Writers

KIB = 2**10
WARM_UP_S = 2.0
COLUMNS = ["writes/s", "ratio to without", "p99 of a write, ms"]


class Kind(NamedTuple):
    """Streams of `path`: each another user's (`users`), or all of one (`backend`)."""

    what: str
    path: str
    who: str


OWN = Kind("users' own records, idle", "/sync/favorites", "users")
QUIET = Kind("of one feed, idle", "/feed/quiet", "backend")
BUSY = Kind("of the feed that is written", "/feed/favorites", "backend")


@dataclass
class _Seen:
    rates: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    p99s_ms: list[float] = field(default_factory=list)
    events: list[float] = field(default_factory=list)  # a second
    lost: int = 0  # streams
    refused: int = 0  # writes


def measure(machine: Machine, *, count: int, rounds: int, seconds: float, settle_s: float) -> list[Table]:
    return [_memory(machine, count, rounds, settle_s), *_rates(machine, count, rounds, seconds)]


def _memory(machine: Machine, count: int, rounds: int, settle_s: float) -> Table:
    """Of the first streams of a fresh process that has done some work."""
    columns = ["KiB a stream", "without, MiB", "with, MiB"]
    table = Table("memory", f"Memory of the service (RSS) for {count:,} event streams, {rounds} times each", columns)
    for kind in (OWN, QUIET):
        runs = []
        for _ in range(rounds):
            with machine.another() as service, Writers(service.url) as writers:
                writers.run(WARM_UP_S)
                time.sleep(settle_s)
                before = service.rss_bytes() / KIB
                with Streams(service.url, count, kind.path, kind.who):
                    time.sleep(settle_s)
                    runs.append((before, service.rss_bytes() / KIB))
        each = Spread.of([(after - before) / count for before, after in runs])
        without, having = (Spread.of([run[n] / KIB for run in runs]) for n in range(2))
        table.add(f"{count:,} {kind.what}", each, without, having)
    return table


def _rates(machine: Machine, count: int, rounds: int, seconds: float) -> list[Table]:
    """With and without in turn; a ratio is that to the mean of the two neighbours without."""
    kinds = (OWN, QUIET, BUSY)
    without, seen = _Seen(), {kind: _Seen() for kind in kinds}
    with machine.sql() as sql, Writers(machine.service.url) as writers:
        writers.run(WARM_UP_S)

        def alone() -> float:
            sql.settle()
            told = writers.run(seconds)
            without.rates.append(told["rate"])
            without.p99s_ms.append(told["p99_ms"])
            return without.rates[-1]

        before = alone()
        for _ in range(rounds):
            for kind in kinds:
                with Streams(machine.service.url, count, kind.path, kind.who) as streams:
                    _beside(writers, streams, seconds, seen[kind])
                after = alone()
                seen[kind].ratios.append(seen[kind].rates[-1] / ((before + after) / 2))
                before = after
    title = f"Writes of {writers.connections} connections, {seconds:g} s at a time, {rounds} times each"
    rates = Table("beside", title, COLUMNS)
    rates.add("no streams", Spread.of(without.rates), 1.0, Spread.of(without.p99s_ms))
    for kind, each in seen.items():
        rates.add(f"{count:,} {kind.what}", *map(Spread.of, (each.rates, each.ratios, each.p99s_ms)))
    fan_out = Table("delivered", "What these streams got meanwhile", ["events/s", "streams cut off", "writes refused"])
    for kind, each in seen.items():
        fan_out.add(f"{count:,} {kind.what}", Spread.of(each.events), each.lost, each.refused)
    return [rates, fan_out]


def _beside(writers: Writers, streams: Streams, seconds: float, seen: _Seen) -> None:
    before = streams.count()["events"]
    began = time.perf_counter()
    told = writers.run(seconds)
    after = streams.count()
    seen.rates.append(told["rate"])
    seen.p99s_ms.append(told["p99_ms"])
    seen.refused += told["refused"]
    seen.events.append((after["events"] - before) / (time.perf_counter() - began))
    seen.lost += after["lost"]
