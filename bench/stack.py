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
    "ours",
    "floor to pgbench",
    "ours to the floor",
    "floor, CPU ms a request",
]
LOADS = {1: (CONNECTIONS, "upsert"), 100: (CONNECTIONS_OF_HUNDREDS, "upsert_set")}


def measure(machine: Machine, *, users: int, rounds: int, seconds: float) -> list[Table]:
    """pgbench, the floor and the service in turn."""
    table = Table("stack", f"POSTs, {seconds:g} s at a time, {rounds} times each", COLUMNS)
    with Sides.stocked(machine, users) as sides, Helper("floor") as helper:
        helper.say(json.dumps(machine.target()))
        url = helper.hear()["url"]
        for records, (connections, script) in LOADS.items():
            pgbench = sides.pgbench(script, connections, each=records)
            floor = _floor(sides, url, helper.pid, records, connections)
            floor(1)
            found = []
            for _ in range(rounds):
                theirs, (least, cpu_ms) = pgbench(seconds), floor(seconds)
                ours = sides.post(seconds, records, connections).rate
                found.append((theirs, least, ours, least / theirs, ours / least, cpu_ms))
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
