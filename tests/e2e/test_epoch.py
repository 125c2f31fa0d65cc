"""Drills for the epoch: a database that may have forgotten something honours no cursor from before, and no feed lies.

Restored elsewhere, put back in place, promoted: each with real servers, the real service and the real command line.
"""

import asyncio
import contextlib
import http.client
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest

from favsync.store import binaries, clients, upkeep
from tests.e2e.service import Answer, Service, token
from tests.e2e.standby import DEADLINE_S, Node, Pair, pair, psql, until
from tests.e2e.test_cli import favsync
from tests.postgres import Server

FEED, OWN, LIST, POST = "/feed/favorites", "/sync/favorites", "/getUserFavorites", "/postUserFavorites"
USERS = ("ann", "bob")
EARLY, LATE, LATEST = "2020-01-01T00:00:00.000Z", "2020-01-02T00:00:00.000Z", "2020-01-03T00:00:00.000Z"
# What a service says to marks of its epoch, and to those of another.
HELD = [200, 200, 200, 200, 304]
ENDED = [410, 410, 410, 410, 200]

State = dict[tuple[str, str], tuple[str, str]]  # of (user, item): action and date


BACKEND = ("backend", "feed:read")


class Marks(NamedTuple):
    """What clients go on from: a backend's cursor and its Last-Event-ID; ann's Last-Event-ID, Sync-Cursor and ETag."""

    feed: str
    feed_event: str
    own_event: str
    cursor: str
    etag: str

    @classmethod
    def of(cls, service: Service) -> "Marks":
        listed = service.request("GET", LIST)
        return cls(
            feed_of(service)[1],
            _first_event(service, FEED, *BACKEND),
            _first_event(service, OWN, "ann"),
            listed.headers["Sync-Cursor"],
            listed.headers["ETag"],
        )

    def answers(self, service: Service) -> list[int]:
        """With which status each is met."""
        found = [read(service, f"after={self.feed}").status]
        for stream in self.streams(service):
            with contextlib.closing(stream):
                found.append(stream.status)
        found.append(service.request("GET", f"{LIST}?after={self.cursor}").status)
        found.append(service.request("GET", LIST, headers={"If-None-Match": self.etag}).status)
        return found

    def streams(self, service: Service) -> list[http.client.HTTPResponse]:
        """Events from there on: of the feed, and of ann's own records."""
        feed = _stream(service, FEED, *BACKEND, last=self.feed_event)
        return [feed, _stream(service, OWN, "ann", last=self.own_event)]


def _stream(service: Service, path: str, *caller: str, last: str | None = None) -> http.client.HTTPResponse:
    """An answer of events, read up to its head; closing it ends the connection. `caller`: as `token` takes it."""
    connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=DEADLINE_S)
    headers = {"Accept": "text/event-stream", "Connection": "close", "Authorization": f"Bearer {token(*caller)}"}
    connection.request("GET", path, headers=headers if last is None else headers | {"Last-Event-ID": last})
    return connection.getresponse()


def _first_event(service: Service, path: str, *caller: str) -> str:
    with contextlib.closing(_stream(service, path, *caller)) as stream:
        return next(line for line in stream if line.startswith(b"id: ")).decode().removeprefix("id: ").strip()


def read(service: Service, query: str) -> Answer:
    """What a backend gets that asks for a part of the feed."""
    return service.request("GET", f"{FEED}?{query}", user=None, headers={"Authorization": f"Bearer {token(*BACKEND)}"})


def write(service: Service, user: str, action: str, date: str, *items: str) -> None:
    sent = [{"item": item, "actionDate": date, "action": action} for item in items]
    receipts = service.request("POST", POST, sent, user=user).content["receipts"]
    assert [receipt["outcome"] for receipt in receipts] == ["applied"] * len(items)


def feed_of(service: Service, *, limit: int = 1000) -> tuple[list[dict[str, Any]], str]:
    """The feed as one reads it who begins with nothing: its changes, in order, and the cursor behind them."""
    changes: list[dict[str, Any]] = []
    query, more = f"limit={limit}", True
    while more:
        answer = read(service, query)
        assert answer.status == 200, answer
        changes += answer.content["changes"]
        query, more = f"limit={limit}&after={answer.content['cursor']}", answer.content["hasMore"]
    positions = [change["position"] for change in changes]
    assert positions == sorted(set(positions))
    return changes, answer.content["cursor"]


def told(service: Service, *, limit: int = 1000) -> State:
    """What the feed says, of records that it has once each."""
    changes, _ = feed_of(service, limit=limit)
    state = {(one["user"], one["item"]): (one["action"], one["actionDate"]) for one in changes}
    assert len(state) == len(changes)
    return state


def kept(service: Service) -> State:
    """The records, deletions included."""
    return {
        (user, one["item"]): (one["action"], one["actionDate"])
        for user in USERS
        for one in service.request("GET", LIST, user=user).content
    }


def without(state: State, *gone: str) -> State:
    """But for ann's deletions of these items, which there must be."""
    for item in gone:
        assert state[("ann", item)][0] == "DELETE"
    return {key: value for key, value in state.items() if key not in {("ann", item) for item in gone}}


def news(service: Service, cursor: str, count: int) -> list[dict[str, Any]]:
    """The next changes in the feed, so many, once they are there."""
    changes: list[dict[str, Any]] = []
    while len(changes) < count:
        answer = read(service, f"wait=20&after={cursor}")
        assert (answer.status, answer.content["changes"] != []) == (200, True), answer
        changes += answer.content["changes"]
        cursor = answer.content["cursor"]
    return changes


def fill(service: Service, database: str | Path) -> None:
    """Records of two users, all placed; ann's deletion of `purged` is in no feed any more."""
    write(service, "ann", "ADD", EARLY, "a", "b", "c", "purged")
    write(service, "bob", "ADD", EARLY, "a", "b")
    write(service, "ann", "DELETE", LATE, "purged")
    until(lambda: told(service) == kept(service))
    assert asyncio.run(upkeep.purge(database, "main/favorites", older_than_s=0)).removed == 1
    write(service, "ann", "DELETE", LATE, "c")
    until(lambda: told(service) == without(kept(service), "purged"))


def pushed(user: str, item: str, date: str, *, deleted: bool = False) -> str:
    """The statement that writes a record behind the service's back."""
    at = f"extract(epoch FROM timestamptz '{date}') * 1000000"
    return (
        f"SELECT FROM push(ARRAY['main/main/{user}'], ARRAY['main/favorites'], ARRAY['{item}'], ARRAY[({at})::bigint], "
        f"ARRAY[{deleted}], ARRAY[''::bytea], ARRAY[NULL::text], ARRAY[NULL::bigint])"
    )


def embedded(data_dir: Path, *statements: str) -> str:
    """What psql gives on the database of a data directory."""

    async def reached() -> str:
        async with clients.reached(data_dir) as target:
            words = {name.replace("database", "dbname"): value for name, value in target.items()}
            return psql(f"postgresql://?{urlencode(words)}", *statements)

    return asyncio.run(reached())


def _dumped(dsn: str, file: Path) -> Path:
    subprocess.run([binaries.find() / "pg_dump", "--format=custom", f"--file={file}", dsn], check=True)
    return file


def _restored(dsn: str, file: Path, *words: str) -> None:
    subprocess.run(
        [binaries.find() / "pg_restore", "--exit-on-error", "--single-transaction", f"--dbname={dsn}", *words, file],
        check=True,
    )


@pytest.fixture
def other(postgres: Server) -> Iterator[str]:
    """An empty database on the same server."""
    name = asyncio.run(postgres.create_database("template0"))
    yield postgres.dsn(name)
    asyncio.run(postgres.drop_database(name))


def _above_all(service: Service, database: str | Path) -> None:
    """What is written now gets positions above all that the feed holds, and that it has ever given away."""
    query = "SELECT greatest(h.position, max(f.position)) FROM feed_head h, feed f GROUP BY h.position"
    last = embedded(database, query) if isinstance(database, Path) else psql(database, query)
    _, cursor = feed_of(service)
    write(service, "ann", "ADD", LATEST, "a", "after")
    write(service, "bob", "DELETE", LATEST, "b")
    seen = news(service, cursor, 3)
    assert sorted(change["item"] for change in seen) == ["a", "after", "b"]
    assert min(change["position"] for change in seen) > int(last)


def test_a_backup_that_was_restored_begins_an_epoch_with_the_whole_feed(data_dir: Path) -> None:
    """Also what waited to be placed when the backup was made is there for the first who reads."""
    file, restored = data_dir.parent / "backup", data_dir.parent / "restored"
    with Service(data_dir=data_dir) as service:
        fill(service, data_dir)
        marks = Marks.of(service)
        assert marks.answers(service) == HELD
    pending = (pushed("ann", "b", LATE, deleted=True), pushed("bob", "late", LATE), pushed("bob", "a", LATE))
    assert embedded(data_dir, *pending, "SELECT count(*) FROM feed_pending") == "3"
    assert favsync("backup", str(file), data_dir=data_dir).returncode == 0
    assert favsync("restore", str(file), data_dir=restored).returncode == 0
    assert embedded(restored, "SELECT count(*) FROM feed_pending") == "3"
    assert "(none: the next connection begins one)" in favsync("epoch", "show", data_dir=restored).stdout
    with Service(data_dir=restored) as service:
        state = told(service, limit=3)
        assert state == without(kept(service), "purged")
        assert (state["ann", "b"], state["bob", "late"]) == (("DELETE", LATE), ("ADD", LATE))
        assert marks.answers(service) == ENDED
        assert Marks.of(service).answers(service) == HELD
        _above_all(service, restored)


class Dumps(NamedTuple):
    """Of one database at two times, each with something that waits to be placed."""

    early: Path
    late: Path
    marks: Marks


@pytest.fixture(scope="module")
def dumps(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dumps]:
    folder, name = tmp_path_factory.mktemp("dumps"), asyncio.run(postgres.create_database())
    dsn = postgres.dsn(name)
    with Service(database_url=dsn) as service:
        fill(service, dsn)
    psql(dsn, pushed("bob", "early", EARLY))
    early = _dumped(dsn, folder / "early")
    with Service(database_url=dsn) as service:
        write(service, "ann", "ADD", LATE, "a", "d", "brief")
        write(service, "ann", "DELETE", LATE, "b")
        write(service, "bob", "ADD", LATE, "late")
        write(service, "ann", "DELETE", LATEST, "brief")
        until(lambda: told(service) == without(kept(service), "purged"))
        marks = Marks.of(service)
    psql(dsn, pushed("bob", "early", LATE))
    yield Dumps(early, _dumped(dsn, folder / "late"), marks)
    asyncio.run(postgres.drop_database(name))


# Which tables are older than the others in what is put back, and of which of ann's deletions no feed tells then.
TORN = {
    "none": ([], ["purged"]),
    "records": (["records", "streams"], ["purged"]),  # of those times nothing knows of `brief`
    "feed": (["feed", "feed_head", "feed_pending"], ["purged", "brief"]),
    "placed": (["feed"], ["purged", "brief"]),
    "heads": (["feed_head"], ["purged"]),
    "pending": (["feed_pending"], ["purged"]),
    "streams": (["streams"], ["purged"]),
}


@pytest.mark.parametrize("torn", TORN)
def test_tables_of_different_times_are_brought_in_line_before_anybody_is_served(
    dumps: Dumps, other: str, torn: str
) -> None:
    """Live records are all in the feed, nothing is that no record has, and what was purged stays away."""
    older, away = TORN[torn]
    _restored(other, dumps.late, "--section=pre-data")
    tables = psql(other, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
    for file, names in ((dumps.early, older), (dumps.late, sorted(set(tables.split()) - set(older)))):
        if names:
            _restored(other, file, "--data-only", *(f"--table={name}" for name in names))
    _restored(other, dumps.late, "--section=post-data")
    with Service(database_url=other) as service:
        records = kept(service)
        assert told(service) == without(records, *away)
        assert (("ann", "d") in records) == (torn != "records")
        assert dumps.marks.answers(service) == ENDED
        _above_all(service, other)


def test_two_services_that_start_on_a_restored_database_begin_one_epoch(dsn: str, other: str, tmp_path: Path) -> None:
    """Each takes the cursors of the other; and both have the whole feed, which takes a while to bring in line."""
    with Service(database_url=dsn) as service:
        fill(service, dsn)
        marks = Marks.of(service)
    many = "SELECT 'main/main/other', 'main/favorites', 'item' || n, n, false, '', n FROM generate_series(1, 20000) n"
    psql(
        dsn,
        "INSERT INTO streams (user_id, seq) VALUES ('main/main/other', 20000)",
        f"INSERT INTO records (user_id, entity, item, action_us, deleted, digest, seq) {many}",
    )
    _restored(other, _dumped(dsn, tmp_path / "dump"))
    services = [Service(database_url=other) for _ in range(2)]
    with contextlib.ExitStack() as stack:
        for service in services:
            service.start(until=None)
            stack.push(service)
        for service in services:
            service.url = service.wait_for("listening")["url"]
        for service in services:
            service.wait_for("ready")
        taken = [Marks.of(service) for service in services]
        for service in services:
            assert [marks.answers(service), *(mine.answers(service) for mine in taken)] == [ENDED, HELD, HELD]
        begun = [line for service in services for line in service.lines if "a new epoch begins" in line]
        known = psql(other, "SELECT id FROM epoch")
        assert [known in line for line in begun if '"epoch"' in line] == [True]
    assert psql(other, "SELECT count(*) FROM feed WHERE user_id = 'main/main/other'") == "20000"


WHERE = """
SELECT format('system %s, database %s, timeline 1', system_identifier, oid)
  FROM pg_control_system(), pg_database WHERE datname = current_database()
"""


def _epoch(*words: str, **settings: object) -> str:
    done = favsync("epoch", *words, **settings)
    assert (done.returncode, [line for line in done.stderr.splitlines() if not line.startswith("{")]) == (0, []), done
    return done.stdout


def _last_words(stream: http.client.HTTPResponse) -> str:
    with contextlib.closing(stream):
        return stream.read().decode().rstrip().splitlines()[-1]


def test_what_was_put_back_in_place_is_told_by_hand_to_a_service_that_runs(dsn: str, tmp_path: Path) -> None:
    """Nothing in the database shows it: cursors from before go on, past what they have not seen. Until one says so."""
    with Service(database_url=dsn) as service:
        fill(service, dsn)
        before, dump = Marks.of(service), _dumped(dsn, tmp_path / "dump")
        epoch, place = psql(dsn, "SELECT id FROM epoch", WHERE).splitlines()
        shown = f"epoch     {epoch}\nbegun on  {place}\nnow on    {place}\n"
        write(service, "ann", "ADD", LATE, "lost", "lost too")
        write(service, "bob", "ADD", LATE, "lost")
        until(lambda: told(service) == without(kept(service), "purged"))
        after = Marks.of(service)

        _restored(dsn, dump, "--clean", "--if-exists")
        write(service, "ann", "ADD", LATE, "never seen", "nor this")
        write(service, "bob", "ADD", LATE, "never seen")
        until(lambda: told(service) == without(kept(service), "purged"))
        assert (before.answers(service)[:4], after.answers(service)) == (HELD[:4], HELD)
        assert read(service, f"after={after.feed}").content["changes"] == []
        assert _epoch("show", database_url=dsn) == shown
        streams = after.streams(service)
        assert [stream.status for stream in streams] == [200, 200]

        psql(dsn, "DELETE FROM feed WHERE item = 'a'", "UPDATE feed SET action_us = 1 WHERE item = 'nor this'")
        printed = _epoch("new", database_url=dsn)
        [begun] = re.findall(r"^epoch ([0-9a-f-]{36}) has begun; services see it within seconds$", printed)
        until(lambda: after.answers(service) == ENDED)
        assert before.answers(service) == ENDED
        assert [_last_words(stream) for stream in streams] == [": the cursor has ended"] * 2
        assert told(service) == without(kept(service), "purged")
        new = Marks.of(service)
        assert new.answers(service) == HELD
        _above_all(service, dsn)
        assert service.process.poll() is None
    assert begun != epoch
    assert _epoch("show", database_url=dsn) == shown.replace(epoch, begun)


def test_an_epoch_is_ended_by_hand_where_no_service_runs(data_dir: Path) -> None:
    """On the database that a data directory holds; the feed is in line when the command has ended."""
    with Service(data_dir=data_dir) as service:
        fill(service, data_dir)
        marks = Marks.of(service)
    before = _epoch("show", data_dir=data_dir).split()[1]
    assert before == embedded(data_dir, "SELECT id FROM epoch")
    embedded(data_dir, "DELETE FROM feed WHERE item = 'a'", "UPDATE feed SET item = 'of no record' WHERE item = 'b'")
    begun = _epoch("new", data_dir=data_dir).split()[1]
    assert _epoch("show", data_dir=data_dir).split()[1] == begun != before
    placed = "SELECT string_agg(item, ',' ORDER BY user_id, item) FROM feed"
    assert embedded(data_dir, placed, "SELECT count(*) FROM feed_pending") == "a,b,c,a,b\n0"
    with Service(data_dir=data_dir) as service:
        assert marks.answers(service) == ENDED
        assert told(service) == without(kept(service), "purged")


def test_an_epoch_that_was_begun_by_hand_is_on_disk(data_dir: Path) -> None:
    """Whatever is killed after that: else cursors would hold again of which it was said that they do not."""
    with Node(data_dir) as node:
        dsn = node.dsn("postgres")
        with Service(database_url=dsn) as service:
            fill(service, dsn)
        psql(dsn, pushed("bob", "late", LATE))
        with node.stopped("walwriter"):  # which else might write for whoever does not wait for it
            begun = _epoch("new", database_url=dsn).split()[1]
            node.kill()
        node.start()
        assert _epoch("show", database_url=dsn).split()[1] == begun
        assert node.sql("SELECT count(*) FROM feed_pending", "SELECT count(*) FROM feed WHERE item = 'late'") == "0\n1"


@pytest.fixture
def servers(data_dir: Path) -> Iterator[Pair]:
    with pair(data_dir.parent) as both:
        yield both


def _ready(service: Service) -> tuple[int, str]:
    answer = service.request("GET", "/readyz", user=None)
    return answer.status, answer.content.get("reason", "")


def _healed(service: Service) -> None:
    until(lambda: _ready(service)[0] == 200)


def _old_primary_is_refused(service: Service, servers: Pair, held: Marks) -> None:
    """The old primary is at the address again for a while: nothing is read from it, and nothing written to it."""
    servers.first.start()
    servers.lead(servers.first)
    servers.second.cut()
    until(lambda: "timeline" in _ready(service)[1])
    sent = [{"item": "split", "actionDate": LATEST, "action": "ADD"}]
    assert service.request("POST", POST, sent).status == 503
    assert service.request("GET", LIST).status == 503
    assert read(service, f"after={held.feed}").status == 503
    assert servers.first.sql("SELECT count(*) FROM records WHERE item = 'split'") == "0"
    servers.lead(servers.second)
    _healed(service)
    assert held.answers(service) == HELD
    assert ("ann", "split") not in kept(service)


def test_a_promotion_begins_an_epoch_before_the_first_answer(servers: Pair) -> None:
    """Also as long as the control file names the old timeline. The old primary, when it is back, is not served from."""
    with Service(database_url=servers.dsn) as service:
        fill(service, servers.dsn)
        marks = Marks.of(service)
        assert marks.answers(service) == HELD
        servers.caught_up()
        servers.first.kill()
        until(lambda: _ready(service)[0] == 503)
        with servers.second.stopped("checkpointer"):
            servers.promote()
            assert servers.second.sql("SELECT timeline_id FROM pg_control_checkpoint()") == "1"
            servers.lead(servers.second)
            deadline = time.monotonic() + DEADLINE_S
            while (status := service.request("GET", f"{LIST}?after={marks.cursor}").status) == 503:
                assert time.monotonic() < deadline
            assert status == 410
            _healed(service)
            assert marks.answers(service) == ENDED
            assert servers.second.sql("SELECT timeline_id FROM pg_control_checkpoint()") == "1"
            assert servers.second.sql("SELECT timeline FROM epoch") == "2"
        assert told(service) == without(kept(service), "purged")
        new = Marks.of(service)
        write(service, "ann", "ADD", LATEST, "after")
        assert [change["item"] for change in news(service, new.feed, 1)] == ["after"]
        _old_primary_is_refused(service, servers, Marks.of(service))


def test_a_service_notices_that_the_standby_it_is_connected_to_was_promoted(servers: Pair) -> None:
    """Its connections live through that: nothing but the sequencer's tick tells it."""
    with Service(database_url=servers.dsn) as service:
        fill(service, servers.dsn)
        marks = Marks.of(service)
    servers.caught_up()
    of_ours = "SELECT pid FROM pg_stat_activity WHERE application_name IN ('favsync', 'favsync sequencer')"
    dsn = servers.second.dsn("postgres")
    with Service(database_url=dsn, listen="false") as service:
        assert marks.answers(service) == HELD
        assert _epoch("show", database_url=dsn).rstrip().endswith(", a standby")
        assert "read-only" in favsync("epoch", "new", database_url=dsn).stderr
        connected = set(servers.second.sql(of_ours).split())
        assert len(connected) >= 2
        servers.first.kill()
        with servers.second.stopped("checkpointer"):
            servers.promote()
            until(lambda: marks.answers(service) == ENDED)
            assert connected <= set(servers.second.sql(of_ours).split())
        assert servers.second.sql("SELECT timeline FROM epoch") == "2"
        assert told(service) == without(kept(service), "purged")
        _above_all(service, dsn)


class Writer(threading.Thread):
    """One user, who writes item after item and remembers which were acknowledged."""

    def __init__(self, service: Service, user: str) -> None:
        super().__init__(daemon=True)
        self._service, self.user = service, user
        self.sent = 0
        self.acknowledged: set[tuple[str, str]] = set()
        self.stopping = False

    def run(self) -> None:
        while not self.stopping:
            items = [f"item{self.sent + number}" for number in range(5)]
            self.sent += len(items)
            content = [{"item": item, "actionDate": EARLY, "action": "ADD"} for item in items]
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = self._service.request("POST", POST, content, user=self.user, timeout_s=20)
                assert answer.status in (200, 503), answer
                if answer.status == 200:
                    self.acknowledged |= {(self.user, item) for item in items}
            time.sleep(0.01)


class Reader(threading.Thread):
    """A backend that follows the feed from its beginning, whatever happens to the database; `fault`: what ended it."""

    def __init__(self, service: Service) -> None:
        super().__init__(daemon=True)
        self._service = service
        self.positions: list[int] = []
        self.seen: set[tuple[str, str]] = set()
        self.fault: object = None
        self.stopping = False

    def run(self) -> None:
        after = ""
        while not self.stopping:
            try:
                answer = read(self._service, f"wait=1{after}")
            except (OSError, http.client.HTTPException) as error:
                self.fault = error
                return
            if answer.status == 503:
                time.sleep(0.05)
            elif answer.status == 200:
                after = f"&after={answer.content['cursor']}"
                self.positions += [change["position"] for change in answer.content["changes"]]
                self.seen |= {(change["user"], change["item"]) for change in answer.content["changes"]}
            else:
                self.fault = answer
                return


def test_where_failover_is_synchronous_cursors_go_on_and_nothing_acknowledged_is_lost(servers: Pair) -> None:
    """A reader sees positions rise across the failover, and in the end has all that was acknowledged."""
    with Service(database_url=servers.dsn, synchronous_failover="true") as service:
        write(service, "ann", "ADD", EARLY, "a")
        servers.synchronous()
        marks = Marks.of(service)
        writers, reader = [Writer(service, f"writer{number}") for number in range(3)], Reader(service)
        for thread in (*writers, reader):
            thread.start()
        for turn in range(2):
            acknowledged = [len(writer.acknowledged) for writer in writers]
            until(lambda: all(len(w.acknowledged) > n + 20 for w, n in zip(writers, acknowledged, strict=True)))  # noqa: B023 -- used within the turn
            assert reader.fault is None
            if turn == 0:
                servers.first.kill()
                servers.promote()
                servers.lead(servers.second)
        for writer in writers:
            writer.stopping = True
            writer.join()
        wanted = {("ann", "a")}.union(*(writer.acknowledged for writer in writers))
        until(lambda: reader.fault is not None or wanted <= reader.seen)
        reader.stopping = True
        reader.join()
        assert reader.fault is None
        assert reader.positions == sorted(set(reader.positions))
        assert marks.answers(service) == HELD
        assert [line for line in service.lines if "its epoch goes on" in line]
        assert servers.second.sql("SELECT timeline FROM epoch") == "2"
        _old_primary_is_refused(service, servers, Marks.of(service))


def test_a_write_that_no_standby_has_got_is_seen_by_nobody_and_so_hides_nothing(servers: Pair) -> None:
    """Else who had seen it would pass over what takes its place after the failover, and was acknowledged."""
    with Service(database_url=servers.dsn, synchronous_failover="true") as service:
        write(service, "ann", "ADD", EARLY, "a")
        until(lambda: told(service) == kept(service))
        servers.synchronous()
        servers.separate()
        sent = [{"item": "unacknowledged", "actionDate": EARLY, "action": "ADD"}]
        assert service.request("POST", POST, sent).status == 503
        marks = Marks.of(service)
        assert set(kept(service)) == set(told(service)) == {("ann", "a")}
        servers.first.kill()
        servers.promote()
        servers.lead(servers.second)
        until(lambda: service.request("POST", POST, [sent[0] | {"item": "acknowledged"}]).status == 200)
        assert [change["item"] for change in news(service, marks.feed, 1)] == ["acknowledged"]
        listed = service.request("GET", f"{LIST}?after={marks.cursor}")
        assert [record["item"] for record in listed.content] == ["acknowledged"]
        assert marks.answers(service) == [200, 200, 200, 200, 200]
