"""examples/device/live.ts: what one device does is on another at once, over cuts, kills, and tokens that end."""

import asyncio
import base64
import json
import os
import queue
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from selenium import webdriver

from favsync.core import timestamp
from favsync.http.auth import issue
from tests.e2e import test_docs_page
from tests.e2e.device_program import EXAMPLES, NODE, Phone
from tests.e2e.faulty_proxy import HOP_BY_HOP, FaultyProxy
from tests.e2e.service import SECRET, Service, token
from tests.postgres import Server

SEED = int(os.environ.get("TEST_LIVE_SEED", "20170502"))
PATIENCE_S = 60
LOOK_S = 0.05
LIVE = EXAMPLES / "device" / "live.ts"
EVENTS = "text/event-stream"
GET, POST = "/getUserFavorites", "/postUserFavorites"
ITEMS = ["session_1", "session_2", "é", "\U0001f600", "a: b", "\u2028", *(f"session_{n}" for n in range(3, 20))]
# Follows with the tokens it is given, one after the other, and says what it is told.
FOLLOWER = """
  const [live, url, silentMs, tokens] = process.argv.slice(1);
  const { follow } = await import(live);
  const [left, stop] = [JSON.parse(tokens), new AbortController()];
  const tell = (what) => console.log(JSON.stringify(what));
  let stored = null;
  process.once("SIGTERM", () => stop.abort());
  await follow(url, {
    token: (refused) => (tell({ refused }), left.length > 1 ? left.shift() : left[0]),
    cursor: () => stored,
    store: (changes, cursor, after) => (tell({ changes, after }), stored = cursor, true),
    beginAgain: () => (tell({ begun: stored }), stored = null),
  }, stop.signal, Number(silentMs)).catch((error) => { console.error(error.message); process.exitCode = 1; });
"""
# Prints the first stream that gives something else when it is cut up than as a whole; then what each whole one gives.
PARSING = """
  const [live, cases, seed] = process.argv.slice(1);
  const { Parser } = await import(live);
  let state = Number(seed);
  const below = (end) => (state = (state * 48271) % 2147483647) % end;
  const parse = (parts) => { const parser = new Parser(); return parts.flatMap((part) => parser.push(part)); };
  const all = JSON.parse(cases).map((one) => Buffer.from(one, "base64"));
  const pieces = ["data:", "data", "id: ", "id", "event: x", ":", " ", "é\\u{1f600}", "\\ufeff"];
  pieces.push("\\r", "\\n", "\\r\\n", "\\n\\n");
  for (let n = 0; n < 300; n += 1)
    all.push(Buffer.from(Array.from({ length: 24 }, () => pieces[below(pieces.length)]).join("")));
  for (const bytes of all) {
    const [whole, cuts] = [JSON.stringify(parse([bytes])), [[...bytes.keys()].map((at) => bytes.subarray(at, at + 1))]];
    for (let at = 0; at <= bytes.length; at += 1) {
      const second = at + below(bytes.length - at + 1);
      cuts.push([bytes.subarray(0, at), bytes.subarray(at)]);
      cuts.push([bytes.subarray(0, at), bytes.subarray(at, second), bytes.subarray(second)]);
    }
    const wrong = cuts.find((parts) => JSON.stringify(parse(parts)) !== whole);
    if (wrong) throw new Error(`${wrong.map((one) => one.toString("hex"))} do not give ${whole}`);
    console.log(whole);
  }
"""
# A page that goes on from what there was, writes when its stream is open, and ends it when it has seen enough.
PAGE = """
  const [url, token, done] = arguments;
  const headers = { Authorization: "Bearer " + token };
  const write = (item) => fetch(url + "/postUserFavorites", {
    method: "POST", headers: { ...headers, "Content-Type": "application/json" },
    body: JSON.stringify([{ item, actionDate: "2020-01-01T00:00:00.000Z", action: "ADD" }]),
  });
  const [stop, seen] = [new AbortController(), []];
  const begin = await fetch(url + "/getUserFavorites", { headers });
  let stored = begin.headers.get("Sync-Cursor");
  await write("a");
  await follow(url + "/sync/favorites", {
    token: () => token,
    cursor: () => stored,
    store: async (changes, cursor) => {
      seen.push(...changes);
      stored = cursor;
      if (seen.length === 1) await write("b");
      else stop.abort();
      return true;
    },
    beginAgain: () => { throw new Error("there is nothing to begin again"); },
  }, stop.signal);
  done(seen);
"""


class Fate(NamedTuple):
    """What becomes of a stream on its way: passed on up to `bytes_max`, then cut, or silent; or another answer."""

    bytes_max: int | None = None
    silent: bool = False
    status: int = 0  # 0: as the service answers
    headers: dict[str, str] = {}  # noqa: RUF012 -- of a NamedTuple, and never changed


class Asked(NamedTuple):
    """A stream that was asked for."""

    at_s: float
    after: str | None
    status: int


class Line(FaultyProxy):
    """A proxy that passes streams on as they come, in pieces; `fate`: asked once a stream."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.fate: Callable[[], Fate] = Fate
        self.asked: list[Asked] = []
        self.cut = 0

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Accept") != EVENTS:
            return await super()._handle(request)
        fate, after = self.fate(), request.headers.get("Last-Event-ID")
        if fate.status:
            self.asked.append(Asked(time.monotonic(), after, fate.status))
            return web.Response(status=fate.status, headers=fate.headers)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        try:
            async with self._session.get(self.target + request.path_qs, headers=headers) as answer:
                self.asked.append(Asked(time.monotonic(), after, answer.status))
                return await self._pass(request, answer, fate)
        except aiohttp.ClientError:
            return self._hang_up(request)

    async def _pass(self, request: web.Request, answer: aiohttp.ClientResponse, fate: Fate) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.headers["Content-Type"]})
        await response.prepare(request)
        left = sys.maxsize if fate.bytes_max is None else fate.bytes_max
        while request.transport is not None:  # else the client has left
            try:
                async with asyncio.timeout(LOOK_S):
                    piece = await answer.content.read(97)  # no power of two: pieces end anywhere
            except TimeoutError:
                continue
            if not piece:
                break
            if left > 0:
                await response.write(piece[:left])
            left -= len(piece)
            if left <= 0 and not fate.silent:
                self.cut += 1
                return self._hang_up(request)
        return response


class Follower:
    """A program that follows a stream and prints a line of JSON for what it heard of."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(signal.SIGKILL)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def line(self, start: str = "") -> str:
        """The next line that begins so."""
        while not (line := self._lines.get(timeout=PATIENCE_S)).startswith(start):
            pass
        return line.rstrip("\n")

    def next(self) -> Any:
        return json.loads(self.line())

    def until(self, member: str) -> Any:
        """The next line with this member."""
        while member not in (line := self.next()):
            pass
        return line

    def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """Its exit status, and what it complained of: by a signal, or by itself."""
        if number is not None:
            self.process.send_signal(number)
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert self.process.stderr is not None
        assert self.process.stdout is not None
        if not self.process.stderr.closed:
            with self.process.stdout, self.process.stderr:
                return status, self.process.stderr.read().strip()
        return status, ""


def _node(code: str, *arguments: object) -> list[str]:
    options = ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", code, "--", LIVE.as_uri()]
    return [str(NODE), *options, *map(str, arguments)]


def _follower(url: str, *tokens: str, silent_ms: int = 45_000) -> Follower:
    command = _node(FOLLOWER, f"{url}/sync/favorites", silent_ms, json.dumps(tokens))
    return Follower(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))


def _record(item: str, at: str = "2020-01-01T00:00:00.000Z", action: str = "ADD") -> dict[str, str]:
    return {"item": item, "actionDate": at, "action": action}


def _wait(what: Callable[[], object], why: Callable[[], object] = str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, why()
        time.sleep(0.02)


def _database(phone: Phone) -> sqlite3.Connection:
    [path] = phone.folder.glob("*.db")
    return sqlite3.connect(path, timeout=PATIENCE_S)


def _cursor(phone: Phone) -> str:
    database = _database(phone)
    [[cursor]] = database.execute("SELECT cursor FROM state")
    database.close()
    assert isinstance(cursor, str)
    return cursor


def _known(phone: Phone) -> dict[str, bool]:
    return {item: deleted for item, (_, deleted) in _versions(phone).items()}


def _versions(phone: Phone) -> dict[str, tuple[int, bool]]:
    database = _database(phone)
    rows = database.execute("SELECT item, at_us, deleted FROM known").fetchall()
    database.close()
    return {item: (at_us, bool(deleted)) for item, at_us, deleted in rows}


@pytest.fixture(scope="module")
def dsn(postgres: Server) -> Iterator[str]:
    name = asyncio.run(postgres.create_database())
    yield postgres.dsn(name)
    asyncio.run(postgres.drop_database(name))


@pytest.fixture(scope="module")
def service(dsn: str) -> Iterator[Service]:
    with Service(database_url=dsn) as running:
        yield running


@pytest.fixture
def line(service: Service) -> Iterator[Line]:
    with Line(service.url) as standing:
        yield standing


browser = test_docs_page.browser


def test_what_one_device_does_another_sees_while_it_is_looked_at(service: Service, line: Line, tmp_path: Path) -> None:
    """No round of the second one is needed for it; and the cursor is one that its rounds go on from."""
    user, phone = "at-once", Phone("Python", service.url, tmp_path / "1")
    tablet = Phone("TypeScript", line.url, tmp_path / "2")
    phone.run(user, token(user), "sync")  # it learns its clock, so that what a tap prints is what is sent
    with Follower(tablet.start(user, token(user), "live")) as live:
        _wait(lambda: line.asked)
        rounds = len(line.passed)
        for action in ("ADD", "DELETE"):
            at = phone.run(user, token(user), "tap", "a", action).strip()
            phone.run(user, token(user), "sync")
            assert live.next() == _record("a", at, action)
        assert len(line.passed) == rounds
        assert live.end(signal.SIGTERM) == (0, "")
    listing = tablet.listing(user)
    assert listing == phone.listing(user) == {"records": [_record("a", at, "DELETE")], "waiting": 0, "refused": {}}
    tablet.run(user, token(user), "sync")
    tablet.run(user, token(user), "sync")
    assert [(one.method, one.status) for one in line.passed[rounds:]] == [("GET", 200), ("GET", 304)]


class Drill:
    """Somebody writes; a tablet follows through cuts, taps itself, and is killed; so is the service."""

    def __init__(self, service: Service, line: Line, folder: Path) -> None:
        self.chance = random.Random(SEED)
        self.service, self.line = service, line
        self.tablet = Phone("TypeScript", line.url, folder)
        self.now_s = time.time()
        self.live = self._start()

    def _start(self) -> Follower:
        return Follower(self.tablet.start("ann", token("ann"), "live"))

    def write(self) -> None:
        """Some records, each later than all there are."""
        self.now_s += 1
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(self.now_s))
        items = self.chance.sample(ITEMS, k=self.chance.randrange(1, 6))
        self.service.request("POST", POST, [_record(item, at, self.chance.choice(["ADD", "DELETE"])) for item in items])

    def step(self, number: int) -> None:
        """Returns when what was written has arrived, or the stream was cut."""
        cursor, cut = _cursor(self.tablet), self.line.cut
        self.write()
        if number % 20 == 7:  # killed, whatever it was doing: the next one goes on from what it had stored
            self.live.end(signal.SIGKILL)
            self.live = self._start()
        if number % 20 == 11:  # a round, in a process of its own, beside the stream
            self.tablet.run("ann", token("ann"), "tap", self.chance.choice(ITEMS), "ADD")
            self.tablet.run("ann", token("ann"), "sync")
        if number % 30 == 15:
            self.service.kill()
            self.service.start()
            self.line.target = self.service.url
        _wait(lambda: _cursor(self.tablet) != cursor or self.line.cut > cut)

    def run(self) -> None:
        _wait(lambda: self.line.asked)
        self.line.fate = lambda: Fate(bytes_max=self.chance.randrange(12, 1000))
        for number in range(40):
            self.step(number)
        self.line.fate = Fate
        self.write()


@pytest.mark.timeout(300)
def test_over_cuts_and_kills_nothing_is_lost(postgres: Server, tmp_path: Path) -> None:
    """The stream breaks within events, the service and the follower are killed; in the end both hold the same."""
    name = asyncio.run(postgres.create_database())
    with Service(database_url=postgres.dsn(name)) as service, Line(service.url) as line:
        drill = Drill(service, line, tmp_path)
        try:
            drill.run()
            stored = {
                one["item"]: (timestamp.parse(one["actionDate"]), one["action"] == "DELETE")
                for one in service.request("GET", GET).content
            }
            _wait(
                lambda: _versions(drill.tablet) == stored,
                lambda: f"seed {SEED}: {_versions(drill.tablet)} not {stored}",
            )
            assert drill.live.end(signal.SIGTERM)[0] == 0
        finally:
            drill.live.end(signal.SIGKILL)
        listing = drill.tablet.listing("ann")
        assert listing["records"] == service.request("GET", GET).content, f"seed {SEED}"
        assert (listing["waiting"], listing["refused"]) == (0, {})
        assert line.cut > 10
        assert {one.status for one in line.asked} <= {200, 503}, "a cursor was refused"
        assert all(one.after for one in line.asked), "a stream began anew"
    asyncio.run(postgres.drop_database(name))


def test_what_came_is_stored_with_its_cursor_or_not_at_all(service: Service, line: Line, tmp_path: Path) -> None:
    """Where the disk is full, following ends and says so; later it goes on from before what was not stored."""
    user, tablet = "full", Phone("TypeScript", line.url, tmp_path)
    with Follower(tablet.start(user, token(user), "live")) as live:
        _wait(lambda: line.asked)
        before = _cursor(tablet)
        full = (
            "CREATE TRIGGER full BEFORE INSERT ON known WHEN new.item = 'b' BEGIN SELECT raise(ABORT, 'disk full'); END"
        )
        _execute(tablet, full)
        service.request("POST", POST, [_record("a"), _record("b")], user=user)
        assert live.end() == (1, "disk full")
    known = _known(tablet)
    assert known in ({}, {"a": False})  # which may have come by itself
    assert (_cursor(tablet) == before) == (known == {})
    _execute(tablet, "DROP TRIGGER full")
    tablet.run(user, token(user), "sync")
    assert _known(tablet) == {"a": False, "b": False}


def test_where_a_round_has_moved_the_cursor_the_stream_goes_on_from_there(
    service: Service, line: Line, tmp_path: Path
) -> None:
    """As after a 410 that a round met: an event of the stream before it is not used."""
    user, tablet = "moved", Phone("TypeScript", line.url, tmp_path)
    service.request("POST", POST, [_record("a")], user=user)
    with Follower(tablet.start(user, token(user), "live")) as live:
        _wait(lambda: line.asked)
        _execute(tablet, "DELETE FROM known; UPDATE state SET cursor = NULL, etag = NULL")
        service.request("POST", POST, [_record("b")], user=user)
        assert [live.next(), live.next()] == [_record("a"), _record("b")]
    assert _known(tablet) == {"a": False, "b": False}
    assert [one.after is None for one in line.asked] == [False, True]


def test_a_cursor_of_another_epoch_is_dropped_and_what_was_forgotten_is_told_again(
    postgres: Server, tmp_path: Path
) -> None:
    name, user = asyncio.run(postgres.create_database()), "ann"
    dsn, tablet = postgres.dsn(name), Phone("TypeScript", "", tmp_path)
    with Service(database_url=dsn) as service, Line(service.url) as line:
        tablet.url = line.url
        service.request("POST", POST, [_record("a"), _record("b")])
        with Follower(tablet.start(user, token(user), "live")) as live:
            _wait(lambda: line.asked)
            before = _cursor(tablet)
            asyncio.run(_forget(dsn, "b"))
            environment = os.environ | {"FAVSYNC_DATABASE_URL": dsn}
            subprocess.run([sys.executable, "-m", "favsync", "epoch", "new"], env=environment, check=True, timeout=60)
            service.request("POST", POST, [_record("c")])
            _wait(lambda: _known(tablet) == {"a": False, "c": False} and _cursor(tablet) != before)
            assert [(one.after is None, one.status) for one in line.asked[:3]] == [
                (False, 200), (False, 410), (True, 200),
            ]  # fmt: skip
            tablet.run(user, token(user), "sync")
            assert live.end(signal.SIGTERM) == (0, "")
        listing = tablet.listing(user)
        assert listing["records"] == service.request("GET", GET).content
        assert ([one["item"] for one in listing["records"]], listing["waiting"]) == (["a", "b", "c"], 0)
    asyncio.run(postgres.drop_database(name))


def test_a_token_that_is_refused_or_ends_is_followed_by_another(service: Service) -> None:
    user = "tokens"
    short = issue(SECRET, user, scopes=(), now_s=int(time.time()), ttl_s=3)
    with _follower(service.url, "wrong", short, token(user)) as live:
        assert [live.next(), live.next()] == [{"refused": None}, {"refused": "wrong"}]
        service.request("POST", POST, [_record("a")], user=user)
        assert live.next() == {"changes": [_record("a")], "after": None}
        assert live.next() == {"refused": None}  # the stream has ended with the token
        service.request("POST", POST, [_record("b")], user=user)
        news = live.next()
        assert (news["changes"], bool(news["after"])) == ([_record("b")], True)
        assert live.end(signal.SIGTERM) == (0, "")


def test_it_waits_as_it_is_asked_to_and_gives_up_a_connection_that_is_silent(service: Service, line: Line) -> None:
    user = "waits"
    asked_to = {"Retry-After": "1"}
    fates = [
        Fate(status=503, headers=asked_to), Fate(status=429, headers=asked_to),
        Fate(status=200, headers={"Content-Type": "text/html"}), Fate(bytes_max=11, silent=True),
    ]  # fmt: skip
    line.fate = lambda: fates.pop(0) if fates else Fate()
    service.request("POST", POST, [_record("a")], user=user)
    with _follower(line.url, token(user), silent_ms=1000) as live:
        assert live.until("changes") == {"changes": [_record("a")], "after": None}
        assert live.end(signal.SIGTERM) == (0, "")
    times = [one.at_s for one in line.asked]
    assert [one.status for one in line.asked[:5]] == [503, 429, 200, 200, 200]
    for number in (0, 1, 3):
        assert times[number + 1] - times[number] > 0.95


@pytest.mark.parametrize("status", [302, 400, 403, 404])
def test_what_asking_again_would_not_mend_ends_it(status: int, service: Service, line: Line) -> None:
    """A redirect is not followed, wherever it leads: the token is for this host."""
    line.fate = lambda: Fate(status=status, headers={"Location": f"{service.url}/sync/favorites"})
    with _follower(line.url, token("ann")) as live:
        assert live.end() == (1, f"the service answered {status} to the stream")
    assert len(line.asked) == 1


# What the standard says of each, and not what some parser makes of it.
STREAMS: list[tuple[bytes, list[tuple[str, str, str]]]] = [
    (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("", "message", "YHOO\n+2\n10")]),
    (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [("1", "message", "first event"), ("", "message", "second event"), ("", "message", " third event")],
    ),
    (b"data\n\ndata\ndata\n\ndata:", [("", "message", ""), ("", "message", "\n")]),
    (b"data:test\n\ndata: test\n\n", [("", "message", "test")] * 2),
    (b"\xef\xbb\xbfdata: a\r\rdata: b\r\n\r\ndata: c\n\r\n", [("", "message", one) for one in "abc"]),
    (b"data: \xef\xbb\xbf\n\n", [("", "message", "\ufeff")]),
    (b"\xef\xbb\xbf\xef\xbb\xbfdata: no field\n\ndata: b\n\n", [("", "message", "b")]),
    (
        b"id: 7\ndata: a\n\ndata: b\n\nid: 8\n\nid: 9\x00\ndata: c\n\n",
        [("7", "message", "a"), ("7", "message", "b"), ("8", "message", "c")],
    ),
    (b"event: x\ndata: a\n\nevent: y\n\ndata: b\n\n", [("", "x", "a"), ("", "message", "b")]),
    (b"retry: 5\nDATA: a\ndata : b\nother\ndata: c:d\n:data: e\n\n", [("", "message", "c:d")]),
    ("data: é\u2028\u0085\x0b\U0001f600\n\n".encode(), [("", "message", "é\u2028\u0085\x0b\U0001f600")]),
    (b"data: \xff\n\n", [("", "message", "\ufffd")]),
    (b"id: 1\ndata: {}\n", []),
    (b"data: a\r\n\r", [("", "message", "a")]),  # complete: what comes next may be long in coming
    (b"", []),
]


def test_a_stream_is_the_same_however_it_is_cut_up() -> None:
    """Into bytes, in two and three at each byte: what the standard tells of, and 300 made of all that has a meaning."""
    cases = json.dumps([base64.b64encode(raw).decode() for raw, _ in STREAMS])
    done = subprocess.run(_node(PARSING, cases, SEED), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    given = [
        [(one["id"], one["type"], one["data"]) for one in json.loads(line)] for line in done.stdout.split("\n")[:-1]
    ]
    assert given[: len(STREAMS)] == [messages for _, messages in STREAMS]
    assert sum(map(len, given[len(STREAMS) :])) > 100


@test_docs_page.pytestmark
def test_a_page_of_a_configured_origin_follows(dsn: str, service: Service, browser: webdriver.Chrome) -> None:
    """live.ts without its types, as a browser runs it: from a cursor on, which CORS must allow, until stopped."""
    strip = (
        "console.log(process.getBuiltinModule('module').stripTypeScriptTypes(require('fs').readFileSync(0, 'utf8')))"
    )
    source = LIVE.read_text()
    plain = subprocess.run(
        [str(NODE), "-e", strip], input=source, capture_output=True, text=True, timeout=60, check=True
    )
    script = f"(async () => {{ {plain.stdout.replace('export ', '')} {PAGE} }})()"
    browser.set_script_timeout(PATIENCE_S)
    with Service(database_url=dsn, cors_origins=service.url) as other:
        other.request("POST", POST, [_record("old")], user="page")
        browser.get(f"{service.url}/healthz")
        news = browser.execute_async_script(script, other.url, token("page"))
        assert news == [_record("a"), _record("b")]


def test_the_line_of_the_document_shows_what_is_written(service: Service) -> None:
    document = (EXAMPLES.parent / "docs" / "client.md").read_text()
    [command] = re.findall(r"```sh\n(curl .*?)\n```", document)
    process = subprocess.Popen(
        ["/bin/bash", "-c", "exec " + command.replace("http://127.0.0.1:8080", service.url)],
        env=os.environ | {"TOKEN": token("curl")}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with Follower(process) as curl:
        service.request("POST", POST, [_record("a")], user="curl")
        assert curl.line("data: ") == "data: " + json.dumps(_record("a"), separators=(",", ":"))


async def _forget(dsn: str, item: str) -> None:
    """As a restore does."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("DELETE FROM records WHERE item = $1", item)
    await connection.close()


def _execute(phone: Phone, statements: str) -> None:
    database = _database(phone)
    database.executescript(statements)
    database.close()
