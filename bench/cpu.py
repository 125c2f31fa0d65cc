"""Whose CPU seconds a request costs: the service's, its database's, the sequencer's."""

from collections.abc import Callable

from bench.processes import Cpu, CpuWatch
from bench.results import Spread, Table
from bench.servers import Machine
from bench.sides import CONNECTIONS_OF_HUNDREDS, Sides

COLUMNS = ["the service", "backends that serve it", "PostgreSQL's own processes", "the sequencer's backend", "in all"]


def measure(machine: Machine, *, users: int, rounds: int, seconds: float) -> list[Table]:
    """At full load, until the feed has what was written."""
    title = f"CPU seconds of 1,000 requests, {seconds:g} s at a time, {rounds} times each"
    table = Table("cpu", title, COLUMNS)
    with Sides.stocked(machine, users) as sides:
        for what, load in _loads(sides).items():
            load(1)
            found = [_cost(sides, load, seconds) for _ in range(rounds)]
            table.add(what, *map(Spread.of, zip(*found, strict=True)), Spread.of([sum(each) for each in found]))
    return [table]


def _loads(sides: Sides) -> dict[str, Callable[[float], int]]:
    """How many requests each made."""
    etags = sides.etags()
    return {
        "GET, 304": lambda s: sides.get(s, etags).requests,
        "GET, 200": lambda s: sides.get(s).requests,
        "POST of 1": lambda s: sides.post(s).load.requests,
        "POST of 100": lambda s: sides.post(s, 100, CONNECTIONS_OF_HUNDREDS).load.requests,
    }


def _cost(sides: Sides, load: Callable[[float], int], seconds: float) -> list[float]:
    """As `Cpu` has them."""
    watch = CpuWatch(sides.machine.service.pid, sides.sql)
    requests = load(seconds)
    taken: Cpu = watch.taken()
    return [1000 * part / requests for part in taken]
