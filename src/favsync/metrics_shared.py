"""Metrics of several processes, told as one: each counts in files of its own, in a folder that all can read.

FOLDER/
  counter_0.db, histogram_0.db, gauge_*_0.db   what worker 0 counted, kept by prometheus_client in its multiprocess mode
  0.pid, parent.pid                            the processes that live
"""

import contextlib
import fcntl
import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from favsync.core.errors import OperatorError

PARENT = "parent"
UNKNOWN = -1.0  # of a gauge of which the greatest is shown: beneath whatever another process knows
_MEMORY = "/dev/shm"  # noqa: S108 -- in it, too, the folder has a name that nobody foresees


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A private folder for as long as the service runs; in memory where no file can be written, as in a container.

    Raises OperatorError.
    """
    try:
        place = tempfile.gettempdir()
    except FileNotFoundError:
        place = _MEMORY
    try:
        made = tempfile.TemporaryDirectory(prefix="favsync-", dir=place, ignore_cleanup_errors=True)
    except OSError as error:
        raise OperatorError(f"workers: no folder can be made in {place}, set TMPDIR: {error.strerror}") from None
    with made as name:
        lock = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)  # systemd-tmpfiles, which removes what is old, leaves it alone
            yield Path(name)
        finally:
            os.close(lock)


def count_in(place: Path, worker: int) -> None:
    """From now on metrics are made in `place`, and go on from where the last process that was this worker came to.

    So counters outlive a process, and the files are no more than the workers.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(place)
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]


def came(place: Path, name: int | str, pid: int) -> None:
    (place / f"{name}.pid").write_text(str(pid))


def went(place: Path, worker: int) -> None:
    """What it had in use is not in use any more."""
    (place / f"{worker}.pid").unlink(missing_ok=True)
    mark_process_dead(worker, str(place))  # type: ignore[no-untyped-call]


class Workers(MultiProcessCollector):
    """What all of them counted. `unknown`: the gauges that may be UNKNOWN, which is shown as NaN."""

    def __init__(self, place: Path, unknown: Iterable[str]) -> None:
        super().__init__(None, str(place))  # type: ignore[no-untyped-call]
        self._unknown = frozenset(unknown)

    def collect(self) -> Iterable[Metric]:
        for metric in super().collect():  # type: ignore[no-untyped-call]
            if metric.name in self._unknown:
                metric.samples = [
                    one._replace(value=math.nan) if one.value == UNKNOWN else one for one in metric.samples
                ]
            yield metric


class Processes(Collector):
    """The process_* of each process that lives, with the label `worker`.

    Their sum would fall with each that is replaced, and a counter of CPU seconds must not.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._pid = 0
        self._process = ProcessCollector(pid=lambda: self._pid, registry=None)

    def collect(self) -> Iterable[Metric]:
        found: dict[str, Metric] = {}
        for file in sorted(self._place.glob("*.pid")):
            with contextlib.suppress(OSError, ValueError):  # it is just coming, or going
                self._pid = int(file.read_text())
                for metric in self._process.collect():
                    whole = found.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                    for one in metric.samples:
                        whole.add_sample(one.name, one.labels | {"worker": file.stem}, one.value)
        return found.values()


def register(registry: CollectorRegistry, place: Path, unknown: Iterable[str]) -> None:
    """Has `registry` show what there is in `place`."""
    registry.register(Workers(place, unknown))
    registry.register(Processes(place))
