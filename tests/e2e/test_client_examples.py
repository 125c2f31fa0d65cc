"""The programs of examples/device, against the real service and a network that loses, delays, cuts and refuses."""

import asyncio
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from tests.e2e.device_program import COMMANDS, Phone
from tests.e2e.faulty_proxy import FaultyProxy, Passed, at_random, once
from tests.e2e.service import Service, token
from tests.postgres import Server

SEED = int(os.environ.get("TEST_DEVICES_SEED", "20170502"))
ROUNDS = int(os.environ.get("TEST_DEVICES_ROUNDS", "8"))
GET = "/getUserFavorites"
POST = "/postUserFavorites"
YEAR_MS = 365 * 24 * 3600 * 1000
ITEMS = ["session_1", "session_2", "session_3", "é", "\U0001f600", "a/b?c=d&e#f 'g' \"h\""]

Tap = tuple[str, str, bool]  # item, date, deleted
State = dict[str, tuple[str, bool]]  # the law is that the greater one stands
languages = pytest.mark.parametrize("language", COMMANDS)


@pytest.fixture(scope="module")
def dsn(postgres: Server) -> Iterator[str]:
    name = asyncio.run(postgres.create_database())
    yield postgres.dsn(name)
    asyncio.run(postgres.drop_database(name))


@pytest.fixture(scope="module")
def service(dsn: str) -> Iterator[Service]:
    with Service(database_url=dsn, max_batch=5, max_body=1500, max_items=20) as running:
        yield running


@pytest.fixture
def proxy(service: Service) -> Iterator[FaultyProxy]:
    with FaultyProxy(service.url) as standing:
        yield standing


def _state(records: list[dict[str, str]]) -> State:
    return {one["item"]: (one["actionDate"], one["action"] == "DELETE") for one in records}


def _server(service: Service, user: str) -> State:
    return _state(service.request("GET", GET, user=user).content)


def _shown(phone: Phone, user: str) -> State:
    return _state(phone.listing(user)["records"])


def _sync_until_done(phone: Phone, user: str) -> None:
    for _ in range(10):
        if phone.attempt(user, token(user), "sync")[0] == 0:
            return
    phone.run(user, token(user), "sync")


def _database(phone: Phone) -> sqlite3.Connection:
    [path] = phone.folder.glob("*.db")
    return sqlite3.connect(path)


class Drill:
    """Two people; Ann has two phones in each language, and Bob signs in on one of hers."""

    def __init__(self, proxy: FaultyProxy, folder: Path) -> None:
        self.chance = random.Random(SEED)
        self.proxy = proxy
        self.phones = [
            Phone("Python", proxy.url, folder / "0", clock_error_ms=-YEAR_MS),
            Phone("TypeScript", proxy.url, folder / "1", clock_error_ms=3 * YEAR_MS),
            Phone("Python", proxy.url, folder / "2", clock_error_ms=90_000),
            Phone("TypeScript", proxy.url, folder / "3"),
        ]
        self.users = [(phone, "ann") for phone in self.phones] + [(self.phones[0], "bob"), (self.phones[1], "bob")]
        self.tokens = {user: token(user) for user in ("ann", "bob")}
        self.taps: dict[str, list[Tap]] = {"ann": [], "bob": []}
        self.killed = 0

    def tap(self, phone: Phone, user: str) -> None:
        item, action = self.chance.choice(ITEMS), self.chance.choice(["ADD", "DELETE"])
        at = phone.run(user, self.tokens[user], "tap", item, action).strip()
        self.taps[user].append((item, at, action == "DELETE"))

    def sync(self, phone: Phone, user: str) -> None:
        """Perhaps killed, and perhaps with the person tapping on while it runs; what it made of it is not asked."""
        met = self.proxy.met
        process = phone.start(user, self.tokens[user], "sync")
        if self.chance.random() < 0.3:
            self.tap(phone, user)
        elif self.chance.random() < 0.7:
            while self.proxy.met == met and process.poll() is None:
                time.sleep(0.001)
            time.sleep(self.chance.uniform(0, 0.05))  # from when it asks until it has stored the answer
            self.killed += process.poll() is None
            process.kill()
        process.communicate(timeout=120)

    def run(self) -> None:
        for phone, user in self.users:  # each learns its clock, so that what a tap prints is the date that is sent
            phone.run(user, self.tokens[user], "sync")
        self.proxy.fault = at_random(self.chance, 0.3)
        for _ in range(ROUNDS):
            for phone, user in self.chance.sample(self.users, k=4):
                for _ in range(self.chance.randrange(4)):
                    self.tap(phone, user)
            for phone, user in self.chance.sample(self.users, k=3):
                self.sync(phone, user)
        self.proxy.fault = lambda: None
        for _ in range(2):
            for phone, user in self.users:
                _sync_until_done(phone, user)


@pytest.mark.timeout(120 + 30 * ROUNDS)
def test_through_faults_and_kills_all_end_in_the_greatest_of_all_taps(
    service: Service, proxy: FaultyProxy, tmp_path: Path
) -> None:
    drill = Drill(proxy, tmp_path)
    drill.run()
    assert drill.killed
    greatest: dict[str, State] = {}
    for user, taps in drill.taps.items():
        greatest[user] = {item: (at, deleted) for item, at, deleted in sorted(taps)}
        assert _server(service, user) == greatest[user], f"seed {SEED}"
        sent = [_sent(passed) for passed in proxy.passed if passed.token == drill.tokens[user]]
        assert set().union(*sent) <= set(taps), f"{user} was sent what {user} did not tap, seed {SEED}"
    for phone, user in drill.users:
        listing = phone.listing(user)
        assert _state(listing["records"]) == greatest[user], f"{phone.language}, {user}, seed {SEED}"
        assert (listing["waiting"], listing["refused"]) == (0, {})


@languages
def test_in_one_round_trip_and_where_nothing_changed_with_304(
    language: str, service: Service, proxy: FaultyProxy, tmp_path: Path
) -> None:
    user, phone = f"trip-{language}", Phone(language, proxy.url, tmp_path)
    phone.run(user, token(user), "sync")
    assert [(one.method, one.path, one.status) for one in proxy.passed] == [("GET", "/", 200), ("GET", GET, 200)]
    service.request(
        "POST", POST, [{"item": "b", "actionDate": "2020-01-01T00:00:00.000001Z", "action": "ADD"}], user=user
    )
    phone.run(user, token(user), "tap", "a", "ADD")
    phone.run(user, token(user), "sync")
    assert [(one.method, one.status) for one in proxy.passed[2:]] == [("POST", 200)]
    assert _shown(phone, user) == _server(service, user)
    assert set(_server(service, user)) == {"a", "b"}
    for _ in range(2):
        phone.run(user, token(user), "sync")
    assert [(one.method, one.status) for one in proxy.passed[3:]] == [("GET", 200), ("GET", 304)]


@languages
@pytest.mark.parametrize("clock", [(3 * YEAR_MS, False), (3 * YEAR_MS, True), (-YEAR_MS, False), (-YEAR_MS, True)])
def test_a_wrong_clock_is_learned_and_what_was_tapped_by_it_gets_through(
    language: str, clock: tuple[int, bool], service: Service, proxy: FaultyProxy, tmp_path: Path
) -> None:
    error_ms, known_before = clock
    user, phone = f"clock-{language}-{error_ms}-{known_before}", Phone(language, proxy.url, tmp_path)
    if known_before:
        phone.run(user, token(user), "sync")
    phone.clock_error_ms = error_ms
    if known_before and error_ms < 0:
        phone.run(user, token(user), "sync")  # an offset that was right before is not seen to be wrong until then
    phone.run(user, token(user), "tap", "a", "ADD")
    proxy.fault = once("busy")
    phone.run(user, token(user), "sync")
    at, deleted = _server(service, user)["a"]
    assert abs(datetime.fromisoformat(at) - datetime.now(UTC)) < timedelta(seconds=30)
    assert _shown(phone, user) == {"a": (at, deleted)}
    assert phone.listing(user)["waiting"] == 0
    phone.run(user, token(user), "tap", "a", "DELETE")
    phone.run(user, token(user), "sync")
    assert _server(service, user)["a"] > (at, deleted)


@languages
def test_an_offset_is_sent_as_it_was_when_the_record_was_queued(
    language: str, service: Service, proxy: FaultyProxy, tmp_path: Path
) -> None:
    user, phone = f"offset-{language}", Phone(language, proxy.url, tmp_path, clock_error_ms=60_000)
    phone.run(user, token(user), "sync")
    dates = [phone.run(user, token(user), "tap", "a", "ADD").strip()]
    proxy.fault = at_random(random.Random(1), 1.0)
    phone.attempt(user, token(user), "sync")  # it may have learned what it liked
    proxy.fault = lambda: None
    phone.clock_error_ms = -60_000
    with _database(phone) as database:
        database.execute("UPDATE state SET offset_ms = 60000")
    dates.append(phone.run(user, token(user), "tap", "b", "ADD").strip())
    phone.run(user, token(user), "sync")
    assert _server(service, user) == {"a": (dates[0], False), "b": (dates[1], False)}
    assert {one.headers.get("Sync-Clock-Offset") for one in proxy.passed if one.method == "POST"} >= {"60000"}


@languages
def test_another_epoch_begins_and_what_the_service_forgot_is_told_again(
    language: str, postgres: Server, tmp_path: Path
) -> None:
    name = asyncio.run(postgres.create_database())
    user, dsn = "ann", postgres.dsn(name)
    with Service(database_url=dsn, max_batch=2) as service, FaultyProxy(service.url) as proxy:
        phone = Phone(language, proxy.url, tmp_path)
        for item in ["a", "b", "c", "d"]:
            phone.run(user, token(user), "tap", item, "ADD")
        phone.run(user, token(user), "sync")
        whole = _server(service, user)
        service.stop()
        asyncio.run(_execute(dsn, "DELETE FROM epoch; DELETE FROM records WHERE item IN ('b', 'c', 'd')"))
        service.start()
        proxy.target = service.url
        record = {"item": "e", "actionDate": "2020-01-01T00:00:00.000Z", "action": "ADD"}
        service.request("POST", POST, [record], user=user)
        phone.run(user, token(user), "sync")
        assert 410 in {one.status for one in proxy.passed}
        assert _server(service, user) == _shown(phone, user) == whole | _state([record])
        assert phone.listing(user)["waiting"] == 0
    asyncio.run(postgres.drop_database(name))


@languages
def test_a_cursor_is_not_kept_without_what_came_with_it(language: str, service: Service, tmp_path: Path) -> None:
    user, phone = f"atomic-{language}", Phone(language, service.url, tmp_path)
    phone.run(user, token(user), "sync")
    records = [{"item": item, "actionDate": "2020-01-01T00:00:00.000Z", "action": "ADD"} for item in ("a", "b")]
    service.request("POST", POST, records, user=user)
    with _database(phone) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON known WHEN new.item = 'b' BEGIN SELECT raise(ABORT, 'disk full'); END"
        )
    assert phone.attempt(user, token(user), "sync") == (1, "", "disk full\n")
    assert _shown(phone, user) == {}
    with _database(phone) as database:
        database.execute("DROP TRIGGER full")
    phone.run(user, token(user), "sync")
    assert _shown(phone, user) == _state(records)


@languages
def test_what_is_refused_does_not_hold_up_the_others(
    language: str, service: Service, proxy: FaultyProxy, tmp_path: Path
) -> None:
    user, phone = f"refused-{language}", Phone(language, proxy.url, tmp_path)
    phone.run(user, token(user), "tap", "first", "ADD")
    with _database(phone) as database:  # as an earlier release of the app may have queued them
        database.execute("INSERT INTO queue SELECT printf('%0256d', 0), at_us, 0, NULL FROM queue")
        database.execute(
            "INSERT INTO queue SELECT printf('%01600d', 0), at_us, 0, NULL FROM queue WHERE item = 'first'"
        )
    phone.run(user, token(user), "tap", "last", "ADD")
    phone.run(user, token(user), "sync")
    assert set(_server(service, user)) == {"first", "last"}
    listing = phone.listing(user)
    assert listing["waiting"] == 0
    assert set(_state(listing["records"])) == {"first", "last"}
    assert listing["refused"] == {
        "0" * 256: "item must have 1 to 255 characters",
        "0" * 1600: "the service answered 413. The body may have 1500 bytes.",
    }


@languages
def test_what_is_beyond_the_limit_is_told_and_may_be_tapped_again(
    language: str, service: Service, proxy: FaultyProxy, tmp_path: Path
) -> None:
    user, phone = f"limit-{language}", Phone(language, proxy.url, tmp_path)
    full = [{"item": f"i{n}", "actionDate": "2020-01-01T00:00:00.000Z", "action": "ADD"} for n in range(20)]
    for start in range(0, 20, 5):
        service.request("POST", POST, full[start : start + 5], user=user)
    phone.run(user, token(user), "tap", "one more", "ADD")
    phone.run(user, token(user), "tap", "i0", "DELETE")
    phone.run(user, token(user), "sync")
    assert phone.listing(user)["refused"] == {"one more": "there may be 20 items, and this would be one more"}
    assert _shown(phone, user) == _server(service, user)
    assert _server(service, user)["i0"][1]
    phone.run(user, token(user), "tap", "one more", "ADD")
    assert (phone.listing(user)["refused"], phone.listing(user)["waiting"]) == ({}, 1)


@languages
def test_a_batch_that_is_too_large_is_halved(
    language: str, service: Service, proxy: FaultyProxy, tmp_path: Path
) -> None:
    user, phone = f"large-{language}", Phone(language, proxy.url, tmp_path)
    for number in range(7):
        phone.run(user, token(user), "tap", f"{number:0250}", "ADD")  # five of them are more than 1500 bytes
    phone.run(user, token(user), "sync")
    assert len(_server(service, user)) == 7
    with _database(phone) as database:
        database.execute("UPDATE state SET batch = 100")  # the operator has lowered it since
    for number in range(7):
        phone.run(user, token(user), "tap", f"n{number}", "ADD")
    phone.run(user, token(user), "sync")
    assert {one.status for one in proxy.passed} == {200, 413, 422}
    assert _server(service, user) == _shown(phone, user)
    assert len(_server(service, user)) == 14


@languages
def test_without_a_valid_token_the_queue_is_kept_for_the_next(
    language: str, service: Service, proxy: FaultyProxy, tmp_path: Path
) -> None:
    user, phone = f"token-{language}", Phone(language, proxy.url, tmp_path)
    phone.run(user, "", "tap", "a", "ADD")
    status, _, complaint = phone.attempt(user, "expired", "sync")
    assert (status, complaint.strip()) == (1, "the token is not accepted: sign in again, and sync")
    assert phone.listing(user)["waiting"] == 1
    phone.run(user, token(user), "sync")
    assert _server(service, user) == _shown(phone, user)
    assert phone.listing(user)["waiting"] == 0


@languages
def test_a_service_that_asks_for_an_hour_is_left_alone(
    language: str, service: Service, proxy: FaultyProxy, tmp_path: Path
) -> None:
    user, phone = f"hour-{language}", Phone(language, proxy.url, tmp_path)
    phone.run(user, token(user), "tap", "a", "ADD")
    proxy.fault = lambda: "closed"
    status, _, complaint = phone.attempt(user, token(user), "sync")
    assert (status, complaint.strip()) == (1, "the service answered 503. closed")
    assert proxy.met == 2  # `/`, which may say what it likes, and what says no
    proxy.fault = lambda: None
    phone.run(user, token(user), "sync")
    assert _server(service, user) == _shown(phone, user)


@languages
def test_who_signs_in_next_on_the_same_phone_sends_nothing_of_who_was_there_before(
    language: str, service: Service, proxy: FaultyProxy, tmp_path: Path
) -> None:
    ann, bob, phone = f"was-{language}", f"is-{language}", Phone(language, proxy.url, tmp_path)
    phone.run(ann, token(ann), "sync")
    phone.run(ann, token(ann), "tap", "ann's", "ADD")
    phone.run(bob, token(bob), "tap", "bob's", "ADD")
    phone.run(bob, token(bob), "sync")
    assert (set(_shown(phone, bob)), set(_server(service, bob))) == ({"bob's"}, {"bob's"})
    assert not _server(service, ann)
    phone.run(ann, token(ann), "sync")
    assert set(_server(service, ann)) == {"ann's"}


@languages
@pytest.mark.parametrize("item", ["", "x" * 256])
def test_what_the_service_would_refuse_is_refused_at_the_tap(
    language: str, item: str, service: Service, tmp_path: Path
) -> None:
    status, _, complaint = Phone(language, service.url, tmp_path).attempt("ann", "", "tap", item, "ADD")
    assert status == 1
    assert complaint.startswith("an item has 1 to 255 characters")


async def _execute(dsn: str, statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statements)
    await connection.close()


def _sent(passed: Passed) -> set[Tap]:
    """What the service was given to store: the dates with the offset added."""
    offset = timedelta(milliseconds=int(passed.headers.get("Sync-Clock-Offset", "0")))
    return {
        (one["item"], _text(datetime.fromisoformat(one["actionDate"]) + offset), one["action"] == "DELETE")
        for one in passed.content or []
    }


def _text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
