"""What is measured: real processes of the service, its database, and helpers in processes of their own."""

import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import asyncpg
import psutil

from bench.tokens import SECRET
from favsync.store import clients
from favsync.store.cluster import Cluster

ROOT = Path(__file__).parents[1]
PROGRAM = ("-m", "favsync")
START_S = 60.0
STOP_S = 30.0
SETTLE_S = 300.0
_CONFIG = "[entities.quiet]\n"  # a feed in which nothing happens


class Service:
    """`favsync serve`, as it is installed, with the defaults but for `settings`; its log goes into a file."""

    def __init__(self, folder: Path, name: str, **settings: object) -> None:
        self._log = folder / f"{name}.log"
        config = folder / "favsync.toml"
        config.write_text(_CONFIG)
        self._settings = {"port": 0, "jwt_secret": SECRET, "log_format": "json", "config": config} | settings
        self._process: psutil.Popen
        self.url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    def rss_bytes(self) -> int:
        return int(self._process.memory_info().rss)

    def start(self, program: Sequence[str] = PROGRAM, /, **settings: object) -> None:
        """Returns when it is ready. `program`: what Python runs. `settings`: more of them, this time."""
        environment = _environment(self._settings | settings)
        with self._log.open("wb") as log:
            command = [sys.executable, *program, "serve"]
            self._process = psutil.Popen(command, env=environment, cwd="/", stdout=subprocess.DEVNULL, stderr=log)
        give_up = time.monotonic() + START_S
        while not {"listening", "ready"} <= self._events().keys():
            if self._process.poll() is not None or time.monotonic() > give_up:
                self.stop()
                raise RuntimeError(self._log.read_text()[-2000:])
            time.sleep(0.02)
        self.url = self._events()["listening"]["url"]

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except psutil.TimeoutExpired:
                self._process.kill()

    def _events(self) -> dict[str, dict[str, Any]]:
        """What it logged, whole lines of it, by event."""
        lines = self._log.read_text().split("\n")[:-1]
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        return {entry["event"]: entry for entry in entries}


def _environment(settings: Mapping[str, object]) -> dict[str, str]:
    """Ours, with these settings of the service and no others."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("FAVSYNC_")}
    return clean | {f"FAVSYNC_{key.upper()}": str(value) for key, value in settings.items()}


class Machine:
    """A service with an embedded PostgreSQL in a folder of its own, and other processes beside it on demand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.service = Service(folder, "service", data_dir=self.data_dir)
        self.users_stocked = 0  # for whom bench/stock.py has put records into its database
        self._count = 0

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator[Self]:
        """Everything is gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="favsync-bench-") as name:
            folder = Path(name)
            folder.chmod(0o755)  # the account of a PostgreSQL under root passes through
            machine = cls(folder)
            with machine.service:
                yield machine

    def target(self) -> dict[str, Any]:
        """How to reach its PostgreSQL: keyword arguments of `asyncpg.connect`."""
        target = Cluster(self.data_dir).running()
        if target is None:
            raise RuntimeError("the embedded PostgreSQL does not run")
        return target

    def database_url(self, database: str | None = None) -> str:
        """Of the database of the service, or of another one there."""
        target = self.target()
        login = f"{target['user']}:{quote(target['password'])}"
        return f"postgresql://{login}@/{database or target['database']}?host={quote(target['host'], safe='')}"

    def another(self) -> Service:
        """A second process on the same database, fresh."""
        self._count += 1
        return Service(self.folder, f"another-{self._count}", database_url=self.database_url())

    @contextlib.contextmanager
    def sql(self) -> Iterator["Sql"]:
        """A connection to the database, whether the service runs or not."""
        with asyncio.Runner() as runner:
            reached = clients.reached(self.data_dir)
            target = runner.run(reached.__aenter__())
            try:
                connection = runner.run(asyncpg.connect(**target))
                try:
                    yield Sql(runner, connection)
                finally:
                    runner.run(connection.close())
            finally:
                runner.run(reached.__aexit__(None, None, None))


class Sql:
    """Statements, one after another."""

    def __init__(self, runner: asyncio.Runner, connection: asyncpg.Connection) -> None:
        self._runner = runner
        self._connection = connection

    def execute(self, statement: str, *values: object) -> None:
        self._runner.run(self._connection.execute(statement, *values))

    def value(self, query: str, *values: object) -> Any:  # noqa: ANN401 -- whatever it is
        return self._runner.run(self._connection.fetchval(query, *values))

    def rows(self, query: str, *values: object) -> list[asyncpg.Record]:
        return self._runner.run(self._connection.fetch(query, *values))

    def settle(self) -> None:
        """Returns when nothing waits for its place in a feed."""
        give_up = time.monotonic() + SETTLE_S
        while self.value("SELECT EXISTS (SELECT FROM feed_pending)"):
            if time.monotonic() > give_up:
                raise RuntimeError("the feed stands still")
            time.sleep(0.1)


class Helper:
    """A module of ours in a process of its own, told by arguments and lines, and answering in lines of JSON.

    `log`: what its stderr goes into, if not into ours. `settings`: of the service, for one that runs it.
    """

    def __init__(self, module: str, *arguments: object, log: Path | None = None, **settings: object) -> None:
        with contextlib.ExitStack() as opened:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"bench.{module}", *map(str, arguments)],
                cwd=ROOT, env=_environment(settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                stderr=opened.enter_context(log.open("wb")) if log else None,
            )  # fmt: skip
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Its input ends, and so does it."""
        with self._process:
            pass

    def say(self, line: str = "") -> None:
        assert self._process.stdin is not None  # noqa: S101 -- it is a pipe
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 -- it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


class Writers(Helper):
    """A closed loop of writers: bench/load.py."""

    connections = 16
    users = 500  # that each of them writes for, in turn

    def __init__(self, url: str) -> None:
        super().__init__("load", url, time.time_ns(), self.connections, self.users)

    def run(self, seconds: float) -> dict[str, Any]:
        self.say(str(seconds))
        return self.hear()


class Streams(Helper):
    """Event streams, held open: bench/streams.py. They are open when this returns."""

    def __init__(self, url: str, count: int, path: str, who: str) -> None:
        super().__init__("streams", url, count, path, who)
        self.hear()

    def count(self) -> dict[str, Any]:
        self.say()
        return self.hear()


def raise_file_limit() -> None:
    """As many files as this account may open, here and in what is started from here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS has a limit beneath the one that it tells
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
