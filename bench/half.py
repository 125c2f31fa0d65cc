"""How long answers take at half of what the service can do: a closed loop finds its peak, an open one puts half on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench import stock
from bench.results import Spread, Table
from bench.servers import Helper, Machine
from bench.sides import CONNECTIONS, Sides

_FIGURES = ("rate", "p50_ms", "p99_ms", "p999_ms", "late_p99_ms")


class _Kind(NamedTuple):
    """`peak`: measures it, for so many seconds. `word`, `more`: as bench/paced.py takes them."""

    peak: Callable[[float], float]
    word: str
    more: Callable[[], object]


def measure(machine: Machine, *, users: int, rounds: int, seconds: float) -> list[Table]:
    columns = ["the peak, a second", "half of it, a second", "p50", "p99", "p99.9", "sent late, p99"]
    title = f"How long an answer took at half the peak, ms, {seconds:g} s at a time, {rounds} times each"
    table = Table("half", title, columns)
    with Sides.stocked(machine, users) as sides:
        for what, kind in _kinds(sides).items():
            kind.peak(1)
            peaks, told = [], []
            for _ in range(rounds):
                peaks.append(kind.peak(seconds))
                told.append(_paced(sides, kind, peaks[-1] / 2, seconds))
                sides.sql.settle()
            table.add(what, Spread.of(peaks), *(Spread.of([each[name] for each in told]) for name in _FIGURES))
    return [table]


def _kinds(sides: Sides) -> dict[str, _Kind]:
    """That of the ETags first: a POST makes them others."""
    etags: Path = sides.etags()
    return {
        "GET, 304": _Kind(lambda s: sides.get(s, etags).rate, "304", lambda: etags),
        "GET, 200": _Kind(lambda s: sides.get(s).rate, "200", lambda: ""),
        "POST of 1": _Kind(lambda s: sides.post(s).rate, "POST", stock.next_day),
    }


def _paced(sides: Sides, kind: _Kind, rate: float, seconds: float) -> dict[str, Any]:
    words = (sides.url, kind.word, sides.tokens, kind.more(), rate, seconds, CONNECTIONS)
    with Helper("paced", *words) as pace:
        return pace.hear()
