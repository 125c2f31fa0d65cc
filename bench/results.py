"""Figures, and how they are shown: as a table for whoever watches, and as JSON."""

import contextlib
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import psutil

from favsync import __version__


class Spread(NamedTuple):
    """Of what was measured several times."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(statistics.median(values), min(values), max(values))


Figure = float | int | Spread | None


@dataclass
class Table:
    """`title`: with the units. Each row says what it is of, and then has a figure a column."""

    name: str
    title: str
    columns: Sequence[str]
    rows: dict[str, list[Figure]] = field(default_factory=dict)

    def add(self, what: str, *figures: Figure) -> None:
        self.rows[what] = list(figures)

    def as_json(self) -> dict[str, Any]:
        rows = {what: dict(zip(self.columns, map(_plain, figures), strict=True)) for what, figures in self.rows.items()}
        return {"title": self.title, "rows": rows}

    def as_text(self) -> str:
        """In Markdown."""
        cells = [["", *self.columns], *([what, *map(_shown, figures)] for what, figures in self.rows.items())]
        widths = [max(len(row[n]) for row in cells) for n in range(len(cells[0]))]
        lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join([f"{self.title}:\n", *lines, ""])


class Busy:
    """How much of the machine is taken by whom."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._all_s, self._own_s = self._used()

    def others(self) -> float:
        """By others than this process and its descendants, since this was made: in cores."""
        all_s, own_s = self._used()
        used_s = (all_s - self._all_s) - (own_s - self._own_s)
        return round(max(0.0, used_s) / (time.monotonic() - self._began), 2)

    @staticmethod
    def _used() -> tuple[float, float]:
        own = psutil.Process()
        times = []
        for process in (own, *own.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                times.append(process.cpu_times())
        now = psutil.cpu_times()
        whole_s = now.user + now.system + now.nice + getattr(now, "steal", 0.0)  # which a guest was not given
        return whole_s, sum(sum(one[:4]) for one in times)  # with those of their children that have ended


def circumstances(postgresql: str, *, quick: bool) -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "favsync": __version__,
        "python": platform.python_version(),
        "postgresql": postgresql,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "quick": quick,
    }


def say(line: str) -> None:
    sys.stderr.write(line + "\n")


def _plain(figure: Figure) -> Any:  # noqa: ANN401 -- any JSON
    if isinstance(figure, Spread):
        return {name: _plain(value) for name, value in figure._asdict().items()}
    return round(figure, 3) if isinstance(figure, float) else figure


def _shown(figure: Figure) -> str:
    if figure is None:
        return ""
    if isinstance(figure, Spread):
        median, least, greatest = map(_shown, figure)
        return median if least == greatest else f"{median} ({least} to {greatest})"
    if isinstance(figure, int) or abs(figure) >= 100:  # noqa: PLR2004 -- three digits say enough
        return f"{figure:,.0f}"
    return f"{figure:.1f}" if abs(figure) >= 10 else f"{figure:.2f}"  # noqa: PLR2004 -- likewise
