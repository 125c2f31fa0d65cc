"""The benchmarks still work. What they find depends on the machine: no figure is asserted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What the quick form prints, and what it writes."""
    out = tmp_path_factory.mktemp("bench") / "feed.json"
    command: list[str | Path] = [sys.executable, "-m", "bench.feed", "--quick", "--out", out]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(out.read_text())


def _figures(tables: dict[str, Any]) -> list[float]:
    found: list[float] = []
    for value in tables.values():
        if isinstance(value, dict):
            found += _figures(value)
        elif isinstance(value, int | float):
            found.append(value)
    return found


def test_each_part_measures_something(quick: tuple[str, dict[str, Any]]) -> None:
    """Each part tells of the machine, and has tables with figures in them, which are printed too."""
    printed, written = quick
    assert written.keys() == {"latency", "beside", "sequencer", "reading", "drain"}
    for part in written.values():
        assert part["circumstances"]["quick"] is True
        assert part["circumstances"]["cores"] > 0
        for table in part["tables"].values():
            assert any(_figures(table))
            assert table["title"] in printed
            for what in table["rows"]:
                assert f"| {what} " in printed
