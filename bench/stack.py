"""How much of what a POST lacks to its database is the stack, and how much the duties of a service: bench/floor.py."""

import json
from collections.abc import Callable

import psutil

from bench import stock
from bench.outside import THREADS, wrk
from bench.results import Spread, Table
from bench.servers import Helper, Machine
from bench.sides import CONNECTIONS, CONNECTIONS_OF_HUNDREDS, Sides

COLUMNS = [
    "pgbench, records/s",
    "the floor",
    "the floor with a feed",
    "ours",
    "floor to pgbench",
    "floor with a feed to pgbench",
    "ours to that",
    "floor, CPU ms a request",
]
LOADS = {1: (CONNECTIONS, "upsert"), 100: (CONNECTIONS_OF_HUNDREDS, "upsert_set")}


def measure(machine: Machine, *, users: int, rounds: int, seconds: float) -> list[Table]:
    """pgbench, the floor without a feed and with one, and the service in turn."""
    table = Table("stack", f"POSTs, {seconds:g} s at a time, {rounds} times each", COLUMNS)
    with Sides.stocked(machine, users) as sides, Helper("floor") as helper, Helper("floor", "feed") as feeding:
        floors = []
        for each in (helper, feeding):
            each.say(json.dumps(machine.target()))
            floors.append((each.hear()["url"], each.pid))
        for records, (connections, script) in LOADS.items():
            pgbench = sides.pgbench(script, connections, each=records)
            floor, with_feed = (_floor(sides, *each, records, connections) for each in floors)
            floor(1)
            with_feed(1)
            found = []
            for _ in range(rounds):
                theirs, (least, cpu_ms), (both, _) = pgbench(seconds), floor(seconds), with_feed(seconds)
                ours = sides.post(seconds, records, connections).rate
                found.append((theirs, least, both, ours, least / theirs, both / theirs, ours / both, cpu_ms))
            table.add(f"POST of {records}", *map(Spread.of, zip(*found, strict=True)))
    return [table]


def _floor(sides: Sides, url: str, pid: int, records: int, connections: int) -> Callable[[float], tuple[float, float]]:
    """Measures for so many seconds: records a second, and CPU milliseconds of a request."""
    process = psutil.Process(pid)

    def measured(seconds: float) -> tuple[float, float]:
        before_s = sum(process.cpu_times()[:2])
        words = (sides.tokens, THREADS, records, stock.ITEMS, stock.next_day())
        load = wrk(url, "post", *words, connections=connections, seconds=seconds)
        return records * load.rate, 1000 * (sum(process.cpu_times()[:2]) - before_s) / load.requests

    return measured
