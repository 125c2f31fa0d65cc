"""Whether a hundred times as many records make it slower than they make its database."""

from typing import NamedTuple

from bench import stock
from bench.results import Spread, Table
from bench.servers import Machine
from bench.sides import Sides

MUST = 0.9


class _Rates(NamedTuple):
    ours: float
    theirs: float


def measure(machine: Machine, *, few: int, many: int, rounds: int, seconds: float) -> list[Table]:
    """So many users, on two machines of the same kind that take turns, so that both sizes meet the same hour."""
    seen: dict[str, list[tuple[_Rates, _Rates]]] = {}
    with (
        Sides.stocked(machine, few) as small,
        Machine.started() as other,
        Sides.stocked(other, many) as large,
    ):
        for sides in (small, large):
            sides.get(1)
            sides.post(1)
        for _ in range(rounds):
            pairs = zip(_turn(small, seconds).items(), _turn(large, seconds).values(), strict=True)
            for (what, at_few), at_many in pairs:
                seen.setdefault(what, []).append((at_few, at_many))
    sizes = [f"{users * stock.ITEMS:,} records" for users in (few, many)]
    title = f"With {sizes[0]}, and with {sizes[1]}, a second, {seconds:g} s at a time, {rounds} times each"
    columns = ["ours, few", "theirs, few", "ours, many", "theirs, many", "our loss to theirs", "must be"]
    table = Table("sizes", title, columns)
    for what, pairs_seen in seen.items():
        rates = [(at_few.ours, at_few.theirs, at_many.ours, at_many.theirs) for at_few, at_many in pairs_seen]
        losses = [(ours_many / ours) / (theirs_many / theirs) for ours, theirs, ours_many, theirs_many in rates]
        table.add(what, *map(Spread.of, zip(*rates, strict=True)), Spread.of(losses), MUST)
    return [table]


def _turn(sides: Sides, seconds: float) -> dict[str, _Rates]:
    found = {}
    theirs = sides.pgbench("upsert")(seconds)
    found["POST of one record, against pgbench"] = _Rates(sides.post(seconds).rate, theirs)
    theirs = sides.pgbench("select")(seconds)
    found[f"GET of {stock.ITEMS} records, against pgbench"] = _Rates(sides.get(seconds).rate, theirs)
    return found
