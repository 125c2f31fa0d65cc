"""What the sequencer costs the writers, and how fast it works off what has piled up."""

import time

from bench.reading import fill
from bench.results import Spread, Table
from bench.servers import Machine, Writers

WARM_UP_S = 2.0
POLL_S = 0.02
ENTITY = "main/favorites"
_PLACED = "SELECT position FROM feed_head WHERE entity = $1"
_WAITING = "SELECT EXISTS (SELECT FROM feed_pending)"


def cost(machine: Machine, *, rounds: int, seconds: float) -> list[Table]:
    """Rounds with and without in turn. Without: the feed's head is held, and nothing can be placed."""
    going, held = [], []
    with machine.sql() as sql, Writers(machine.service.url) as writers:
        writers.run(WARM_UP_S)
        for _ in range(rounds):
            sql.settle()
            going.append(writers.run(seconds)["rate"])
            sql.settle()
            sql.execute("BEGIN")
            sql.execute("SELECT FROM feed_head WHERE entity = $1 FOR UPDATE", ENTITY)
            held.append(writers.run(seconds)["rate"])
            sql.execute("ROLLBACK")
        sql.settle()
    title = f"Writes of {writers.connections} connections, {seconds:g} s at a time, {rounds} times each"
    table = Table("sequencer", title, ["writes/s", "ratio"])
    table.add("the sequencer held", Spread.of(held), 1.0)
    ratios = [one / other for one, other in zip(going, held, strict=True)]
    table.add("the sequencer at work", Spread.of(going), Spread.of(ratios))
    return [table]


def drain(machine: Machine, *, changes: int, rounds: int) -> list[Table]:
    """What was written while no sequencer ran is placed by the first that comes."""
    rates, lasted_s = [], []
    for _ in range(rounds):
        machine.service.stop()
        with machine.sql() as sql:
            fill(sql, changes, placed=False)
        machine.service.start()
        with machine.sql() as sql:
            began, placed = time.perf_counter(), sql.value(_PLACED, ENTITY) or 0
            while sql.value(_WAITING):
                time.sleep(POLL_S)
            lasted_s.append(time.perf_counter() - began)
            rates.append((changes - placed) / lasted_s[-1])
    table = Table("drain", f"A backlog of {changes:,} changes, placed and settled by one process", ["rows/s", "s"])
    table.add("nobody writes", Spread.of(rates), Spread.of(lasted_s))
    return [table]
