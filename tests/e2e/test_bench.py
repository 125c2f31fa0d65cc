"""The benchmarks still work. What they find depends on the machine: no figure is asserted."""

import html
import json
import os
import re
import shutil
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


def _shape(written: Any) -> Any:
    """What is measured, but for how much of it."""
    if isinstance(written, dict):
        return {re.sub(r"[\d,]+", "#", name): _shape(value) for name, value in written.items()}
    return None


def test_the_kept_figures_are_of_these_measurements(quick: tuple[str, dict[str, Any]]) -> None:
    kept = json.loads((ROOT / "bench" / "results" / "feed.json").read_text())
    assert _shape(kept) == _shape(quick[1])
    assert not any(part["circumstances"]["quick"] for part in kept.values())


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_the_service_is_measured_against_its_database(tmp_path: Path) -> None:
    out = tmp_path / "service.json"
    command: list[str | Path] = [sys.executable, "-m", "bench.service", "--quick", "--out", out]
    environment = os.environ | {"BENCH_SECONDS": "2"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    written = json.loads(out.read_text())
    assert written["circumstances"]["quick"] is True
    rows = written["tables"]["rows"]["rows"]
    assert len(rows) == 5
    chart = out.with_suffix(".svg").read_text()
    assert chart.startswith("<svg ")
    assert chart.endswith("</svg>\n")
    for what, row in rows.items():
        assert html.escape(what) in chart
        assert f"| {what} " in done.stdout
        assert row["ratio"]["median"] == pytest.approx(
            row["ours, a second"]["median"] / row["theirs, a second"]["median"], abs=0.01
        )
    assert written["tables"]["waits"]["rows"].keys() == {
        "GET, 304",
        "GET, 200",
        "the bare handler",
        "POST of 1",
        "POST of 100",
    }
