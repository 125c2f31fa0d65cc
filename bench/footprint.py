"""What a service takes before it does anything: the time to start, and memory, at rest and at work."""

import time
from collections.abc import Callable

from bench.processes import Peak, of_service
from bench.results import Spread, Table
from bench.servers import Machine, Service
from bench.sides import CONNECTIONS_OF_HUNDREDS, Sides, fetch
from bench.tokens import token

MIB = 2**20


def start(machine: Machine, *, rounds: int) -> list[Table]:
    """From the start of the process."""
    columns = ["ready, s", "a first record read, s"]
    table = Table("start", f"How long a start takes, {rounds} times each", columns)
    fresh, existing = [], []
    for number in range(rounds):
        service = Service(machine.folder, f"start-{number}", data_dir=machine.folder / f"start-{number}")
        fresh.append(_started(service))
        existing.append(_started(service))
    for what, times_s in (("in a fresh directory, with initdb", fresh), ("in one that is there", existing)):
        table.add(what, *map(Spread.of, zip(*times_s, strict=True)))
    return [table]


def _started(service: Service) -> tuple[float, float]:
    began = time.perf_counter()
    with service:
        ready_s = time.perf_counter() - began
        fetch(service.url, "/getUserFavorites", token("user-1"))
        return ready_s, time.perf_counter() - began


def memory(machine: Machine, *, users: int, seconds: float, settle_s: float) -> list[Table]:
    """Of a fresh process, one load after another."""
    machine.service.stop()
    machine.service.start()
    table = Table("rss", "Memory of the service (RSS of all its processes), at most, MiB", ["MiB", "processes"])
    with Sides.stocked(machine, users) as sides:
        time.sleep(settle_s)

        def add(what: str, load: Callable[[float], object]) -> None:
            pids = of_service(machine.service.pid)
            with Peak(*pids) as peak:
                load(seconds)
            table.add(what, sum(peak.peak) / MIB, len(pids))

        add("at rest", time.sleep)
        etags = sides.etags()
        add("GET, 304", lambda s: sides.get(s, etags))
        add("GET, 200", sides.get)
        add("POST of 1", sides.post)
        add("POST of 100", lambda s: sides.post(s, 100, CONNECTIONS_OF_HUNDREDS))
        add("the feed read to its end", lambda _: sides.read_feed())
    return [table]
