"""Whose the time of a request is: our own code's, that of what it stands on, the database's, the load's.

And how far a row would come, by that, if our own Python took none, and all else were as it is.
"""

import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench.outside import PAGE, Load, curl_start_s
from bench.processes import CpuWatch
from bench.results import Spread, Table
from bench.rows import GET_MUST, POST_MUST
from bench.sampled import read
from bench.servers import ROOT, Machine
from bench.sides import CONNECTIONS_OF_HUNDREDS, Sides

_SAMPLED = str(ROOT / "bench" / "sampled.py")
COLUMNS = [
    "a second",
    "our own Python",
    "what it stands on",
    "backends that serve it",
    "PostgreSQL's own processes",
    "the sequencer's backend",
    "wrk",
    "in all",
]
BOUNDS = ["pgbench, a second", "ratio, were no core ever idle", "likewise, did our own Python take no time", "must be"]


class _Cost(NamedTuple):
    """CPU milliseconds of a request, as COLUMNS has them, but for the first and the last."""

    ours: float
    beneath: float
    backends: float
    background: float
    sequencer: float
    wrk: float


class _Row(NamedTuple):
    """`load`: for so many seconds. `theirs`: how many requests pgbench makes a second, if it does."""

    load: Callable[[float], Load]
    theirs: Callable[[float], float] | None = None
    must: float | None = None


def measure(machine: Machine, *, users: int, rounds: int, seconds: float) -> list[Table]:
    """At full load, until the feed has what was written."""
    costs = Table("cpu", f"CPU milliseconds of a request, {seconds:g} s at a time, {rounds} times each", COLUMNS)
    bounds = Table("bounds", f"What the CPU time of {os.cpu_count()} cores comes to", BOUNDS)
    samples = machine.folder / "samples"
    machine.service.stop()
    machine.service.start((_SAMPLED, str(samples)))
    with Sides.stocked(machine, users) as sides:
        for what, row in _rows(sides).items():
            row.load(1)
            rates, found = [], []
            for _ in range(rounds):
                rates.append(row.theirs(seconds) if row.theirs else 0.0)
                found.append(_cost(sides, row.load, samples, seconds))
            by_party = map(Spread.of, zip(*(cost for _, cost in found), strict=True))
            costs.add(
                what,
                Spread.of([a_second for a_second, _ in found]),
                *by_party,
                Spread.of([sum(cost) for _, cost in found]),
            )
            if row.theirs:
                whole = [_rate(sum(cost)) / rate for (_, cost), rate in zip(found, rates, strict=True)]
                without = [_rate(sum(cost) - cost.ours) / rate for (_, cost), rate in zip(found, rates, strict=True)]
                bounds.add(what, *map(Spread.of, (rates, whole, without)), row.must)
    machine.service.stop()
    machine.service.start()
    with Sides.stocked(machine, users) as sides:
        return [costs, bounds, _curl(sides, rounds)]


def _rows(sides: Sides) -> dict[str, _Row]:
    etags = sides.etags()
    hundreds = CONNECTIONS_OF_HUNDREDS
    return {
        "GET, 304": _Row(lambda s: sides.get(s, etags)),
        "GET, 200": _Row(sides.get, sides.pgbench("select"), GET_MUST),
        "POST of 1": _Row(lambda s: sides.post(s).load, sides.pgbench("upsert"), POST_MUST),
        "POST of 100": _Row(
            lambda s: sides.post(s, 100, hundreds).load, sides.pgbench("upsert_set", hundreds), POST_MUST
        ),
    }


def _cost(sides: Sides, load: Callable[[float], Load], samples: Path, seconds: float) -> tuple[float, _Cost]:
    """Requests a second, and what each cost."""
    before, before_s = read(samples), _of_children_s()
    watch = CpuWatch(sides.machine.service.pid, sides.sql)
    done = load(seconds)
    wrk_s, taken, now = _of_children_s() - before_s, watch.taken(), read(samples)
    ours_s = taken.service * (now.ours - before.ours) / (now.all - before.all)
    spent = (ours_s, taken.service - ours_s, taken.backends, taken.background, taken.sequencer, wrk_s)
    return done.rate, _Cost(*(1000 * part_s / done.requests for part_s in spent))


def _of_children_s() -> float:
    """Of those that have ended: the programs that put the loads on."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _rate(cpu_ms: float) -> float:
    """Requests a second, on all cores."""
    return 1000 * (os.cpu_count() or 1) / cpu_ms


def _curl(sides: Sides, rounds: int) -> Table:
    """A page of the feed, beside what a curl takes for itself, during which PostgreSQL prints the next page."""
    found = [(PAGE / sides.read_feed(), curl_start_s(), PAGE / sides.copy_feed()) for _ in range(rounds)]
    pages, starts, copies = ([1000 * each for each in column] for column in zip(*found, strict=True))
    table = Table("curl", f"{PAGE:,} changes of a feed, ms, {rounds} times each", ["ms"])
    table.add("a page, by a curl of its own", Spread.of(pages))
    table.add("a curl that asks for nothing", Spread.of(starts))
    table.add("psql's \\copy of as many", Spread.of(copies))
    return table
