"""What every response has, and what the service says of itself."""

import asyncio
import inspect
import json

import pytest
import structlog
from aiohttp import web

from favsync.core import errors, timestamp
from favsync.http import access, problems
from tests.http.conftest import NOW, Client, bearer


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/getUserFavorites", 200),
        ("HEAD", "/getUserFavorites", 200),
        ("POST", "/getUserFavorites", 405),
        ("DELETE", "/postUserFavorites", 405),
        ("GET", "/nothing", 404),
        ("GET", "/getUserFavorites/", 404),
        ("BREW", "/", 400),
    ],
)
async def test_every_response_says_when_and_which(client: Client, method: str, path: str, status: int) -> None:
    response = await client.request(method, path, headers=bearer(**{"X-Request-ID": "abc-1"}))
    assert response.status == status
    assert response.headers["Sync-Time"] == NOW
    assert response.headers["X-Request-ID"] == "abc-1" or status == 400  # what is not HTTP has no headers
    assert response.headers["Server"] == "favsync"
    if status >= 400:
        assert response.content_type == "application/problem+json"
        assert (await response.json())["status"] == status
    if status == 405:
        assert response.headers["Allow"]


BAD = (400, "/problems/bad-request")
LARGE = (431, "/problems/request-header-fields-too-large")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"hello\r\n\r\n", BAD),
        (b"GET / HTTP/1.1\r\nAuthorization: Bearer seesecret\r\nno colon seesecret\r\n\r\n", BAD),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: seesecret\r\n\r\n", BAD),
        (b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + b"seesecret" * 5000 + b"\r\n\r\n", LARGE),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + (b"X: " + b"seesecret" * 900 + b"\r\n") * 9 + b"\r\n", LARGE),
        (b"GET /" + b"seesecret" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (414, "/problems/uri-too-long")),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03seesecret\r\n\r\n", BAD),
    ],
)
async def test_what_is_not_http_is_answered_and_not_repeated(
    client: Client,
    sent: bytes,
    expected: tuple[int, str],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(sent)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"Sync-Time: {NOW}".encode() in head
    document = json.loads(body)
    assert (document["status"], document["type"]) == expected
    assert head.split()[1] == str(expected[0]).encode()
    assert b"seesecret" not in answer
    assert "seesecret" not in caplog.text + "".join(capsys.readouterr())
    assert (await client.get("/healthz")).status == 200


async def test_who_hangs_up_in_the_middle_is_no_fault_of_ours(client: Client) -> None:
    head = f"POST /postUserFavorites HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer()['Authorization']}\r\n"
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            _reader, writer = await asyncio.open_connection(client.host, client.port)
            writer.write(head.encode() + b"Content-Length: 100\r\n\r\n[{")
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.close()
        await asyncio.sleep(0.3)
    assert [entry["status"] for entry in logs if entry["event"] == "request"] == [499] * 5
    assert {entry["log_level"] for entry in logs} == {"info"}


@pytest.mark.parametrize("expectation", ["100-continue", "100-Continue", "zz"])
async def test_expectations(client: Client, expectation: str) -> None:
    response = await client.post("/postUserFavorites", json=[], headers=bearer(Expect=expectation))
    assert response.status == 200
    assert response.headers["X-Request-ID"]


async def test_the_index_tells_the_limits(client: Client) -> None:
    content = await (await client.get("/")).json()
    assert content["name"] == "favsync"
    assert content["limits"] == {
        "maxBatch": 1000,
        "maxBodyBytes": 1048576,
        "maxItemsPerUser": 10000,
        "maxItemLength": 255,
        "maxFieldsBytes": 65536,
        "maxLimit": 10_000,
        "maxFeedLimit": 5000,
        "maxWaitSeconds": 60,
        "maxStreams": 5000,
        "maxAnswerFieldsBytes": 8 * 1024**2,
        "maxClockSkewSeconds": 600,
        "maxTokenLength": 8192,
        "maxWaitingWritesPerCaller": 1000,
        "maxLockedWritesPerUser": 100,
        "maxRequestsPerSecondPerUser": 1000,
        "maxRequestsPerSecondPerAddress": 10_000,
        "maxBadTokensPerSecondPerAddress": 100,
        "maxConnections": 10000,
        "maxHeadBytes": 65536,
        "maxHeaderBytes": 32768,
        "maxRequestLineBytes": 8190,
        "headTimeoutSeconds": 10,
        "bodyTimeoutSeconds": 30,
        "keepAliveSeconds": 75,
        "answerTimeoutSeconds": 30,
        "maxBytesHeldForClients": 268435456,
    }
    assert content["entities"] == {
        "favorites": {"path": "/sync/favorites", "feed": "/feed/favorites", "scope": "user", "maxItems": 10000}
    }
    assert {"/getUserFavorites", "/postUserFavorites", "/sync"} <= set(content["links"].values())
    for link in (*content["links"].values(), "/sync/favorites"):
        response = await client.get(link, headers=bearer())
        assert response.status in (200, 405), link


async def test_a_fault_of_ours_tells_the_caller_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("favsync.store.database.Database.fetch", broken)
    response = await client.get("/getUserFavorites", headers=bearer())
    assert response.status == 500
    assert "secret" not in await response.text()
    assert response.headers["Sync-Time"] == NOW


def test_every_error_that_a_caller_may_meet_has_a_row() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    met = {
        kind
        for kind in kinds
        if issubclass(kind, errors.RequestError | errors.Unavailable) and kind is not errors.RequestError
    }
    assert set(problems.TABLE) == met
    names = [problem.name for problem in problems.TABLE.values()]
    assert len(set(names)) == len(names)


def test_sync_time_is_in_milliseconds_whatever_the_clock_says() -> None:
    response = web.Response()
    access.stamp_headers(response, "abc-1", timestamp.parse(NOW) + 999)
    assert response.headers["Sync-Time"] == NOW
