"""examples/third_party against favsync: whatever is sent to both, both hold the same in the end."""

import asyncio
import http.client
import itertools
import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e.device_program import COMMANDS, Phone
from tests.e2e.service import Answer, Service, token
from tests.postgres import Server

HOME = Path(__file__).parents[2] / "examples" / "third_party"
GET = "/getUserFavorites"
POST = "/postUserFavorites"
USERS = itertools.count()
GOOD = {"item": "a", "actionDate": "2020-01-01T00:00:00.000Z", "action": "ADD"}


class ThirdParty:
    """`server.py` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.tokens, self._database = folder / "tokens", folder / "favourites.db"
        self.tokens.write_text("")
        self.url = ""
        self._process: subprocess.Popen[str]

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HOME / "server.py"), str(self.tokens), str(self._database), "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        with self._process.stdout as out:
            self.url = out.readline().split()[-1]

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


class Pair:
    """Both, and a person whom both know by the same token."""

    def __init__(self, favsync: Service, other: ThirdParty) -> None:
        self.favsync, self.other = favsync, other

    def newcomer(self) -> str:
        """The token of somebody whom neither has met."""
        user = f"user-{next(USERS)}"
        made = token(user)
        with self.other.tokens.open("a") as file:
            file.write(f"{made} {user}\n")
        return made

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[Answer, Answer]:
        """The same of favsync and of the other."""
        return ask(self.favsync.url, method, path, body, headers), ask(self.other.url, method, path, body, headers)

    def post(self, bearer: str, body: Any, **headers: str) -> int:
        """The status that both answered."""
        ours, theirs = self.ask("POST", POST, body, Authorization=f"Bearer {bearer}", **headers)
        assert ours.status == theirs.status, (ours.content, theirs.content)
        return ours.status

    def state(self, bearer: str) -> Any:
        """What both hold."""
        ours, theirs = self.ask("GET", GET, Authorization=f"Bearer {bearer}")
        assert ours.content == theirs.content
        return ours.content


def ask(url: str, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        with suppress(BrokenPipeError):  # where it is refused before all of it was sent
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        raw = response.read()
        return Answer(response.status, response.headers, json.loads(raw) if raw else None)
    finally:
        connection.close()


def _say(url: str, request: str) -> str:
    """All that is answered until the connection ends."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(request.encode())
        with connection.makefile(encoding="latin-1", newline="") as answers:
            return answers.read()


@pytest.fixture(scope="module")
def pair(postgres: Server, session_dir: Path) -> Iterator[Pair]:
    name = asyncio.run(postgres.create_database())
    folder = session_dir / "third-party"
    folder.mkdir()
    other = ThirdParty(folder)
    other.start()
    with Service(database_url=postgres.dsn(name), max_batch=10_000) as service:
        yield Pair(service, other)
    other.kill()
    asyncio.run(postgres.drop_database(name))


records = st.fixed_dictionaries(
    {
        "item": st.sampled_from(["session_1", "session_2", "é", "\U0001f600", "'; DROP TABLE favourites"]),
        "actionDate": st.sampled_from(
            [
                "2020-01-01T00:00:00.001Z",
                "2020-01-01T00:00:00.001001Z",
                "2020-01-01T00:00:00.0010009Z",
                "2020-01-01T01:00:00.001+01:00",
                "2020-01-01T00:00:00.002",
                "2019-12-31T23:59:60Z",
                "2019-12-31t18:30:00-05:30",
            ]
        ),
        "action": st.sampled_from(["ADD", "DELETE"]),
    }
)


@given(history=st.lists(st.lists(records, max_size=5), max_size=6), die=st.integers(0, 20))
def test_whatever_the_history_both_hold_the_same(pair: Pair, history: list[Any], die: int) -> None:
    bearer = pair.newcomer()
    for number, batch in enumerate(history):
        assert pair.post(bearer, batch, Content_Type="application/json") == 200
        if number == die:
            pair.other.kill()
            pair.other.start()
    assert len(pair.state(bearer)) == len({record["item"] for batch in history for record in batch})


@pytest.mark.parametrize(
    "date",
    [
        "2020-01-01T00:00:00Z", "2020-01-01 00:00:00", "2020-01-01t00:00:00.5z", "2020-06-30T23:59:60+00:00",
        "1970-01-01T00:00:00Z", "2020-02-29T23:59:59.9999999Z", "2020-01-01T00:00:00.000001-23:59",
    ],
)  # fmt: skip
def test_a_date_is_understood_alike(pair: Pair, date: str) -> None:
    bearer = pair.newcomer()
    assert pair.post(bearer, [GOOD | {"actionDate": date}]) == 200
    [record] = pair.state(bearer)
    assert record["actionDate"].endswith("Z")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"[", 400), (b"\xff", 400), ('["é"]'.encode("utf-16"), 400), (b"[" * 100_000, 400),
        (b"null", 422), (b"{}", 422), ([1], 422), ([[]], 422), ([{}], 422),
        *[([GOOD, {**GOOD, "item": item}], 422) for item in ["", "x" * 256, "a\0b", "\ud800", 1, None, ["a"]]],
        *[([GOOD, {**GOOD, "action": action}], 422) for action in ["", "add", "REMOVE", 1, None]],
        *[([GOOD, {**GOOD, "actionDate": date}], 422) for date in [
            "", "yesterday", 1577836800, None, "2020-01-01", "2020-01-01T00:00Z", "2020-02-30T00:00:00Z",
            "20200101T000000Z", "2020-01-01T24:00:00Z", "2020-01-01T00:60:00Z", "2020-01-01T00:00:61Z",
            "2020-01-01T00:00:00+24:00", "2020-01-01T00:00:00+00:60", "2020-01-01T00:00:00,5Z",
            "2020-01-01T00:00:00.Z", "1969-12-31T23:59:59Z",
            "2101-01-01T00:00:00Z", "1970-01-01T00:00:00+00:01", "0000-01-01T00:00:00Z", "2020-01-01T00:00:00 Z",
            "2020-01-01T00:00:00." + "0" * 60 + "Z", "٢٠٢٠-01-01T00:00:00Z",
        ]],
        *[([GOOD, {name: GOOD[name] for name in GOOD if name != left_out}], 422) for left_out in GOOD],
        (b" " * 1_048_576 + b"[]", 413),
    ],
)  # fmt: skip
def test_bad_input_is_refused_alike_and_nothing_of_it_stored(pair: Pair, body: Any, status: int) -> None:
    bearer = pair.newcomer()
    assert pair.post(bearer, body) == status
    assert pair.state(bearer) == []


def test_what_else_a_request_holds_is_judged_alike(pair: Pair) -> None:
    bearer = pair.newcomer()
    assert pair.post(bearer, [GOOD | {"note": "left out"}], Content_Type="Application/JSON; charset=utf-8") == 200
    assert pair.post(bearer, [], Content_Type="text/plain") == 415
    assert pair.post(bearer, [], Content_Encoding="br") == 415
    assert pair.state(bearer) == [GOOD]
    for method, path in [("GET", GET), ("POST", POST), ("HEAD", GET)]:
        for authorization in ["", "Bearer", "Bearer nonsense", f"Basic {bearer}", bearer]:
            ours, theirs = pair.ask(method, path, [] if method == "POST" else None, Authorization=authorization)
            assert (ours.status, theirs.status) == (401, 401)
            assert theirs.headers["WWW-Authenticate"].startswith("Bearer")
    for path in ["/", GET + "/", "/getuserfavorites"]:
        assert ask(pair.other.url, "GET", path, None, {"Authorization": f"Bearer {bearer}"}).status == 404
    theirs = ask(pair.other.url, "DELETE", GET, None, {"Authorization": f"Bearer {bearer}"})
    assert (theirs.status, set(theirs.content)) == (501, {"error"})


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "header",
    [
        "Content-Length: {length}", "Content-Length : {length}", "Content-Length: 0\r\nContent-Length: {length}",
        "Content-Length: +{length}", "Transfer-Encoding: chunked", "X-Odd\r\nContent-Length: {length}",
    ],
)  # fmt: skip
def test_the_body_of_a_get_is_never_taken_for_a_request(pair: Pair, method: str, header: str) -> None:
    bearer = pair.newcomer()
    common = f"Host: it\r\nAuthorization: Bearer {bearer}\r\n"
    body = f"GET {GET} HTTP/1.1\r\n{common}\r\n"
    said = _say(pair.other.url, f"{method} {GET} HTTP/1.1\r\n{common}{header.format(length=len(body))}\r\n\r\n{body}")
    assert re.findall(r"^HTTP/1.1 (\d+)", said, re.MULTILINE) == ["400"]
    assert "Connection: close" in said


def test_a_post_of_two_lengths_is_refused_and_a_get_of_none_keeps_its_connection(pair: Pair) -> None:
    bearer = pair.newcomer()
    common = f"Host: it\r\nAuthorization: Bearer {bearer}\r\n"
    two = f"POST {POST} HTTP/1.1\r\n{common}Content-Length: 2\r\nContent-Length: 9\r\n\r\n[]GET / H"
    assert _say(pair.other.url, two).startswith("HTTP/1.1 411")
    get = f"GET {GET} HTTP/1.1\r\n{common}Content-Length: 0\r\n"
    assert _say(pair.other.url, f"{get}\r\n{get}Connection: close\r\n\r\n").count("HTTP/1.1 200") == 2


def test_a_tag_is_of_one_user_and_of_one_state(pair: Pair) -> None:
    ann, bob = pair.newcomer(), pair.newcomer()

    def read(bearer: str, tag: str) -> Answer:
        return ask(pair.other.url, "GET", GET, None, {"Authorization": f"Bearer {bearer}", "If-None-Match": tag})

    tag = read(ann, "").headers["ETag"]
    assert [read(ann, known).status for known in (tag, f'"x", W/{tag}', "*", '"x"')] == [304, 304, 304, 200]
    assert read(bob, tag).status == 200  # although both have nothing
    assert read(ann, tag).headers["Cache-Control"] == "private, no-cache"
    pair.other.kill()
    pair.other.start()
    assert read(ann, tag).status == 304
    pair.post(ann, [GOOD])
    assert read(ann, tag).status == 200
    assert (pair.state(ann), pair.state(bob)) == ([GOOD], [])


def test_of_many_who_write_at_once_the_greatest_stands(pair: Pair) -> None:
    bearer, chance, problems = pair.newcomer(), random.Random(7), []
    batches = [
        [
            {
                "item": f"i{chance.randrange(5)}",
                "actionDate": f"2020-01-01T00:00:{chance.randrange(60):02d}.000Z",
                "action": chance.choice(["ADD", "DELETE"]),
            }
            for _ in range(5)
        ]
        for _ in range(60)
    ]

    def write(some: list[Any]) -> None:
        for batch in some:
            answer = ask(pair.other.url, "POST", POST, batch, {"Authorization": f"Bearer {bearer}"})
            if answer.status != 200 or len(answer.content) < len({record["item"] for record in batch}):
                problems.append(answer)

    threads = [threading.Thread(target=write, args=(batches[start::6],)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems
    every = sorted((one["item"], one["actionDate"], one["action"]) for batch in batches for one in batch)
    greatest = {item: {"item": item, "actionDate": at, "action": action} for item, at, action in every}
    stored = ask(pair.other.url, "GET", GET, None, {"Authorization": f"Bearer {bearer}"}).content
    assert stored == list(greatest.values())


def test_what_it_cannot_start_with_is_said_in_a_sentence(tmp_path: Path) -> None:
    def start(tokens: str, *options: str) -> tuple[int, str]:
        command = [sys.executable, str(HOME / "server.py"), tokens, str(tmp_path / "db"), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        return done.returncode, done.stderr

    (tmp_path / "tokens").write_text("good ann\nsecret\n")
    status, said = start(str(tmp_path / "tokens"))
    assert (status, said) == (1, f"cannot start: {tmp_path}/tokens, line 2: a token and its user were expected\n")
    status, said = start(str(tmp_path / "none"))
    assert status == 1
    assert said.startswith("cannot start: ")
    assert said.count("\n") == 1


def test_the_commands_of_its_readme_print_what_it_says(tmp_path: Path) -> None:
    readme = (HOME / "README.md").read_text()
    [serve, tries, _check] = re.findall(r"```console\n(.*?)```", readme, re.DOTALL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    make_tokens, run = serve.strip().removeprefix("$ ").split("\n$ ")
    run = run.replace("python3 server.py", f"exec {sys.executable} {HOME}/server.py") + f" --port {port}"
    server = subprocess.Popen(
        ["/bin/bash", "-ec", f"{make_tokens}\n{run}"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    with server.stdout as out:
        assert out.readline() == f"listening on http://127.0.0.1:{port}\n"
    try:
        for one in tries.split("$ ")[1:]:
            command, expected = one.replace(":8090", f":{port}").split("\n", 1)
            done = subprocess.run(
                ["/bin/bash", "-ec", command], capture_output=True, text=True, timeout=30, check=False
            )
            assert done.stdout.strip() == expected.strip(), done.stderr
    finally:
        server.terminate()
        server.wait(10)


def test_the_devices_of_the_examples_work_with_it(pair: Pair, tmp_path: Path) -> None:
    bearer = pair.newcomer()
    phones = [Phone(language, pair.other.url, tmp_path / language) for language in COMMANDS]
    for number, phone in enumerate(phones):
        phone.run("ann", bearer, "tap", f"item {number}", "ADD")
        phone.run("ann", bearer, "sync")
    phones[1].run("ann", bearer, "tap", "item 0", "DELETE")
    for phone in [*reversed(phones), *phones]:
        phone.run("ann", bearer, "sync")
    stored = ask(pair.other.url, "GET", GET, None, {"Authorization": f"Bearer {bearer}"}).content
    assert [(one["item"], one["action"]) for one in stored] == [("item 0", "DELETE"), ("item 1", "ADD")]
    assert [phone.listing("ann") for phone in phones] == [{"records": stored, "waiting": 0, "refused": {}}] * 2
