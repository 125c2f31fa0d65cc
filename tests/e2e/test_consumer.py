"""examples/consumer: killed at any moment, its table is what the feed is, and nothing was applied twice."""

import asyncio
import http.server
import itertools
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import asyncpg
import pytest

from favsync.http.auth import issue
from tests.e2e import faulty_proxy
from tests.e2e.faulty_proxy import FaultyProxy
from tests.e2e.service import SECRET, Service, token
from tests.e2e.test_cli import favsync
from tests.e2e.test_kill import DECLARED, Writer
from tests.e2e.test_readme import BLOCK, Served

HOME = Path(__file__).parents[2] / "examples" / "consumer"
SEED = int(os.environ.get("TEST_CONSUMER_SEED", "20170502"))
ROUNDS = 50
WRITERS = 2
DEADLINE_S = 60.0
AUDIT = """
CREATE TABLE applied (number INTEGER PRIMARY KEY, snapshot INTEGER, position INTEGER, cursor TEXT);
CREATE TRIGGER inserted AFTER INSERT ON records BEGIN INSERT INTO applied (snapshot, position, cursor)
  SELECT new.snapshot, new.position, cursor FROM progress WHERE entity = new.entity; END;
CREATE TRIGGER updated AFTER UPDATE OF position ON records BEGIN INSERT INTO applied (snapshot, position, cursor)
  SELECT new.snapshot, new.position, cursor FROM progress WHERE entity = new.entity; END;
"""
# Each change then takes some milliseconds: a kill soon after the first one comes before the last.
SLOW = """
CREATE TRIGGER slow AFTER INSERT ON applied BEGIN SELECT length(randomblob(1000000)); END;
"""
# The faults that the test has to find: how far it has come is stored before, or after, what is applied.
NAIVE = """
import sys
sys.path.insert(0, {home!r})
import consumer

class Naive(consumer.Copy):
    def take(self, entity, at, page):
        if {before}:
            self._move(entity, at, page)
        for change in page.changes:
            self._db.execute(consumer.APPLY, consumer._row(entity, change, at.snapshot, "now"))
        if not {before}:
            self._move(entity, at, page)

    def _move(self, entity, at, page):
        position = max([at.position, *(change["position"] for change in page.changes)])
        self._store(entity, at, consumer.At(page.cursor, position, at.snapshot, at.whole or not page.more))

consumer.Copy = Naive
consumer.main()
"""


# What was written is in the feed some milliseconds later.
WAIT_FOR_NEWS = """
curl -sS "http://127.0.0.1:8080/feed/favorites?wait=60" -o /dev/null -H "Authorization: Bearer $SERVICE_TOKEN"
"""


class Progress(NamedTuple):
    cursor: str | None
    position: int
    snapshot: int
    whole: int


class Follower:
    """consumer.py, in one process after another, with one database."""

    def __init__(self, folder: Path, url: str, program: Path = HOME / "consumer.py", more: str = "") -> None:
        """`more`: SQL for its database, beside the audit."""
        self.database = folder / "copy.db"
        self.said = folder / "said"
        self.token_file = folder / "token"
        self.token_file.write_text(token("backend", "feed:read"))
        self.url, self._program = url, str(program)
        assert self.remove("0s") == "removed 0 rows\n"  # which makes the tables
        self.script(AUDIT + more)

    def script(self, text: str) -> None:
        with closing(sqlite3.connect(self.database)) as connection:
            connection.executescript(text)

    def once(self, *options: str, **variables: str) -> int:
        """To the end of what there is; the status that it ended with."""
        with self.going_on("--once", *options, **variables) as process:
            return process.wait(DEADLINE_S)

    @contextmanager
    def going_on(self, *options: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
        """Until the block ends. With a token file, unless there are variables."""
        command = [sys.executable, self._program, "follow", "--url", self.url, "--entity", "notes"]
        command += ["--database", str(self.database), *options]
        if not variables:
            command += ["--token-file", str(self.token_file)]
        with (
            self.said.open("ab") as said,
            subprocess.Popen(command, env=os.environ | variables, stdout=said, stderr=said) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def remove(self, older_than: str) -> str:
        command = [
            sys.executable,
            self._program,
            "remove",
            "--database",
            str(self.database),
            "--older-than",
            older_than,
        ]
        return subprocess.check_output(command, text=True, timeout=DEADLINE_S)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.database, timeout=DEADLINE_S)) as connection, connection:
            return connection.execute(query).fetchall()

    def progress(self) -> Progress:
        rows = self.rows("SELECT cursor, position, snapshot, whole FROM progress")
        return Progress._make(rows[0]) if rows else Progress(None, 0, 1, 0)

    def applied(self) -> int:
        """How many changes were, in all."""
        [(count,)] = self.rows("SELECT count(*) FROM applied")
        return int(count)

    def twice(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT snapshot, position FROM applied GROUP BY snapshot, position HAVING count(*) > 1")

    def states(self) -> dict[str, int]:
        return dict(self.rows("SELECT state, count(*) FROM records GROUP BY state"))

    def table(self) -> dict[tuple[str, str], tuple[Any, ...]]:
        """As `feed_of` has it."""
        rows = self.rows("SELECT user, item, position, state, action_date, fields FROM records")
        return {
            (user, item): (
                position, state, at, json.loads(fields) if fields and state == "Active" else None,
            )
            for user, item, position, state, at, fields in rows
        }  # fmt: skip

    def killed(self, chance: random.Random, within_s: float = 0.05) -> bool:
        """Killed at random, mostly when it has applied something; whether that was in the midst of a page."""
        before = self.applied()
        with self.going_on("--limit", str(chance.choice([3, 10, 100]))) as process:
            if chance.random() < 0.8:
                until(lambda: self.applied() > before or process.poll() is not None)
                time.sleep(chance.uniform(0, within_s))
            else:
                time.sleep(chance.uniform(0, 0.3))
        last = self.rows("SELECT cursor FROM applied ORDER BY number DESC LIMIT 2")
        return self.applied() > before and last == [(self.progress().cursor,)] * 2

    def is_of_one_moment(self) -> bool:
        """What was applied, and how far it has come."""
        at = self.progress()
        last = self.rows("SELECT snapshot, position FROM applied ORDER BY number DESC LIMIT 1")
        begun = at.position == 0 and (not last or last[0][0] < at.snapshot)
        return begun or last == [(at.snapshot, at.position)]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def feed_of(service: Service, entity: str = "notes") -> dict[tuple[str, str], tuple[Any, ...]]:
    """Position, state, date and fields of each record, read anew."""
    found, after, more = {}, "", True
    while more:
        headers = {"Authorization": f"Bearer {token('auditor', 'feed:read')}"}
        answer = service.request("GET", f"/feed/{entity}?limit=5000{after}", user=None, headers=headers)
        assert answer.status == 200, answer
        for one in answer.content["changes"]:
            state = "Deleted" if one["action"] == "DELETE" else "Active"
            found[one["user"], one["item"]] = (one["position"], state, one["actionDate"], one.get("fields"))
        after, more = f"&after={answer.content['cursor']}", answer.content["hasMore"]
    return found


def write(service: Service, items: Sequence[int], action: str = "ADD", minute: int = 0) -> None:
    """Notes of one date, by ann, which are in the feed when this returns."""
    record = {"actionDate": f"2020-02-02T{minute // 60:02d}:{minute % 60:02d}:00.000Z", "action": action}
    fields = {"fields": {"text": f"minute {minute}", "n": minute / 3}} if action == "ADD" else {}
    answer = service.request("POST", "/sync/notes", [{"item": f"{n}"} | record | fields for n in items])
    assert {one["outcome"] for one in answer.content["receipts"]} == {"applied"}
    until(lambda: feed_of(service).get(("ann", f"{items[-1]}"), [None] * 3)[2] == record["actionDate"])


def records_of(service: Service, user: str) -> dict[str, tuple[Any, ...]]:
    answer = service.request("GET", "/sync/notes", user=user)
    return {one["item"]: (one["actionDate"], one["action"], one.get("fields")) for one in answer.content}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "favsync.toml"
    path.write_text(DECLARED)
    return path


@pytest.fixture
def service(dsn: str, config: Path) -> Iterator[Service]:
    with Service(database_url=dsn, config=config) as running:
        yield running


def administer(*words: str, dsn: str, config: Path) -> None:
    done = favsync(*words, database_url=dsn, config=config, jwt_secret=SECRET)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def writers(service: Service) -> Iterator[list[Writer]]:
    started = [Writer(service, number, SEED + number) for number in range(WRITERS)]
    for writer in started:
        writer.start()
    yield started
    _end(started)


def _end(writers: list[Writer]) -> None:
    for writer in writers:
        writer.stopping = True
    for writer in writers:
        writer.join(DEADLINE_S)


@pytest.mark.timeout(60 + 10 * ROUNDS)
def test_killed_at_any_moment_it_loses_nothing_and_applies_nothing_twice(
    service: Service, writers: list[Writer], tmp_path: Path
) -> None:
    chance, follower = random.Random(SEED), Follower(tmp_path, service.url)
    midst = []
    for _ in range(ROUNDS):
        midst.append(follower.killed(chance))
        assert follower.is_of_one_moment()
    assert all(writer.is_alive() for writer in writers)
    _end(writers)
    until(lambda: {key[1]: row[2] for key, row in feed_of(service).items() if key[0] == writers[0].user} == {
        item: at for item, (at, _, _) in records_of(service, writers[0].user).items()
    })  # fmt: skip
    until(lambda: follower.once() == 0 and follower.table() == feed_of(service))
    for writer in writers:
        stored = {item: row[1:] for (user, item), row in follower.table().items() if user == writer.user}
        action = {"ADD": "Active", "DELETE": "Deleted"}
        records = records_of(service, writer.user).items()
        assert stored == {item: (action[did], at, fields) for item, (at, did, fields) in records}
    assert follower.twice() == [], f"seed {SEED}"
    positions = [position for (position,) in follower.rows("SELECT position FROM applied ORDER BY number")]
    assert positions == sorted(positions)
    assert len(positions) > ROUNDS
    assert set(follower.states()) == {"Active", "Deleted"}
    assert midst.count(True) > ROUNDS / 10 < midst.count(False), midst


@pytest.mark.parametrize("before", [True, False])
def test_the_same_finds_what_is_lost_or_applied_twice_where_the_cursor_is_stored_apart(
    service: Service, tmp_path: Path, before: bool
) -> None:
    naive = tmp_path / "naive.py"
    naive.write_text(NAIVE.format(home=str(HOME), before=before))
    chance, follower = random.Random(SEED), Follower(tmp_path, service.url, naive, SLOW)
    write(service, range(600))
    feed = feed_of(service)

    def lost() -> set[tuple[str, str]]:
        passed = {key for key, (position, *_) in feed.items() if position <= follower.progress().position}
        return passed - follower.table().keys()

    while not (lost() if before else follower.twice()):
        assert not follower.progress().whole
        follower.killed(chance, within_s=0.02)
    assert bool(follower.twice()) is not before
    assert bool(lost()) is before


async def forget(dsn: str, config: Path, how: str) -> None:
    """The notes 0 to 9, which were deleted, and their tombstones; or as a restore does, which knew nothing of them."""
    if how == "purge":
        administer("feed", "purge", "--entity", "notes", "--older-than", "0s", dsn=dsn, config=config)
        return
    connection = await asyncpg.connect(dsn)
    await connection.execute("TRUNCATE feed, feed_head, feed_pending")
    await connection.execute("DELETE FROM records WHERE item IN (SELECT n::text FROM generate_series(0, 9) n)")
    await connection.close()
    administer("epoch", "new", dsn=dsn, config=config)


@pytest.mark.parametrize("how", ["purge", "restore"])
def test_after_a_410_what_is_not_met_again_is_archived_wherever_it_is_killed(
    service: Service, dsn: str, config: Path, tmp_path: Path, how: str
) -> None:
    chance, follower = random.Random(SEED), Follower(tmp_path, service.url)
    write(service, range(40))
    write(service, range(40), minute=2)  # so that in another history positions are lower
    assert follower.once() == 0
    assert follower.states() == {"Active": 40}
    follower.script(SLOW)
    if how == "purge":
        write(service, range(10), "DELETE", minute=3)
    service.stop()
    asyncio.run(forget(dsn, config, how))
    service.start()
    follower.url = service.url
    unfinished = 0
    while (at := follower.progress()).snapshot == 1 or not at.whole:
        unfinished += at.snapshot == 2 and at.position > 0
        assert follower.states() == {"Active": 40}, "the table stays in use"
        follower.killed(chance, within_s=0.02)
        assert follower.is_of_one_moment()
    assert unfinished
    write(service, range(30, 35), minute=4)
    assert follower.once() == 0
    assert follower.said.read_text().count("it cannot go on from here") == 1
    assert follower.twice() == []
    table, feed = follower.table(), feed_of(service)
    assert {key: row for key, row in table.items() if row[1] == "Active"} == feed
    assert {int(item) for _, item in table.keys() - feed.keys()} == set(range(10))
    assert follower.states() == {"Active": 30, "Deleted": 10}
    if how == "restore":
        [(last,)] = follower.rows("SELECT max(position) FROM applied WHERE snapshot = 1")
        assert max(position for position, *_ in feed.values()) < last


def test_what_is_forgotten_while_it_lies_broken_off_in_its_first_page_is_archived(
    service: Service, dsn: str, config: Path, tmp_path: Path
) -> None:
    follower = Follower(tmp_path, service.url)
    write(service, range(20))
    broken = "CREATE TRIGGER broken BEFORE INSERT ON records WHEN (SELECT count(*) FROM records) = 7"
    follower.script(f"{broken} BEGIN SELECT raise(ABORT, 'the disk is full'); END")
    assert follower.once() == 1
    assert follower.said.read_text() == "the disk is full\n"
    follower.script("DROP TRIGGER broken")
    assert follower.is_of_one_moment()
    [(seen,)] = follower.rows("SELECT item FROM records ORDER BY position LIMIT 1")
    write(service, [int(seen)], "DELETE", minute=1)
    administer("feed", "purge", "--entity", "notes", "--older-than", "0s", dsn=dsn, config=config)
    assert follower.once() == 0
    assert follower.rows("SELECT item FROM records WHERE state = 'Deleted'") == [(seen,)]
    assert follower.states() == {"Active": 19, "Deleted": 1}


def test_it_goes_on_whatever_comes_between_it_and_the_service(
    service: Service, dsn: str, config: Path, tmp_path: Path
) -> None:
    faults = [fault for name in faulty_proxy.FAULTS for fault in (name, None)]
    with FaultyProxy(service.url) as proxy:
        follower, left = Follower(tmp_path, proxy.url), iter(faults)
        proxy.fault = lambda: next(left, None)
        with follower.going_on() as process:
            while (met := proxy.met) < len(faults):
                write(service, range(met % 7, 20), "DELETE" if met % 5 == 0 else "ADD", minute=met)
                until(lambda: proxy.met > met)
            service.kill()
            until(lambda: "answered 502" in follower.said.read_text())
            service.start()
            proxy.target = service.url
            until(lambda: follower.table() == feed_of(service))
            administer("epoch", "new", dsn=dsn, config=config)
            until(lambda: follower.progress().snapshot == 2 and follower.progress().whole)
            write(service, range(20, 25))
            until(lambda: follower.table() == feed_of(service))
            assert process.poll() is None
            service.kill()  # so that no request waits for news when the proxy ends
    assert follower.twice() == []
    for words in ("cannot be reached", "answered 401", "answered 429", "answered 503", "answered 200: nothing"):
        assert words in follower.said.read_text()


def test_what_is_deleted_is_archived_can_come_back_and_is_removed_in_the_end(service: Service, tmp_path: Path) -> None:
    follower = Follower(tmp_path, service.url)
    write(service, range(5))
    assert follower.once() == 0
    write(service, range(3), "DELETE", minute=2)
    assert follower.once() == 0
    archived = follower.rows("SELECT fields, deleted_at FROM records WHERE state = 'Deleted'")
    assert [json.loads(fields)["text"] for fields, _ in archived] == ["minute 0"] * 3
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", since) for _, since in archived)
    write(service, range(1), minute=3)
    assert follower.once() == 0
    assert follower.rows("SELECT state, deleted_at FROM records WHERE item = '0'") == [("Active", None)]
    long_ago = "strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '-31 days')"
    follower.rows(f"UPDATE records SET deleted_at = {long_ago} WHERE item = '1'")
    write(service, range(1, 2), "DELETE", minute=4)
    assert follower.once() == 0
    assert follower.remove("32d") == "removed 0 rows\n", "a second deletion is not the first"
    assert follower.remove("30d") == "removed 1 rows\n"
    assert follower.remove("0s") == "removed 1 rows\n"
    assert follower.rows("SELECT item FROM records ORDER BY item") == [("0",), ("3",), ("4",)]
    assert follower.once() == 0
    assert follower.states() == {"Active": 3}


def test_a_token_that_has_ended_is_waited_out_and_what_never_will_be_good_ends_it(
    service: Service, tmp_path: Path
) -> None:
    follower = Follower(tmp_path, service.url)
    write(service, range(3))
    follower.token_file.write_text(issue(SECRET, "backend", scopes=["feed:read"], now_s=0, ttl_s=60))
    with follower.going_on():
        until(lambda: "the service answered 401: " in follower.said.read_text())
        assert follower.progress().cursor is None
        follower.token_file.unlink()
        follower.token_file.write_text(token("backend", "feed:read") + "\n")
        until(lambda: follower.table() == feed_of(service))

    def ends(said: str, *options: str, **variables: str) -> None:
        follower.said.write_bytes(b"")
        assert follower.once(*options, **variables) == 1
        assert re.fullmatch(said, follower.said.read_text())

    good = {"SERVICE_TOKEN": token("backend", "feed:read")}
    ends("the service answered 401: .+\n", SERVICE_TOKEN="ended")
    ends("the service answered 403: .+\n", SERVICE_TOKEN=token("backend"))
    ends("the service answered 404: .+\n", "--entity", "nothing/such", **good)
    ends("the service answered 400: .*limit.*\n", "--limit", "0", **good)
    ends("there is no token in SERVICE_TOKEN\n", SERVICE_TOKEN="")
    ends("--url: 'file:///etc/passwd' is not like https://.*\n", "--url", "file:///etc/passwd", **good)
    assert follower.table() == feed_of(service)


def test_two_that_follow_one_feed_into_one_database_do_not_mix(service: Service, tmp_path: Path) -> None:
    follower = Follower(tmp_path, service.url)
    with follower.going_on() as one, follower.going_on() as other:
        for minute in itertools.count():
            if one.poll() is not None or other.poll() is not None:
                break
            write(service, range(20), minute=minute)
        until(lambda: follower.table() == feed_of(service))
    assert {one.wait(), other.wait()} == {1, -signal.SIGKILL}
    assert follower.said.read_text() == "another process follows the same feed into this database\n"
    assert follower.twice() == []


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """Sends everybody on, and remembers who asked."""

    met: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.met.append(self.path)
        self.send_response(302)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Nothing."""


def test_its_token_is_sent_to_nobody_else(tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        follower = Follower(tmp_path, f"http://127.0.0.1:{server.server_port}")
        try:
            assert follower.once() == 1
        finally:
            server.shutdown()
    assert Elsewhere.met == ["/feed/notes?limit=1&wait=0"]
    assert follower.said.read_text().startswith("the service answered 302: ")


def test_the_commands_of_its_readme_print_what_it_says(session_dir: Path, tmp_path: Path) -> None:
    blocks = BLOCK.findall((HOME / "README.md").read_text())
    assert [reason for reason, _ in blocks if reason] == []
    parts = [part for _, text in blocks for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]]
    folder = session_dir / "consumer"
    folder.mkdir()
    serving = Served(folder)
    serving.start("make serve")
    try:
        script, printed = "", []
        for part in parts:
            command, output = re.findall(r"\A((?:[^'\n]|'[^']*')*)\n(.*)", part, re.DOTALL)[0]
            script += (WAIT_FOR_NEWS if " follow " in command else "") + f"{command}; echo ---\n"
            printed.append(output.strip())
        script = script.replace(":8080", f":{serving.port}").replace("favourites.db", str(tmp_path / "copy.db"))
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", script.replace("python3 ", f"{sys.executable} ")],
            cwd=HOME.parents[1], env=serving.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert [one.strip() for one in done.stdout.split("---\n")[:-1]] == printed, done.stderr
    finally:
        serving.stop()
    assert len(printed) == 6
