"""The real service, in a process of its own, and a plain HTTP client."""

import http.client
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import psutil

from favsync.http.auth import issue

SECRET = "a secret for tests, 32 bytes long"
START_TIMEOUT_S = 60.0


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    content: Any


class Service:
    """`favsync serve` with the given settings; what it logs is kept. `file_limit`: what it may open, at most."""

    def __init__(self, *, file_limit: int | None = None, **settings: object) -> None:
        self._shell = ["/bin/bash", "-c", f'ulimit -n {file_limit} && exec "$@"', "bash"] if file_limit else []
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FAVSYNC_")}
        values = {"port": 0, "jwt_secret": SECRET, "log_format": "json"} | settings
        self._environment = clean | {f"FAVSYNC_{name.upper()}": str(value) for name, value in values.items()}
        self._entries: queue.Queue[dict[str, Any]] = queue.Queue()
        self.command: list[str | Path] = [sys.executable, "-m", "favsync", "serve"]
        self.lines: list[str] = []
        self.url = ""
        self.process: subprocess.Popen[str]
        self.reader: threading.Thread

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()

    def start(self, *, until: str | None = "ready") -> None:
        """Starts it, and waits for a line of its log: `listening` or `ready`, or None."""
        self.process = subprocess.Popen(
            [*self._shell, *self.command],
            env=self._environment,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._entries = queue.Queue()
        self.reader = threading.Thread(target=self._read, args=(self.process, self._entries), daemon=True)
        self.reader.start()
        if until is None:
            return
        self.url = self.wait_for("listening")["url"]
        if until != "listening":
            self.wait_for(until)

    def wait_for(self, event: str, timeout_s: float = START_TIMEOUT_S) -> dict[str, Any]:
        """The next log entry with this event; AssertionError, with the log, where none comes."""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                entry = self._entries.get(timeout=min(left_s, 0.2))
            except queue.Empty:
                if self.process.poll() is not None and self._entries.empty():
                    break
                continue
            if entry.get("event") == event:
                return entry
        raise AssertionError(f"no {event!r} in the log:\n" + "\n".join(self.lines[-30:]))

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(20)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def request(
        self,
        method: str,
        path: str,
        content: Any = None,
        *,
        user: str | None = "ann",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> Answer:
        """One request on a connection of its own. Raises OSError or http.client.HTTPException where none answers."""
        sent = dict(headers or {})
        if user is not None:
            sent["Authorization"] = f"Bearer {token(user)}"
        body = None if content is None else json.dumps(content).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=timeout_s)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            raw = response.read()
            return Answer(response.status, response.headers, json.loads(raw) if raw else None)
        finally:
            connection.close()

    def text(self, path: str) -> str:
        """What a GET gives, as it is."""
        with urllib.request.urlopen(self.url + path, timeout=30) as response:  # noqa: S310 -- our own URL
            return str(response.read().decode())

    def _read(self, process: subprocess.Popen[str], entries: "queue.Queue[dict[str, Any]]") -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.lines.append(line.rstrip())
                if line.startswith("{"):
                    entries.put(json.loads(line))


def token(user: str, *scopes: str) -> str:
    return issue(SECRET, user, scopes=scopes, now_s=int(time.time()), ttl_s=3600)


def postgres_pid(data_dir: Path) -> int:
    """The process id of the embedded PostgreSQL."""
    return int((data_dir / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])


def workers_of(service: Service) -> list[int]:
    """The process ids of its workers, where it has any."""
    children = psutil.Process(service.process.pid).children()
    return [child.pid for child in children if any("favsync.worker" in word for word in child.cmdline())]
