"""The benchmarks still work. What they find depends on the machine: no figure is asserted."""

import html
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bench import kinto_peer
from bench.servers import Helper
from bench.stock import ITEMS
from favsync.settings import FIELDS

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
    _check_figures(written, printed)


def _check_figures(written: dict[str, Any], printed: str) -> None:
    for part in written.values():
        assert part["circumstances"]["quick"] is True
        assert part["circumstances"]["cores"] > 0
        assert part["tables"]
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


def test_links_are_measured(tmp_path: Path) -> None:
    """Each link has its cycles, in each way that a peer may be; and what is kept is of this measurement."""
    out = tmp_path / "links.json"
    command: list[str | Path] = [sys.executable, "-m", "bench.links", "--quick", "--out", out]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    written = json.loads(out.read_text())
    _check_figures(written, done.stdout)
    rest, *loads = written["links"]["tables"]["links"]["rows"].values()
    assert rest["cycles/s"] == 0
    assert all(load["cycles/s"] > 0 and load["service, MiB"] > 0 for load in loads)
    assert all(0 < load["p50"] <= load["p99"] <= load["longest"] for load in loads[1:])
    assert not any(load["POSTs"] for load in loads)
    kept = json.loads((ROOT / "bench" / "results" / "links.json").read_text())
    assert _shape(kept) == _shape(written)
    assert kept["links"]["circumstances"]["quick"] is False


@pytest.mark.timeout(540)  # two minutes, on a machine that does nothing else
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_the_service_is_measured_against_its_database(tmp_path: Path) -> None:
    """Each part has figures, the rows have their chart, and what is kept is of these measurements."""
    out = tmp_path / "service.json"
    command: list[str | Path] = [sys.executable, "-m", "bench.service", "--quick", "--out", out]
    environment = os.environ | {"BENCH_SECONDS": "2"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    written = json.loads(out.read_text())
    if "workers" not in FIELDS:
        assert written.pop("workers")["tables"] == {}
    _check_figures(written, done.stdout)
    rows = written["rows"]["tables"]["rows"]["rows"]
    chart = out.with_suffix(".svg").read_text()
    assert chart.startswith("<svg ")
    assert chart.endswith("</svg>\n")
    for what, row in rows.items():
        assert html.escape(what) in chart
        assert row["ratio"]["median"] == pytest.approx(
            row["ours, a second"]["median"] / row["theirs, a second"]["median"], abs=0.01
        )
    kept = json.loads((ROOT / "bench" / "results" / "service.json").read_text())
    assert _shape(kept) == _shape({part: written[part] for part in kept})
    assert not any(part["circumstances"]["quick"] for part in kept.values())


def test_an_open_loop_counts_from_when_a_request_was_due(tmp_path: Path) -> None:
    """One connection, an answer takes 50 ms and a request is due each 10: the wait grows, and all of it is told."""
    tokens = tmp_path / "tokens"
    tokens.write_text("a\nb\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_answer_slowly, args=(server, 0.05), daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with Helper("paced", url, "200", tokens, "", 100, 0.2, 1) as pace:
            told = pace.hear()
    assert told["p50_ms"] > 50 * 10 - 10 * 10
    assert told["p999_ms"] > 50 * 20 - 10 * 20
    assert told["rate"] < 1000 / 50
    assert told["late_p99_ms"] < 50


def _answer_slowly(server: socket.socket, seconds: float) -> None:
    connection, _ = server.accept()
    with connection:
        while connection.recv(65536):
            time.sleep(seconds)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")


def test_a_part_that_there_is_not_is_named() -> None:
    command = [sys.executable, "-m", "bench.service", "--only", "nothing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "no part nothing: there are disk, start, rows" in done.stderr


def test_kinto_is_set_up_as_it_is_said_to_be() -> None:
    """What runs without an installation of Kinto: its settings, its lock, and the names of its users."""
    settings = kinto_peer.settings()
    application = settings["app:main"]
    for what in ("storage", "permission", "cache"):
        assert application[f"kinto.{what}_backend"] == f"kinto.core.{what}.postgresql"
    assert int(application["kinto.paginate_by"]) >= ITEMS  # all in one answer
    assert settings["uwsgi"].getint("processes", 0) > 1
    lock = kinto_peer.REQUIREMENTS.read_text()
    assert "://" not in lock
    assert re.fullmatch(r"(\S+==\S+( ; [^\\]+)? \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+)+", lock)
    assert kinto_peer.version() in lock
    assert kinto_peer.credentials("user-1") == "dXNlci0xOmFueQ=="
    # As Kinto itself answered.
    assert (
        kinto_peer.principal("user-1") == "basicauth:abe5d527005fe5bb10236e358529d4f179f0337f4822a85da4f55280f7d87979"
    )


def test_the_kept_figures_of_kinto_are_of_what_is_locked() -> None:
    kept = json.loads((ROOT / "bench" / "results" / "peers.json").read_text())["kinto"]
    assert kept["circumstances"]["quick"] is False
    for row in kept["tables"]["kinto"]["rows"].values():
        assert row.keys() == {"ours, a second", f"Kinto {kinto_peer.version()}, a second", "ratio"}
