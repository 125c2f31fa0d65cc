"""One chart: the ratio of each row, with its spread, and what it must be."""

from collections.abc import Mapping
from html import escape
from typing import Any

WIDTH, LEFT, RIGHT, STEP, TOP = 880, 430, 50, 44, 46
SCALE_MAX = 1.0
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1b1f24}.axis{stroke:#d0d7de}.small{font-size:11px;fill:#57606a}"
    ".bar{fill:#2f6feb}.spread{stroke:#0a2f7a;stroke-width:2}.must{stroke:#cf222e;stroke-width:2}"
)


def draw(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """`rows`: as `Table.as_json` has them, with `ratio` (median, least, greatest) and `must be`. SVG 1.1."""
    height = TOP + STEP * len(rows) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>What the service reaches of what its database, or its server, could do</title>",
        f'<style>{_STYLE}</style><rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        '<text x="12" y="24">Ratio, ours to theirs: median, least and greatest; red: what it must be</text>',
    ]
    for tenth in range(0, 11, 2):
        x = _x(tenth / 10)
        parts += [
            f'<line class="axis" x1="{x}" y1="{TOP}" x2="{x}" y2="{height - 30}"/>',
            f'<text class="small" x="{x}" y="{height - 12}" text-anchor="middle">{tenth / 10:g}</text>',
        ]
    for number, (name, row) in enumerate(rows.items()):
        parts += _bar(name, row, TOP + STEP * number)
    return "\n".join([*parts, "</svg>", ""])


def _bar(name: str, row: Mapping[str, Any], y: int) -> list[str]:
    ratio, middle = row["ratio"], y + STEP / 2
    return [
        f'<text x="12" y="{middle + 5}">{escape(name)}</text>',
        f'<rect class="bar" x="{LEFT}" y="{y + 10}" width="{_x(ratio["median"]) - LEFT}" height="{STEP - 20}"/>',
        f'<line class="spread" x1="{_x(ratio["least"])}" y1="{middle}" x2="{_x(ratio["greatest"])}" y2="{middle}"/>',
        f'<line class="must" x1="{_x(row["must be"])}" y1="{y + 4}" x2="{_x(row["must be"])}" y2="{y + STEP - 4}"/>',
        f'<text class="small" x="{_x(ratio["median"]) + 6}" y="{y + 9}">{ratio["median"]:.2f}</text>',
    ]


def _x(ratio: float) -> float:
    return round(LEFT + min(ratio, SCALE_MAX) / SCALE_MAX * (WIDTH - LEFT - RIGHT), 1)
