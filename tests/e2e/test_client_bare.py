"""The programs of examples/device, before backends that answer the bare protocol and no more, slowly, late or oddly."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.device_program import COMMANDS, Phone

LIST = "/getUserFavorites"
POST = "/postUserFavorites"
TOKEN = "opaque"
OLD = "2020-01-01T00:00:00"
RACING = {  # a clock that goes a thousand times too fast: whatever is measured by it, it was set meanwhile
    "Python": "import time\nnow = time.time_ns\nbegan = now()\ntime.time_ns = lambda: began + 1000 * (now() - began)\n",
    "TypeScript": "const now = Date.now, began = now(); Date.now = () => began + 1000 * (now() - began)",
}
languages = pytest.mark.parametrize("language", COMMANDS)

Reply = tuple[int, dict[str, str], Any]  # status, headers, and text or what becomes JSON


class Backend:
    """Answers as `answer` says, by method, path and records. `asked`: what came, like `GET /getUserFavorites`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.stored: dict[str, Any] = {}
        self.answer: Callable[[str, str, Any], Reply] = self.plain
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                records = json.loads(self.rfile.read(length)) if length else None
                backend.asked.append(f"{self.command} {self.path}")
                status, headers, content = backend.answer(self.command, self.path, records)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write((content if isinstance(content, str) else json.dumps(content)).encode())

            do_POST = do_GET  # noqa: N815 -- the name that http.server calls

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def plain(self, _method: str, path: str, records: Any) -> Reply:
        """A page at `/`, and the whole list to whoever reads or writes."""
        if path == "/":
            return 200, {}, "<html>Welcome</html>"
        self.stored |= {one["item"]: one for one in records or []}
        return 200, {}, list(self.stored.values())


@pytest.fixture
def backend() -> Iterator[Backend]:
    made = Backend()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@languages
@pytest.mark.parametrize(
    "page",
    [
        (200, "<html>Welcome</html>"), (200, []), (200, {"limits": None}), (200, {"limits": {"maxBatch": "5"}}),
        (200, {"limits": {"maxBatch": 0}}), (200, {"limits": {"maxBatch": 2.5}}), (401, {}), (404, "no"), (503, "no"),
    ],
)  # fmt: skip
def test_whatever_stands_at_the_root_it_syncs(
    language: str, page: tuple[int, Any], backend: Backend, tmp_path: Path
) -> None:
    phone = Phone(language, backend.url, tmp_path)
    backend.answer = lambda *request: (page[0], {}, page[1]) if request[1] == "/" else backend.plain(*request)
    for item in ("a", "b"):
        phone.run("ann", TOKEN, "tap", item, "ADD")
    phone.run("ann", TOKEN, "sync")
    assert backend.asked == ["GET /", f"GET {LIST}", f"POST {POST}"]
    assert phone.listing("ann") == {"records": list(backend.stored.values()), "waiting": 0, "refused": {}}


@languages
@pytest.mark.parametrize(
    "forms",
    [
        (OLD, f"{OLD}.000Z"), (f"{OLD}.5", f"{OLD}.500Z"), (f"{OLD}.1234Z", f"{OLD}.123400Z"),
        (f"{OLD}.12345+01:00", "2019-12-31T23:00:00.123450Z"), (f"{OLD}.1234567z", f"{OLD}.123456Z"),
    ],
)  # fmt: skip
def test_any_date_of_the_protocol_is_read(
    language: str, forms: tuple[str, str], backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    date, told = forms
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    phone = Phone(language, backend.url, tmp_path)
    backend.stored["a"] = {"item": "a", "actionDate": date, "action": "ADD"}
    phone.run("ann", TOKEN, "sync")
    assert phone.listing("ann")["records"] == [{"item": "a", "actionDate": told, "action": "ADD"}]


@languages
def test_a_date_that_is_none_ends_the_round_with_a_sentence(language: str, backend: Backend, tmp_path: Path) -> None:
    phone = Phone(language, backend.url, tmp_path)
    backend.stored["a"] = {"item": "a", "actionDate": "yesterday", "action": "ADD"}
    complaint = "the service answered a date that is none: yesterday\n"
    assert phone.attempt("ann", TOKEN, "sync") == (1, "", complaint)
    assert phone.listing("ann")["records"] == []


@languages
@pytest.mark.parametrize("keeps", [True, False])
def test_what_the_answer_does_not_hold_is_not_settled_by_it(
    language: str, keeps: bool, backend: Backend, tmp_path: Path
) -> None:
    def answer(method: str, path: str, records: Any) -> Reply:
        if method == "GET":
            return backend.plain(method, path, None)
        if keeps:
            backend.plain(method, path, records)
        return 200, {}, []

    phone = Phone(language, backend.url, tmp_path)
    backend.answer = answer
    phone.run("ann", TOKEN, "tap", "a", "ADD")
    phone.run("ann", TOKEN, "sync")
    once = [f"POST {POST}", f"GET {LIST}"]
    assert backend.asked == ["GET /", f"GET {LIST}", *once, *([] if keeps else once)]
    listing = phone.listing("ann")
    assert [one["item"] for one in listing["records"]] == ["a"]
    assert listing["waiting"] == (0 if keeps else 1)


@languages
def test_a_receipt_may_have_no_detail(language: str, backend: Backend, tmp_path: Path) -> None:
    def answer(method: str, path: str, records: Any) -> Reply:
        if method == "GET":
            return backend.plain(method, path, None)
        outcome = {"outcome": "invalid", "action": None, "actionDate": None}
        return 200, {}, {"receipts": [{"item": one["item"]} | outcome for one in records]}

    phone = Phone(language, backend.url, tmp_path)
    backend.answer = answer
    phone.run("ann", TOKEN, "tap", "a", "ADD")
    phone.run("ann", TOKEN, "sync")
    assert phone.listing("ann") == {"records": [], "waiting": 0, "refused": {"a": "invalid"}}


@languages
def test_receipts_that_nobody_asked_for_end_the_round(language: str, backend: Backend, tmp_path: Path) -> None:
    backend.answer = lambda *_: (200, {}, {"receipts": []})
    status, _, complaint = Phone(language, backend.url, tmp_path).attempt("ann", TOKEN, "sync")
    assert (status, complaint.strip()) == (1, "the service answered 200.")


@pytest.mark.parametrize(("wait_s", "racing"), [(10.5, False), (0.1, True)])
def test_a_long_request_and_a_clock_that_was_set_meanwhile_teach_nothing(
    wait_s: float, *, racing: bool, backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def answer(method: str, path: str, records: Any) -> Reply:
        if path != "/":
            return backend.plain(method, path, records)
        time.sleep(wait_s)
        return 200, {"Sync-Time": tomorrow}, {}

    backend.answer = answer
    phones = [Phone(language, backend.url, tmp_path / language) for language in COMMANDS]
    taps = [phone.run("ann", TOKEN, "tap", phone.language, "ADD").strip() for phone in phones]
    if racing:
        (tmp_path / "sitecustomize.py").write_text(RACING["Python"])
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("NODE_OPTIONS", f"--import=data:text/javascript,{quote(RACING['TypeScript'])}")
    rounds = [phone.start("ann", TOKEN, "sync") for phone in phones]
    for one in rounds:
        _, complaint = one.communicate(timeout=60)
        assert (one.returncode, complaint) == (0, "")
    for phone, tap in zip(phones, taps, strict=True):
        assert {"item": phone.language, "actionDate": tap, "action": "ADD"} in phone.listing("ann")["records"]


@languages
@pytest.mark.parametrize("form", ["list", "receipts"])
def test_an_answer_from_before_a_restore_settles_nothing(
    language: str, form: str, backend: Backend, tmp_path: Path
) -> None:
    sent, late = threading.Event(), threading.Event()

    def before(method: str, _path: str, records: Any) -> Reply:
        if method == "GET":
            return 200, {"Sync-Cursor": "1"}, []
        sent.set()
        assert late.wait(60)
        receipts = {"receipts": [one | {"outcome": "applied"} for one in records]}
        return 200, {"Sync-Cursor": "2"}, records if form == "list" else receipts

    phone = Phone(language, backend.url, tmp_path)
    backend.answer = before
    phone.run("ann", TOKEN, "sync")
    phone.run("ann", TOKEN, "tap", "a", "ADD")
    one = phone.start("ann", TOKEN, "sync")
    assert sent.wait(60)
    backend.answer = lambda _, path, __: (410 if "after" in path else 400, {}, {"detail": "restored"})
    assert phone.attempt("ann", TOKEN, "sync") == (1, "", "the service answered 400. restored\n")
    backend.answer = backend.plain
    late.set()
    _, complaint = one.communicate(timeout=60)
    assert (one.returncode, complaint) == (0, "")
    assert set(backend.stored) == {"a"}
    assert phone.listing("ann") == {"records": list(backend.stored.values()), "waiting": 0, "refused": {}}
