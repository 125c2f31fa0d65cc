"""Several processes on one port: to a client they are one service, and any of them may die at any moment."""

import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.e2e.service import Answer, Service, postgres_pid, token, workers_of
from tests.e2e.test_kill import Writer

LEGACY = "/postUserFavorites"
WRITERS = 3
KILLS = 3


def _until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def _record(item: str, at: int = 0) -> dict[str, str]:
    return {"item": item, "actionDate": f"2020-01-01T00:00:{at:02d}.000Z", "action": "ADD"}


class Line:
    """A connection, which belongs to one worker for as long as it is open."""

    def __init__(self, service: Service, user: str, *scopes: str) -> None:
        self._headers = {"Authorization": f"Bearer {token(user, *scopes)}", "Content-Type": "application/json"}
        self._connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=30)
        name = uuid.uuid4().hex
        self.ask("GET", "/healthz", headers={"X-Request-ID": name})
        _until(lambda: any(name in line for line in service.lines))
        self.worker = next(json.loads(line)["worker"] for line in service.lines if name in line)

    def send(self, method: str, path: str, content: Any = None, headers: dict[str, str] | None = None) -> None:
        body = None if content is None else json.dumps(content)
        self._connection.request(method, path, body, self._headers | (headers or {}))

    def answer(self) -> http.client.HTTPResponse:
        return self._connection.getresponse()

    def ask(self, method: str, path: str, content: Any = None, headers: dict[str, str] | None = None) -> Answer:
        self.send(method, path, content, headers)
        response = self.answer()
        raw = response.read()
        return Answer(response.status, response.headers, json.loads(raw) if raw else None)

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def _lines(service: Service, user: str, *scopes: str) -> Iterator[list[Line]]:
    """A connection to each of two workers. The kernel chooses, so it may take some."""
    with contextlib.ExitStack() as stack:
        found: dict[int, Line] = {}
        for _ in range(60):
            line = stack.enter_context(contextlib.closing(Line(service, user, *scopes)))
            found.setdefault(line.worker, line)
            if len(found) == 2:
                yield [found[0], found[1]]
                return
        raise AssertionError(f"60 connections, and all of them to {set(found)}")


@pytest.fixture(scope="module")
def service(session_dir: Path) -> Iterator[Service]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Service(data_dir=session_dir / "workers", workers=2, port=port) as running:
        yield running


def test_what_one_has_written_any_other_answers_with(service: Service) -> None:
    with _lines(service, "ann") as (one, other):
        assert one.ask("POST", LEGACY, [_record("a")]).status == 200
        read = other.ask("GET", "/getUserFavorites")
        assert read.content == [_record("a")]
        tag, cursor = read.headers["ETag"], read.headers["Sync-Cursor"].partition(";")[0]
        assert one.ask("GET", "/getUserFavorites", headers={"If-None-Match": tag}).status == 304
        assert one.ask("GET", f"/getUserFavorites?after={cursor}").content == []
        assert other.ask("POST", LEGACY, [_record("b")]).status == 200
        assert one.ask("GET", "/getUserFavorites", headers={"If-None-Match": tag}).status == 200
        assert one.ask("GET", f"/getUserFavorites?after={cursor}").content == [_record("b")]


def _items(page: dict[str, Any]) -> list[str]:
    return [change["item"] for change in page["changes"]]


def _behind(line: Line, item: str) -> str:
    """Where the feed waits for news, once it has told of `item`."""
    path, items = "/feed/favorites?wait=20", [""]
    while item not in items:
        page = line.ask("GET", path).content
        path, items = f"/feed/favorites?wait=20&after={page['cursor']}", _items(page)
    return path


@pytest.mark.parametrize("turn", [1, -1])
def test_news_of_one_is_heard_through_the_other(service: Service, turn: int) -> None:
    with _lines(service, "bob", "feed:read") as both:
        reader, writer = both[::turn]
        assert writer.ask("POST", LEGACY, [_record(f"old {turn}")]).status == 200
        reader.send("GET", _behind(reader, f"old {turn}"))
        assert writer.ask("POST", LEGACY, [_record(f"new {turn}")]).status == 200
        assert _items(json.loads(reader.answer().read())) == [f"new {turn}"]


def test_a_stream_of_one_tells_what_the_other_has_written(service: Service) -> None:
    with _lines(service, "eve") as (reader, writer):
        reader.send("GET", "/sync/favorites", headers={"Accept": "text/event-stream"})
        with reader.answer() as stream:
            assert writer.ask("POST", LEGACY, [_record("streamed")]).status == 200
            while "streamed" not in stream.readline().decode():
                pass


def test_the_log_tells_who_it_was_and_the_start_is_told_once(service: Service) -> None:
    entries = [json.loads(line) for line in service.lines if line.startswith("{")]
    assert {entry["worker"] for entry in entries if entry["event"] == "request"} == {0, 1}
    [listening] = [entry for entry in entries if entry["event"] == "listening"]
    assert (listening["workers"], listening["url"]) == (2, service.url)
    assert len([entry for entry in entries if entry["event"] == "ready"]) == 1


def _have_each_write(service: Service) -> None:
    with _lines(service, "cid") as lines:
        for line in lines:
            assert line.ask("POST", LEGACY, [_record(f"of {line.worker}")]).status == 200


def _sample(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, name
    return float(found[1])


def test_metrics_are_of_all_and_outlive_a_worker(service: Service) -> None:
    applied = 'favsync_receipts_total{outcome="applied"}'
    before = _sample(service.text("/metrics"), applied)
    _have_each_write(service)
    text = service.text("/metrics")
    assert _sample(text, applied) == before + 2
    assert _sample(text, "favsync_database_connections_max") == 2 * 10
    for name in ("0", "1", "parent"):
        assert _sample(text, f'process_resident_memory_bytes{{worker="{name}"}}') > 0
    for pid in workers_of(service):
        os.kill(pid, signal.SIGKILL)
        service.wait_for("another worker is ready")
        assert _sample(service.text("/metrics"), applied) == before + 2
    _until(lambda: _sample(service.text("/metrics"), "favsync_database_connections_max") == 2 * 10)
    assert len(workers_of(service)) == 2


def test_what_was_acknowledged_is_there_whichever_worker_was_killed(service: Service) -> None:
    chance = random.Random(20170502)
    writers = [Writer(service, number, number, notes=False) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(KILLS):
            before = sum(writer.confirmations for writer in writers)
            _until(lambda before=before: sum(writer.confirmations for writer in writers) > before + 5)  # type: ignore[misc]
            time.sleep(chance.uniform(0.0, 0.3))
            os.kill(chance.choice(workers_of(service)), signal.SIGKILL)
            service.wait_for("another worker is ready")
    finally:
        for writer in writers:
            writer.stopping = True
        for writer in writers:
            writer.join(30)
    for writer in writers:
        assert writer.confirmations > 0
        writer.check()


def test_whoever_waits_for_the_next_worker_is_answered_by_it(service: Service) -> None:
    """And does not hear that this one has no database yet."""
    statuses: list[int] = []
    for _ in range(KILLS):
        stop = threading.Event()

        def ask(stop: threading.Event = stop) -> None:
            while not stop.is_set():
                with contextlib.suppress(OSError, http.client.HTTPException):  # of the one that was killed
                    statuses.append(service.request("GET", "/getUserFavorites").status)

        asking = [threading.Thread(target=ask) for _ in range(8)]
        for thread in asking:
            thread.start()
        os.kill(workers_of(service)[0], signal.SIGKILL)
        service.wait_for("another worker is ready")
        time.sleep(0.2)
        stop.set()
        for thread in asking:
            thread.join(30)
    assert {*statuses} == {200}


def _leaves(**settings: Any) -> str:
    """Runs a service that is to end by itself with status 1, and gives its last line."""
    service = Service(workers=2, **settings)
    service.start(until=None)
    try:
        assert service.process.wait(30) == 1, service.lines
    finally:
        service.kill()
    service.reader.join(10)
    return service.lines[-1]


@pytest.mark.parametrize("shares", [False, True])
def test_a_port_that_is_taken_is_refused(data_dir: Path, *, shares: bool) -> None:
    with socket.socket() as taken:
        if shares:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = _leaves(data_dir=data_dir, port=port)
        assert said == f"favsync: cannot listen on 127.0.0.1:{port}: Address already in use"


def test_a_second_service_does_not_slip_in(service: Service, data_dir: Path) -> None:
    port = urlsplit(service.url).port
    said = _leaves(data_dir=data_dir, port=port)
    assert said == f"favsync: cannot listen on 127.0.0.1:{port}: Address already in use"


def test_what_an_operator_has_to_mend_ends_all(dsn: str) -> None:
    assert _leaves(database_url=re.sub(r"/\w+\?", "/missing?", dsn)) == (
        'favsync: database_url: database "missing" does not exist'
    )


def test_metrics_on_a_port_of_their_own_are_of_all(dsn: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Service(database_url=dsn, workers=2, metrics_port=port) as service:
        assert service.request("GET", "/metrics").status == 404
        _have_each_write(service)
        service.url = f"http://127.0.0.1:{port}"
        assert _sample(service.text("/metrics"), 'favsync_receipts_total{outcome="applied"}') == 2
        folders = psutil.Process(workers_of(service)[0]).memory_maps()
        [folder] = {Path(one.path).parent for one in folders if one.path.endswith(".db")}
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(20) == 0
    assert not folder.exists()


def test_the_end_of_the_parent_is_that_of_all(service: Service, session_dir: Path) -> None:
    assert service.request("POST", LEGACY, [_record("last")], user="fay").status == 200
    workers = workers_of(service)
    service.kill()
    _until(lambda: not any(map(_alive, workers)), timeout_s=5)
    service.start()
    assert service.request("GET", "/getUserFavorites", user="fay").content == [_record("last")]
    ends = [*workers_of(service), postgres_pid(session_dir / "workers")]
    with contextlib.closing(Line(service, "fay", "feed:read")) as waiting:
        waiting.send("GET", _behind(waiting, "last"))
        time.sleep(0.2)
        assert service.stop() == 0
        assert waiting.answer().status == 200
    assert not any(map(_alive, ends))
