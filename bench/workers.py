"""What a second process of the service brings, set against the same database."""

from bench.results import Spread, Table, say
from bench.servers import Machine
from bench.sides import Sides
from favsync.settings import FIELDS

COUNTS = (1, 2)
LOADS = {"GET, 304": None, "GET of 200 records": "select", "POST of one record": "upsert"}


def measure(machine: Machine, *, users: int, rounds: int, seconds: float) -> list[Table]:
    """With one and with two in turn, each time anew; a ratio is that to pgbench, right before it."""
    if "workers" not in FIELDS:
        say("workers: this release has no such setting")
        return []
    title = f"Processes of the service, {seconds:g} s at a time, {rounds} times each"
    rates: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    for _ in range(rounds):
        for count in COUNTS:
            machine.service.stop()
            machine.service.start(**({"workers": count} if count > 1 else {}))
            for what, (ours, theirs) in _turn(machine, users, seconds).items():
                row = f"{what}, {count} {'process' if count == 1 else 'processes'}"
                rates.setdefault(row, []).append(ours)
                if theirs:
                    ratios.setdefault(row, []).append(ours / theirs)
    machine.service.stop()
    machine.service.start()
    table = Table("workers", title, ["a second", "ratio to pgbench"])
    for row in sorted(rates):
        table.add(row, Spread.of(rates[row]), Spread.of(ratios[row]) if row in ratios else None)
    return [table]


def _turn(machine: Machine, users: int, seconds: float) -> dict[str, tuple[float, float | None]]:
    """Rates: ours, and that of pgbench where it has one."""
    found: dict[str, tuple[float, float | None]] = {}
    with Sides.stocked(machine, users) as sides:
        etags = sides.etags()
        ours = {
            "GET, 304": lambda s: sides.get(s, etags).rate,
            "GET of 200 records": lambda s: sides.get(s).rate,
            "POST of one record": lambda s: sides.post(s).rate,
        }
        for what, script in LOADS.items():
            ours[what](1)
            theirs = sides.pgbench(script)(seconds) if script else None
            found[what] = (ours[what](seconds), theirs)
    return found
