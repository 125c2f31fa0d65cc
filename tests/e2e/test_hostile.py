"""Slow, oversized, half-open and malformed clients, over raw sockets, against the real service."""

import asyncio
import contextlib
import gzip
import json
import re
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.e2e.service import Service, token
from tests.postgres import Server

HOST = b"Host: x\r\n"
ALIVE = b"GET /healthz HTTP/1.1\r\n" + HOST
POST = b"POST /postUserFavorites HTTP/1.1\r\n" + HOST
END = b"\r\n"
HEAD_S, BODY_S, IDLE_S = 1.0, 1.5, 2.0
LATE_S = 5.0  # how much later than that a busy machine may be


def bearer(user: str = "ann") -> bytes:
    return f"Authorization: Bearer {token(user)}\r\n".encode()


@pytest.fixture(scope="module")
def service(postgres: Server) -> Iterator[Service]:
    name = asyncio.run(postgres.create_database())
    with Service(
        database_url=postgres.dsn(name),
        head_timeout=f"{HEAD_S}s", body_timeout=f"{BODY_S}s", keepalive_timeout=f"{IDLE_S}s",
    ) as started:  # fmt: skip
        yield started
    asyncio.run(postgres.drop_database(name))


def connect(service: Service) -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def converse(service: Service, *parts: bytes, half_close: bool = False) -> tuple[list[int], bytes, float]:
    """What is answered to the parts, sent one by one: statuses, all of it, and after how long the service closed."""
    began, answer = time.monotonic(), b""
    with connect(service) as client:
        try:
            for number, part in enumerate(parts):
                if number:
                    time.sleep(0.05)
                client.sendall(part)
            if half_close:
                client.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass
        try:
            while part := client.recv(65536):
                answer += part
        except ConnectionError:
            pass
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.\d (\d{3}) ", answer)]
    return statuses, answer, time.monotonic() - began


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return POST + bearer() + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n" + trailers + END


def with_body(*fields: bytes, body: bytes = b"[]") -> bytes:
    return POST + bearer() + b"".join(field + END for field in fields) + END + body


CLOSE = b"Connection: close\r\n"

# What is sent, and the statuses of all answers. Of what is refused here, the service closes the connection.
MALFORMED = {
    "a length, and chunks": (with_body(b"Content-Length: 2", b"Transfer-Encoding: chunked"), 400),
    "chunks, and a length": (with_body(b"Transfer-Encoding: chunked", b"Content-Length: 2"), 400),
    "two lengths": (with_body(b"Content-Length: 2", b"Content-Length: 3"), 400),
    "two lengths, both the same": (with_body(b"Content-Length: 2", b"Content-Length: 2"), 400),
    "a list of lengths": (with_body(b"Content-Length: 2, 2"), 400),
    "a length with a sign": (with_body(b"Content-Length: +2"), 400),
    "a length below nothing": (with_body(b"Content-Length: -2"), 400),
    "a length in hexadecimal": (with_body(b"Content-Length: 0x2"), 400),
    "a length with an underscore": (with_body(b"Content-Length: 2_0"), 400),
    "a length of 23 digits": (with_body(b"Content-Length: 99999999999999999999999"), 400),
    "a coding after chunked": (with_body(b"Transfer-Encoding: chunked, gzip"), 400),
    "nearly chunked": (with_body(b"Transfer-Encoding: xchunked"), 400),
    "chunked after a vertical tab": (with_body(b"Transfer-Encoding: \x0bchunked"), 400),
    "identity": (with_body(b"Transfer-Encoding: identity"), 400),
    "chunked twice": (with_body(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
    "a space before the colon": (with_body(b"Content-Length : 2"), 400),
    "a space before the other colon": (with_body(b"Transfer-Encoding : chunked"), 400),
    "a folded field": (ALIVE + b"X: a\r\n b\r\n\r\n", 400),
    "a folded first field": (b"GET /healthz HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "bare LF": (b"GET /healthz HTTP/1.1\nHost: x\n\n", 400),
    "one bare LF": (ALIVE + b"X: a\nY: b\r\n\r\n", 400),
    "one bare CR": (ALIVE + b"X: a\rY: b\r\n\r\n", 400),
    "a NUL": (ALIVE + b"X: a\0b\r\n\r\n", 400),
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    "two hosts": (ALIVE + b"Host: y\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/1.2": (b"GET /healthz HTTP/1.2\r\nHost: x\r\n\r\n", 400),
    "tabs in the first line": (b"GET\t/healthz\tHTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a chunk that is no chunk": (with_body(b"Transfer-Encoding: chunked", body=b"zz\r\n"), 400),
    "a chunk below nothing": (with_body(b"Transfer-Encoding: chunked", body=b"-2\r\n[]\r\n0\r\n\r\n"), 400),
    "a chunk with 0x": (with_body(b"Transfer-Encoding: chunked", body=b"0x2\r\n[]\r\n0\r\n\r\n"), 400),
    "a chunk of 17 digits": (with_body(b"Transfer-Encoding: chunked", body=b"fffffffffffffffff\r\n"), 400),
    "a chunk that goes on": (with_body(b"Transfer-Encoding: chunked", body=b"2\r\n[]]\r\n0\r\n\r\n"), 400),
    "chunks with bare LF": (with_body(b"Transfer-Encoding: chunked", body=b"2\n[]\n0\n\n"), 400),
    "an extension that ends in bare LF": (with_body(b"Transfer-Encoding: chunked", body=b"2;a\n[]\r\n0\r\n\r\n"), 400),
    "a length after the chunks": (chunked(b"[]", trailers=b"Content-Length: 9\r\n"), 400),
    "a first line of 9 kB": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + END, 414),
    "a field of 40 kB": (ALIVE + b"X: " + b"a" * 40_000 + END + END, 431),
    "a head of 70 kB": (ALIVE + (b"X: " + b"a" * 7000 + END) * 10 + END, 431),
    "a head of 70 kB without end": (ALIVE + (b"X: " + b"a" * 7000 + END) * 10, 431),
    "150 fields": (ALIVE + b"X: 1\r\n" * 150 + END, 400),
}

# What is unusual, and has an answer all the same.
UNUSUAL = {
    "100 fields": ([ALIVE + b"X: 1\r\n" * 95 + CLOSE + END], [200]),
    "lines before the first": ([b"\r\n\r\n" + ALIVE + CLOSE + END], [200]),
    "HTTP/1.0 without a host": ([b"GET /healthz HTTP/1.0\r\n\r\n"], [200]),
    "an absolute URL": ([b"GET http://y/healthz HTTP/1.1\r\n" + HOST + CLOSE + END], [200]),
    "an upgrade that is declined": (
        [ALIVE + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n" + ALIVE + CLOSE + END],
        [200, 200],
    ),
    "a body where none belongs": ([ALIVE + b"Content-Length: 5\r\n\r\nhello" + ALIVE + CLOSE + END], [200, 200]),
    "100 requests at once": ([(ALIVE + END) * 99 + ALIVE + CLOSE + END], [200] * 100),
    "chunks with extensions and trailers": (
        [
            with_body(b"Transfer-Encoding: chunked", body=b'2;a=b;c="d"\r\n[]\r\n0\r\nX: y\r\n\r\n'),
            ALIVE + CLOSE + END,
        ],
        [200, 200],
    ),
    "10,000 chunks of a byte": ([chunked(*[b" "] * 10_000, b"[]"), ALIVE + CLOSE + END], [200, 200]),
    "another coding beneath the chunks": ([with_body(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n")], [415]),
    "chunks in HTTP/1.0": (
        [with_body(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n").replace(b"/1.1", b"/1.0") + ALIVE + END],
        [400],  # an empty body; and what follows is not read
    ),
    "a length beyond all bounds": ([with_body(b"Content-Length: 9223372036854775807")], [413]),
    "an expectation, met": ([with_body(b"Expect: 100-continue", b"Content-Length: 2", body=b""), b"[]"], [100, 200]),
    "an expectation that waits for nobody": ([with_body(b"Expect: 100-continue", b"Content-Length: 2")], [200]),
    "an expectation of what is too large": ([with_body(b"Expect: 100-continue", b"Content-Length: 9999999")], [413]),
    "an expectation without a token": ([POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"], [401]),
    "an expectation nowhere": (
        [b"POST /nothing HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n" + HOST + END],
        [404],
    ),
    "an expectation at another door": (
        [b"PUT /healthz HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n" + HOST + END],
        [405],
    ),
    "an unknown expectation": ([b"GET /nothing HTTP/1.1\r\nExpect: wonders\r\n" + HOST + CLOSE + END], [404]),
}


def test_what_is_malformed_is_refused_and_ends_the_connection(service: Service) -> None:
    for name, (sent, expected) in MALFORMED.items():
        # Whatever comes behind it, in the same breath or later, is never taken for a request.
        for parts in ([sent], [sent, b"X: 1\r\n\r\n" + ALIVE + END], [sent[: len(sent) // 2], sent[len(sent) // 2 :]]):
            statuses, answer, took_s = converse(service, *parts)
            assert statuses == [expected], (name, answer)
            assert b"application/problem+json" in answer, name
            assert took_s < LATE_S, name


def test_what_is_unusual_is_answered_and_the_connection_stays_in_step(service: Service) -> None:
    for name, (parts, expected) in UNUSUAL.items():
        statuses, answer, _took_s = converse(service, *parts)
        assert statuses == expected, (name, answer)


def test_a_client_that_has_nothing_more_to_say_gets_its_answer(service: Service) -> None:
    for parts, expected in (
        ([ALIVE + END], [200]),
        ([(ALIVE + END) * 50], [200] * 50),
        ([b"GET /getUserFavorites HTTP/1.1\r\n" + HOST + bearer() + END], [200]),
        ([with_body(b"Content-Length: 2")], [200]),
        ([with_body(b"Content-Length: 3")], []),
        ([ALIVE], []),
        ([], []),
    ):
        statuses, answer, took_s = converse(service, *parts, half_close=True)
        assert statuses == expected, answer
        assert took_s < min(HEAD_S, IDLE_S), parts


async def _slowly(service: Service, first: bytes, then: bytes) -> tuple[bytes, float]:
    """Sends `first`, and then again and again a little of `then`: what came back, and after how long it was over."""
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    began, answer = time.monotonic(), b""
    writer.write(first)

    async def drip() -> None:
        for at in range(len(then)):
            await asyncio.sleep(0.1)
            writer.write(then[at : at + 1])

    dripping = asyncio.create_task(drip())
    with contextlib.suppress(ConnectionError):  # what comes before a byte too many is answered by a reset counts
        async with asyncio.timeout(30):
            while part := await reader.read(2**16):
                answer += part
    dripping.cancel()
    writer.close()
    return answer, time.monotonic() - began


async def test_whoever_is_slow_is_told_so_and_let_go(service: Service) -> None:
    late = b"Transfer-Encoding: chunked\r\n\r\n"
    cases = {
        "nothing": (b"", b"", HEAD_S, []),
        "a head, byte by byte": (b"", ALIVE * 10, HEAD_S, [408]),
        "a second head, byte by byte": (ALIVE + END, ALIVE * 10, HEAD_S, [200, 408]),
        "nothing more": (ALIVE + END, b"", IDLE_S, [200]),
        "a body, byte by byte": (with_body(b"Content-Length: 500", body=b""), b" " * 500, BODY_S, [408]),
        "a body in chunks": (POST + bearer() + late, b"1\r\n \r\n" * 50, BODY_S, [408]),
        "an extension without end": (POST + bearer() + late + b"1;", b"a" * 500, BODY_S, [408]),
        "trailers without end": (POST + bearer() + late + b"2\r\n[]\r\n0\r\n", b"X: y\r\n" * 50, BODY_S, [408]),
        "a body that nobody reads": (POST + b"Content-Length: 500\r\n\r\n", b" " * 500, 0.0, [401]),
    }
    found = await asyncio.gather(*(_slowly(service, first, then) for first, then, _, _ in cases.values()))
    for (name, (_, _, least_s, expected)), (answer, took_s) in zip(cases.items(), found, strict=True):
        statuses = [int(status) for status in re.findall(rb"HTTP/1\.\d (\d{3}) ", answer)]
        assert statuses == expected, (name, answer)
        assert least_s * 0.9 <= took_s <= least_s + 5.0 + LATE_S, (name, took_s)
        if 408 in expected:
            assert b"/problems/request-timeout" in answer, name
            assert answer.startswith(b"HTTP/1.0") or b"Connection: close" in answer or 200 in expected, name


def test_bodies_that_are_bombs_are_refused_at_once(service: Service) -> None:
    mib = 2**20
    half = b'["\\ud800",'  # sends orjson home, and the body to the slower parser
    bombs = {
        "deep": (b"[" * mib, 400),
        "deep objects": (b'{"a":' * (mib // 5), 400),
        "deep, with half a pair": (half + b"[" * (mib - 20), 400),
        "digits": (b"[" + b"9" * (mib - 2) + b"]", 400),
        "an exponent": (b"1e" + b"9" * (mib - 2), 400),
        "many long numbers": (b"[" + b",".join([b"9" * 4299] * 240) + b"]", 400),
        "a long string": (b'["' + b"a" * (mib - 4) + b'"]', 422),
        "many values, broken off": (b"[" + b"{}," * (mib // 3 - 2) + b"x", 400),
        "many values, with half a pair": (half + b"{}," * (mib // 3 - 20) + b"0]", 422),
        "many keys": (b"[{" + b",".join(b'"%x":0' % key for key in range(90_000)) + b"}]", 422),
        "one key, many times": (b"[{" + b",".join([b'"item":0'] * 90_000) + b"}]", 422),
        "a thousand lists": (b"[" + b",".join([b"[" * 500 + b"]" * 500] * 1000) + b"]", 422),
        "blanks": (b" " * mib, 400),
        "not text": (b"\xff" * mib, 400),
    }
    packed = {
        "a bomb": (gzip.compress(b"[" * (200 * mib)), 413),
        "a bomb in a bomb": (gzip.compress(gzip.compress(b"[" * (200 * mib))), 400),
        "cut off": (gzip.compress(b"[]" * 1000)[:-4], 400),
        "two in one": (gzip.compress(b"[]") * 2, 400),
    }
    for name, (body, expected) in (bombs | packed).items():
        coding = b"Content-Encoding: gzip" if name in packed else b"X: y"
        began = time.monotonic()
        statuses, answer, _ = converse(
            service, with_body(CLOSE[:-2], coding, b"Content-Length: %d" % len(body), body=body)
        )
        took_s = time.monotonic() - began
        print(f"{name}: {took_s * 1000:.0f} ms")  # noqa: T201
        assert statuses == [expected], (name, answer[-300:])
        assert took_s < LATE_S, name
    content_type = b'Content-Type: application/json; x="' + b";" * 30_000  # read naively, half a second each
    began = time.monotonic()
    statuses, answer, _ = converse(service, with_body(content_type, b"Content-Length: 2") + ALIVE + CLOSE + END)
    assert statuses == [415, 200], answer
    print(f"a content type: {(time.monotonic() - began) * 1000:.0f} ms")  # noqa: T201


def rss_mib(service: Service) -> float:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(re.findall(r"^VmRSS:\s+(\d+)", status, re.MULTILINE)[0]) / 1024


def files(service: Service) -> int:
    return len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))


class Honest(threading.Thread):
    """Asks on and on, on a new connection each time, and notes how long the answers took."""

    def __init__(self, service: Service) -> None:
        super().__init__(daemon=True)
        self._service = service
        self.took_s: list[float] = []
        self.failures: list[str] = []
        self.files_max = 0
        self.rss_max_mib = 0.0
        self.stopping = False

    def run(self) -> None:
        record = {"item": "session_1", "actionDate": "2020-01-01T00:00:00Z", "action": "ADD"}
        while not self.stopping:
            began = time.monotonic()
            try:
                answer = self._service.request("POST", "/postUserFavorites", [record], user="honest", timeout_s=30)
                if answer.status != 200:
                    self.failures.append(str(answer))
            except OSError as error:
                self.failures.append(repr(error))
            self.took_s.append(time.monotonic() - began)
            self.files_max = max(self.files_max, files(self._service))
            self.rss_max_mib = max(self.rss_max_mib, rss_mib(self._service))
            time.sleep(0.02)

    def stop(self, name: str) -> None:
        self.stopping = True
        self.join(60)
        median_s = sorted(self.took_s)[len(self.took_s) // 2]
        print(  # noqa: T201
            f"{name}: {len(self.took_s)} honest requests, median {median_s * 1000:.0f} ms, "
            f"slowest {max(self.took_s) * 1000:.0f} ms; at most {self.files_max} files, {self.rss_max_mib:.0f} MiB"
        )
        assert self.failures == []
        assert max(self.took_s) < 15.0


@pytest.fixture
def many_files() -> Iterator[int]:
    """As many files as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = hard if 0 <= hard < 20_000 else 20_000
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    yield raised
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_flood_of_half_open_connections_locks_nobody_out(dsn: str, many_files: int) -> None:
    file_limit = 700
    with Service(database_url=dsn, file_limit=file_limit) as service:
        [allowed] = [json.loads(line) for line in service.lines if "for want of files" in line]
        assert allowed["max_connections"] < file_limit == allowed["file_limit"]
        assert service.request("GET", "/").content["limits"]["maxConnections"] == allowed["max_connections"]
        files_before, rss_before_mib = files(service), rss_mib(service)
        honest = Honest(service)
        honest.start()
        began = time.monotonic()
        with contextlib.ExitStack() as held:
            for number in range(10_000):
                if number % (many_files - 500) == many_files - 501:
                    held.close()
                half = held.enter_context(connect(service))
                half.sendall([b"GET / HT", ALIVE, with_body(b"Content-Length: 9", body=b""), ALIVE + END][number % 4])
            print(f"{10_000 / (time.monotonic() - began):.0f} connections a second")  # noqa: T201
            honest.stop("flood")
            assert honest.files_max <= file_limit
            assert honest.rss_max_mib < rss_before_mib + 200
            assert files(service) >= allowed["max_connections"]  # they are still there, as many as may be
        deadline = time.monotonic() + 30
        while files(service) > files_before + 5:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert service.request("POST", "/postUserFavorites", []).status == 200
        assert any("connections were ended to make room" in line for line in service.lines)
        assert not any('"level": "error"' in line or "Traceback" in line for line in service.lines)


def test_too_few_files_for_any_connection_is_said_in_a_sentence(dsn: str) -> None:
    service = Service(database_url=dsn, file_limit=200)
    service.start(until=None)
    assert service.process.wait(30) == 1
    service.reader.join(10)
    assert service.lines[-1] == "favsync: the file limit (ulimit -n) is 200; it must be above 266"


def test_answers_that_nobody_reads_do_not_fill_the_memory(dsn: str) -> None:
    with Service(database_url=dsn, keepalive_timeout="5s") as service:
        for start in range(0, 10_000, 250):  # 10 MiB for one user, the most there may be
            records = [
                {"item": f"{item:05}" + "\U0001f600" * 250, "actionDate": "2020-01-01T00:00:00Z", "action": "ADD"}
                for item in range(start, start + 250)
            ]
            assert service.request("POST", "/postUserFavorites", records).status == 200
        files_before, rss_before_mib = files(service), rss_mib(service)
        honest = Honest(service)
        honest.start()
        with contextlib.ExitStack() as held:
            for number in range(66):
                client = held.enter_context(connect(service))
                if number % 10:
                    client.sendall(b"GET /getUserFavorites HTTP/1.1\r\n" + HOST + bearer() + END)
                    client.recv(1)
                else:
                    client.settimeout(0.2)
                    with contextlib.suppress(TimeoutError):
                        client.sendall((ALIVE + END) * 100_000)
            honest.stop("never read")
            print(f"from {rss_before_mib:.0f} MiB")  # noqa: T201
            assert honest.rss_max_mib < rss_before_mib + 700  # 256 MiB, and lists in the making
            deadline = time.monotonic() + 120
            while files(service) > files_before + 5:  # all are let go, though they close nothing
                assert time.monotonic() < deadline
                time.sleep(0.5)
        assert service.request("GET", "/healthz").status == 200
        assert not any('"level": "error"' in line or "Traceback" in line for line in service.lines)


def test_heads_and_bodies_without_end_do_not_fill_the_memory(service: Service) -> None:
    rss_before_mib = rss_mib(service)
    honest = Honest(service)
    honest.start()
    late = b"Transfer-Encoding: chunked\r\n\r\n"
    floods = (
        (ALIVE, b"X: " + b"a" * 20_000 + END),
        (POST + late, b"1\r\n \r\n" * 20_000),
        (POST + bearer() + late, b"1\r\n \r\n" * 20_000),
        (POST + bearer() + late + b"1;", b"a" * 100_000),
        (POST + bearer() + late + b"2\r\n[]\r\n0\r\n", b"X: " + b"a" * 20_000 + END),
        (POST + b"Content-Length: 1000000000\r\n\r\n", b"a" * 100_000),
        ((ALIVE + END) * 100, b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"a" * 100_000),
    )

    def pour(first: bytes, then: bytes) -> None:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            with connect(service) as client, contextlib.suppress(OSError):
                client.settimeout(1)
                client.sendall(first)
                for _ in range(500):
                    client.sendall(then)

    pouring = [threading.Thread(target=pour, args=flood) for flood in floods for _ in range(5)]
    for thread in pouring:
        thread.start()
    for thread in pouring:
        thread.join()
    honest.stop("without end")
    assert honest.rss_max_mib < rss_before_mib + 200
    assert service.request("GET", "/healthz").status == 200
    assert not any('"level": "error"' in line or "Traceback" in line for line in service.lines)


def test_work_under_way_keeps_its_place_and_the_newcomer_has_none(dsn: str) -> None:
    record = {"item": "session_1", "actionDate": "2020-01-01T00:00:00Z", "action": "ADD"}
    with Service(database_url=dsn, max_connections=2) as service:
        assert service.request("POST", "/postUserFavorites", [record]).status == 200
        idle = [connect(service), connect(service)]

        async def blocked() -> list[int]:
            blocker = await asyncpg.connect(dsn)
            async with blocker.transaction():
                await blocker.execute("SELECT FROM streams FOR UPDATE")
                newer = record | {"actionDate": "2021-01-01T00:00:00Z"}
                ask = [asyncio.to_thread(service.request, "POST", "/postUserFavorites", [newer]) for _ in range(2)]
                asking = asyncio.gather(*ask)
                await asyncio.sleep(1)
                with connect(service) as newcomer:
                    assert await asyncio.to_thread(newcomer.recv, 1) == b""
            statuses = [answer.status for answer in await asking]
            await blocker.close()
            return statuses

        assert asyncio.run(blocked()) == [200, 200]
        for client in idle:
            assert client.recv(1) == b""  # it made room
            client.close()
        assert service.request("POST", "/postUserFavorites", [record]).status == 200
