"""TLS by nginx and by Caddy, with the files of deploy/, in front of the real service."""

import contextlib
import http.client
import http.server
import json
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from favsync.settings import Settings
from tests.deploy.proxies import KINDS, Proxy
from tests.deploy.tap import Tap
from tests.e2e.service import Service, token

RECORD = {"item": "a", "actionDate": "2020-01-01T00:00:00.000Z", "action": "ADD"}
SPOOFED = "6.6.6.6"
Start = Callable[[int], Proxy]


@pytest.fixture(params=list(KINDS))
def start(request: pytest.FixtureRequest, session_dir: Path) -> Iterator[Start]:
    """Starts the proxy in front of a port of 127.0.0.1."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(dir=session_dir))
        folder.chmod(0o755)  # nginx gives up its rights
        stack.callback(shutil.rmtree, folder, ignore_errors=True)

        def start(upstream: int) -> Proxy:
            proxy = Proxy(request.param, folder, upstream)
            stack.callback(proxy.stop)
            return proxy

        yield start


@pytest.fixture(scope="module")
def service(session_dir: Path) -> Iterator[Service]:
    with Service(data_dir=session_dir / "behind-proxies") as service:
        yield service


def _ask(
    proxy: Proxy, method: str, path: str, body: bytes | None = None, headers: list[tuple[str, str]] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPSConnection("127.0.0.1", proxy.port, context=proxy.certificate.trusted, timeout=20)
    with contextlib.closing(connection):
        connection.putrequest(method, path)
        for name, value in headers or [("Authorization", f"Bearer {token('ann')}")]:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def test_it_passes_on_what_is_true_and_keeps_back_what_is_claimed(start: Start, service: Service) -> None:
    claims = [
        ("X-User-Id", "root"), ("x-user-id", "root"), ("X-Forwarded-For", SPOOFED), ("X-Forwarded-For", SPOOFED),
        ("X-Real-IP", SPOOFED), ("Forwarded", f"for={SPOOFED}"),
    ]  # fmt: skip
    known = [("Authorization", f"Bearer {token('ann')}"), ("X-Request-ID", "my-own"), *claims]
    with Tap(("127.0.0.1", urlsplit(service.url).port or 0)) as tap:
        proxy = start(tap.port)
        status, headers, content = _ask(proxy, "POST", "/postUserFavorites", json.dumps([RECORD]).encode(), known)
        assert (status, headers["X-Request-ID"]) == (200, "my-own")
        assert json.loads(content)["receipts"][0]["action"] == "ADD"
        status, headers, content = _ask(proxy, "GET", "/getUserFavorites")
        assert (status, json.loads(content)) == (200, [RECORD])
        assert _ask(proxy, "GET", "/metrics")[0] == 404
        [heard] = [bytes(connection) for connection in tap.heard]  # one connection, kept for both
    assert SPOOFED.encode() not in heard
    assert b"x-user-id" not in heard.lower()
    assert re.findall(rb"(?i)x-forwarded-for: ?(.*)\r\n", heard) == [b"127.0.0.1", b"127.0.0.1"]
    sent_ids = re.findall(rb"(?i)x-request-id: ?(.*)\r\n", heard)
    assert sent_ids == [b"my-own", headers["X-Request-ID"].encode()]


def test_its_limits_are_those_of_the_service(start: Start, service: Service) -> None:
    with Tap(("127.0.0.1", urlsplit(service.url).port or 0)) as tap:
        proxy = start(tap.port)
        most = Settings(data_dir=Path("unused")).max_body
        assert _ask(proxy, "POST", "/postUserFavorites", b"[]".ljust(most))[0] == 200
        assert _ask(proxy, "GET", "/getUserFavorites", headers=[("Authorization", "Bearer " + "a" * 8192)])[0] == 401
        passed_on = sum(map(len, tap.heard))
        assert _ask(proxy, "POST", "/postUserFavorites", b"[]".ljust(3 * most))[0] == 413
        assert sum(map(len, tap.heard)) - passed_on < 2 * most


class _Stream(http.server.BaseHTTPRequestHandler):
    """One event, and the end only when `over` is set."""

    over: threading.Event

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: 1\n\n")
        self.over.wait(20)

    def log_message(self, *args: Any) -> None:
        pass


def test_an_event_arrives_while_the_stream_goes_on(start: Start) -> None:
    over = threading.Event()
    handler = type("Stream", (_Stream,), {"over": over})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as upstream:
        threading.Thread(target=upstream.serve_forever, daemon=True).start()
        proxy = start(upstream.server_port)
        connection = http.client.HTTPSConnection("127.0.0.1", proxy.port, context=proxy.certificate.trusted, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/feed")
            response = connection.getresponse()
            assert response.readline() == b"data: 1\n"
            assert not over.is_set()
            over.set()
        upstream.shutdown()
