"""Rows: each sets what the service does against what its database, or its server, could do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from bench import stock
from bench.outside import THREADS, Load, wrk
from bench.results import Spread, Table
from bench.servers import Helper, Machine
from bench.sides import CONNECTIONS, CONNECTIONS_OF_HUNDREDS, Sides

GET_MUST, POST_MUST = 0.6, 0.5


class Row(NamedTuple):
    """`ours`, `theirs`: what is measured, given for how many seconds; a rate. `must`: the least ratio of the two."""

    name: str
    ours: Callable[[float], float]
    theirs: Callable[[float], float]
    must: float


@dataclass
class _Seen:
    ours: list[float]
    theirs: list[float]


class Bench:
    """The rows, and how long answers took meanwhile."""

    def __init__(self, sides: Sides) -> None:
        self._sides = sides
        self.loads: dict[str, list[Load]] = {}
        self.counting = True  # whether loads are to be kept

    def rows(self, bare_url: str) -> list[Row]:
        sides, etags = self._sides, self._sides.etags()
        return [
            Row("GET answered 304, against an aiohttp handler that returns []",
                lambda s: self._kept("GET, 304", sides.get(s, etags)).rate,
                lambda s: self._kept("the bare handler", self._bare(s, bare_url)).rate, 0.35),
            Row(f"GET of {stock.ITEMS} records, against pgbench",
                lambda s: self._kept("GET, 200", sides.get(s)).rate, sides.pgbench("select"), GET_MUST),
            Row("feed read by curl, records/s, against psql's \\copy",
                lambda _: sides.read_feed(), lambda _: sides.copy_feed(), 0.25),
            Row("POST of one record, against pgbench",
                lambda s: self._post(s, 1, CONNECTIONS), sides.pgbench("upsert"), POST_MUST),
            Row("POST of 100 records, records/s, against pgbench",
                lambda s: self._post(s, 100, CONNECTIONS_OF_HUNDREDS),
                sides.pgbench("upsert_set", CONNECTIONS_OF_HUNDREDS, each=100), POST_MUST),
        ]  # fmt: skip

    def _bare(self, seconds: float, url: str) -> Load:
        return wrk(url, "get", self._sides.tokens, THREADS, connections=CONNECTIONS, seconds=seconds)

    def _post(self, seconds: float, records: int, connections: int) -> float:
        writes = self._sides.post(seconds, records, connections)
        self._kept(f"POST of {records}", writes.load)
        return writes.rate

    def _kept(self, what: str, load: Load) -> Load:
        if self.counting:
            self.loads.setdefault(what, []).append(load)
        return load


def measure(machine: Machine, *, users: int, rounds: int, seconds: float) -> list[Table]:
    """The two sides of each row in turn; a ratio is that of two neighbours."""
    with Sides.stocked(machine, users) as sides, Helper("bare") as bare:
        bench = Bench(sides)
        rows = bench.rows(bare.hear()["url"])
        seen = {row: _Seen([], []) for row in rows}
        for row, each in seen.items():
            bench.counting = False
            row.ours(1)  # tokens are known, plans are made, files are in memory
            bench.counting = True
            for _ in range(rounds):
                each.theirs.append(row.theirs(seconds))
                each.ours.append(row.ours(seconds))
    title = f"{users:,} users of {stock.ITEMS} records, {seconds:g} s at a time, {rounds} times each"
    table = Table("rows", title, ["ours, a second", "theirs, a second", "ratio", "must be"])
    for row, each in seen.items():
        ratios = [ours / theirs for ours, theirs in zip(each.ours, each.theirs, strict=True)]
        table.add(row.name, Spread.of(each.ours), Spread.of(each.theirs), Spread.of(ratios), row.must)
    return [table, _waits(bench.loads)]


def _waits(loads: dict[str, list[Load]]) -> Table:
    """Closed loops: each connection sends as soon as it is answered, so these are waits of a service at its limit."""
    table = Table("waits", "How long an answer took at full load, ms", ["p50", "p99", "p99.9"])
    for what, each in loads.items():
        figures = [Spread.of([getattr(load, name) for load in each]) for name in ("p50_ms", "p99_ms", "p999_ms")]
        table.add(what, *figures)
    return table
