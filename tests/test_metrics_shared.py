"""Metrics of several processes: what each of them knows, and what is left of one that ended."""

import math
import os
from pathlib import Path

import pytest
from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families

from favsync import metrics_shared
from favsync.core.merge import Outcome
from favsync.metrics import Metrics


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")


def _worker(folder: Path, number: int) -> Metrics:
    metrics_shared.count_in(folder, number)
    return Metrics(folder)


def _shown(metrics: Metrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        one.name + "".join(f" {label}" for label in one.labels.values()): one.value
        for family in families
        for one in family.samples
    }


def test_the_names_are_those_of_one_process(tmp_path: Path) -> None:
    ours = {name for name in _shown(Metrics()) if name.startswith("favsync")}
    assert {name for name in _shown(_worker(tmp_path, 0)) if name.startswith("favsync")} >= ours - {
        "favsync_database_connections"
    }


def test_counters_are_added_up_and_go_on_in_the_next_process(tmp_path: Path) -> None:
    one, other = _worker(tmp_path, 0), _worker(tmp_path, 1)
    one.receipt(Outcome.APPLIED, 3)
    other.receipt(Outcome.APPLIED, 4)
    assert _shown(one)["favsync_receipts_total applied"] == 7
    metrics_shared.went(tmp_path, 1)
    assert _shown(one)["favsync_receipts_total applied"] == 7
    _worker(tmp_path, 1).receipt(Outcome.APPLIED)
    assert _shown(one)["favsync_receipts_total applied"] == 8
    assert len(list(tmp_path.glob("counter_*"))) == 2


def test_what_is_in_use_is_of_those_that_live(tmp_path: Path) -> None:
    for number in range(2):
        _worker(tmp_path, number).pool(busy=number + 1, idle=0, most=10)
    last = _worker(tmp_path, 2)
    assert _shown(last)["favsync_database_connections busy"] == 3
    assert _shown(last)["favsync_database_connections_max"] == 20
    metrics_shared.went(tmp_path, 1)
    assert _shown(last)["favsync_database_connections busy"] == 1


def test_an_age_that_anybody_knows_is_known(tmp_path: Path) -> None:
    one, other = _worker(tmp_path, 0), _worker(tmp_path, 1)
    one.pending_age(math.nan)
    other.pending_age(math.nan)
    assert math.isnan(_shown(one)["favsync_feed_pending_age_seconds"])
    other.pending_age(3.0)
    assert _shown(one)["favsync_feed_pending_age_seconds"] == 3
    metrics_shared.went(tmp_path, 1)
    assert math.isnan(_shown(one)["favsync_feed_pending_age_seconds"])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells of processes there")
def test_each_process_is_told_of_while_it_lives(tmp_path: Path) -> None:
    metrics = _worker(tmp_path, 0)
    metrics_shared.came(tmp_path, 0, os.getpid())
    metrics_shared.came(tmp_path, metrics_shared.PARENT, os.getppid())
    assert _shown(metrics)["process_resident_memory_bytes 0"] > 0
    assert _shown(metrics)["process_cpu_seconds_total parent"] >= 0
    metrics_shared.went(tmp_path, 0)
    assert "process_resident_memory_bytes 0" not in _shown(metrics)


def test_the_folder_is_private_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    with metrics_shared.folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "counter_0.db").touch()
    assert not folder.exists()
    monkeypatch.setattr("tempfile.gettempdir", lambda: (_ for _ in ()).throw(FileNotFoundError))
    with metrics_shared.folder() as folder:
        assert folder.parent == Path("/dev/shm")  # noqa: S108
