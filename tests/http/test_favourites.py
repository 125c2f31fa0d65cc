"""The two endpoints: seed 003, and what this service adds to it."""

import asyncio
import base64
import gzip
import io
import time
import zlib
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from favsync.core import timestamp
from tests.http.conftest import NOW, NOW_US, Client, bearer

GET = "/getUserFavorites"
POST = "/postUserFavorites"

SEED_GET = b"""[{
"item" : "session_21982",
"actionDate" : "2017-05-02T10:45:12.798Z",
"action" : "ADD"
}, {
"item" : "session_114582",
"actionDate" : "2017-05-03T12:15:00.128Z",
"action" : "DELETE"
}]"""
SEED_POST = b"""[{
"item" : "session_21982",
"actionDate" : "2017-05-02T10:45:12.798Z",
"action" : "DELETE"
}, {
"item" : "session_114582",
"actionDate" : "2017-05-03T12:15:00.128Z",
"action" : "ADD"
}]"""

Json = Any


def fav(item: str, action: str = "ADD", date: str = "2020-01-01T00:00:00.000Z") -> dict[str, str]:
    return {"item": item, "actionDate": date, "action": action}


async def post(client: Client, content: Json, user: str = "ann", **headers: str) -> Json:
    response = await client.post(POST, json=content, headers=bearer(user, **headers))
    assert response.status == 200, await response.text()
    return (await response.json())["receipts"]


async def get(client: Client, user: str = "ann", after: str | None = None) -> tuple[Json, str]:
    response = await client.get(GET, params={"after": after} if after else {}, headers=bearer(user))
    assert response.status == 200, await response.text()
    return await response.json(), response.headers["Sync-Cursor"]


async def problem(response: Any) -> Json:
    assert response.content_type == "application/problem+json"
    document = await response.json()
    assert document["status"] == response.status
    assert document["type"].startswith("/problems/")
    return document


async def test_the_seed_byte_for_byte(client: Client) -> None:
    for body, outcomes in ((SEED_GET, ["applied", "applied"]), (SEED_POST, ["applied", "superseded"])):
        response = await client.post(POST, data=body, headers=bearer(**{"Content-Type": "application/json"}))
        assert [receipt["outcome"] for receipt in (await response.json())["receipts"]] == outcomes
        content = await (await client.get(GET, headers=bearer())).read()
        if body is SEED_GET:
            assert sorted(orjson.loads(content), key=str) == sorted(orjson.loads(SEED_GET), key=str)
    # On the same instant, DELETE beats ADD: for both.
    assert content == (
        b'[{"item":"session_114582","actionDate":"2017-05-03T12:15:00.128Z","action":"DELETE"},'
        b'{"item":"session_21982","actionDate":"2017-05-02T10:45:12.798Z","action":"DELETE"}]'
    )


async def test_a_receipt_for_each_record_in_order(client: Client) -> None:
    await post(client, [fav("a", date="2020-01-02"[:10] + "T00:00:00Z"), fav("b")])
    receipts = await post(
        client,
        [
            fav("b"),
            fav("a", "DELETE"),
            fav("c", date="2020-01-01T02:00:00.000001+02:00"),
            fav("d", date="2026-03-04T05:16:07.089001Z"),
            fav("e", date="2026-03-04T05:16:07.089Z"),
        ],
    )
    assert receipts == [
        {"item": "b", "outcome": "duplicate", "action": "ADD", "actionDate": "2020-01-01T00:00:00.000Z"},
        {"item": "a", "outcome": "superseded", "action": "ADD", "actionDate": "2020-01-02T00:00:00.000Z"},
        {"item": "c", "outcome": "applied", "action": "ADD", "actionDate": "2020-01-01T00:00:00.000001Z"},
        {
            "item": "d",
            "outcome": "future",
            "action": "ADD",
            "actionDate": "2026-03-04T05:16:07.089001Z",
            "detail": f"more than 600 s ahead of the server, where it is {NOW}",
        },
        {"item": "e", "outcome": "applied", "action": "ADD", "actionDate": "2026-03-04T05:16:07.089Z"},
    ]
    assert [record["item"] for record in (await get(client))[0]] == ["a", "b", "c", "e"]


async def test_the_same_item_twice_is_as_if_posted_one_by_one(client: Client) -> None:
    days = [f"2020-01-0{day}T00:00:00.000Z" for day in range(6)]
    sent = [
        fav("x", "ADD", days[2]),
        fav("x", "DELETE", days[4]),
        fav("x", "ADD", days[3]),
        fav("x", "DELETE", days[4]),
        fav("x", "ADD", days[5]),
    ]
    together = await post(client, sent, "ann")
    one_by_one = [receipt for record in sent for receipt in await post(client, [record], "bob")]
    assert together == one_by_one
    assert [receipt["outcome"] for receipt in together] == [
        "applied", "applied", "superseded", "duplicate", "applied",
    ]  # fmt: skip
    assert (await get(client, "ann"))[0] == (await get(client, "bob"))[0] == [fav("x", "ADD", days[5])]


async def test_nothing_to_say(client: Client) -> None:
    assert await post(client, []) == []
    content, cursor = await get(client)
    assert content == []
    assert await get(client, after=cursor) == ([], cursor)


async def test_changes_since_a_cursor(client: Client) -> None:
    await post(client, [fav("a"), fav("b")])
    _, cursor = await get(client)
    await post(client, [fav("b", "DELETE"), fav("c")])
    changes, later = await get(client, after=cursor)
    assert changes == [fav("b", "DELETE"), fav("c")]
    assert await get(client, after=later) == ([], later)
    await post(client, [fav("b", "DELETE"), fav("c")])
    assert await get(client, after=later) == ([], later)


async def test_a_cursor_is_its_owners_alone(client: Client) -> None:
    await post(client, [fav("a")], "ann")
    await post(client, [fav("b")], "bob")
    _, cursor = await get(client, "ann")
    document = await problem(await client.get(GET, params={"after": cursor}, headers=bearer("bob")))
    assert document["status"] == 410
    assert "without `after`" in document["detail"]
    for made_up in ("undefined", "", "A" * 34):
        response = await client.get(GET, params={"after": made_up}, headers=bearer("bob"))
        assert response.status == (410 if len(made_up) == 34 else 400)
        await problem(response)


async def test_a_cursor_ahead_of_the_database_has_expired(client: Client, connection: Any) -> None:
    await post(client, [fav("a"), fav("b")])
    _, cursor = await get(client)
    await connection.execute("UPDATE streams SET seq = 1")  # a disk snapshot put back: the epoch is the same
    response = await client.get(GET, params={"after": cursor}, headers=bearer())
    assert (await problem(response))["status"] == 410
    wish = bearer(Prefer="return=representation")
    response = await client.post(POST, json=[fav("c")], params={"after": cursor}, headers=wish)
    assert (await problem(response))["status"] == 410
    assert [record["item"] for record in (await get(client))[0]] == ["a", "b"], "refused, and stored all the same"


async def test_a_database_that_is_replaced_under_a_running_service_ends_its_cursors(
    client: Client, connection: Any
) -> None:
    await post(client, [fav("a")])
    response = await client.get(GET, headers=bearer())
    cursor, etag = response.headers["Sync-Cursor"], response.headers["ETag"]
    await connection.execute("UPDATE epoch SET system_identifier = system_identifier + 1")
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'favsync'"
    )
    await asyncio.sleep(0.2)
    response = await client.get(GET, params={"after": cursor}, headers=bearer())
    assert (await problem(response))["status"] == 410, "already the request that meets the other database"
    response = await client.get(GET, headers=bearer(**{"If-None-Match": etag}))
    assert response.status == 200
    assert response.headers["Sync-Cursor"] != cursor


async def test_etag(client: Client) -> None:
    await post(client, [fav("a")], "ann")
    await post(client, [fav("b")], "bob")
    response = await client.get(GET, headers=bearer("ann"))
    etag, cursor = response.headers["ETag"], response.headers["Sync-Cursor"]
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert response.headers["Vary"] == "Authorization, Accept, Accept-Encoding, Prefer"

    async def status(user: str, tag: str, **params: str) -> int:
        answer = await client.get(GET, params=params, headers=bearer(user, **{"If-None-Match": tag}))
        if answer.status == 304:
            assert answer.headers["ETag"]
            assert answer.headers["Cache-Control"] == "private, no-cache"
            assert await answer.read() == b""
        return answer.status

    assert await status("ann", etag) == 304
    assert await status("ann", f'"x", {etag.removeprefix("W/")}') == 304
    assert await status("ann", "*") == 304
    assert await status("ann", '"x"') == 200
    assert await status("ann", etag[:-3] + '"') == 200
    assert await status("bob", etag) == 200  # the same URL and the same seq, another user
    assert await status("ann", etag, after=cursor) == 200  # another representation
    await post(client, [fav("a")], "ann")
    assert await status("ann", etag) == 304  # nothing changed
    await post(client, [fav("a", "DELETE")], "ann")
    assert await status("ann", etag) == 200


@pytest.mark.parametrize(
    ("accept", "gzipped"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("*", True), ("gzip;q=0", False), ("identity", False), ("", False)],
)
async def test_gzip_when_asked_and_worth_it(client: Client, accept: str, gzipped: bool) -> None:
    await post(client, [fav("a")])
    response = await client.get(GET, headers=bearer(**{"Accept-Encoding": accept}))
    assert "Content-Encoding" not in response.headers
    await post(client, [fav(f"session_{number}") for number in range(200)])
    response = await client.get(GET, headers=bearer(**{"Accept-Encoding": accept}))
    assert (response.headers.get("Content-Encoding") == "gzip") == gzipped
    assert len(await response.json()) == 201


async def test_prefer_return_minimal(client: Client) -> None:
    response = await client.post(POST, json=[fav("a")], headers=bearer(Prefer="return=minimal"))
    assert response.status == 204
    assert response.headers["Preference-Applied"] == "return=minimal"
    assert await response.read() == b""
    # Not where something was refused: a device that hears no receipt would forget it.
    response = await client.post(
        POST, json=[fav("a", date="2030-01-01T00:00:00Z")], headers=bearer(Prefer="return=minimal")
    )
    assert response.status == 200
    assert "Preference-Applied" not in response.headers
    assert (await response.json())["receipts"][0]["outcome"] == "future"


async def test_prefer_return_representation(client: Client) -> None:
    await post(client, [fav("a"), fav("b")])
    _, cursor = await get(client)
    wish = bearer(Prefer='return="representation"; foo, respond-async')
    response = await client.post(POST, json=[fav("c")], headers=wish)
    assert response.headers["Preference-Applied"] == "return=representation"
    assert await response.json() == [fav("a"), fav("b"), fav("c")]
    assert (response.headers["Sync-Cursor"], response.headers["ETag"]) == await _marks(client)
    response = await client.post(POST, json=[fav("a", "DELETE")], params={"after": cursor}, headers=wish)
    assert await response.json() == [fav("a", "DELETE"), fav("c")]
    assert response.headers["Sync-Cursor"] == (await _marks(client))[0]
    response = await client.post(POST, json=[fav("z")], params={"after": "A" * 34}, headers=wish)
    assert response.status == 410
    assert "z" not in [record["item"] for record in (await get(client))[0]], "refused, and stored all the same"
    response = await client.post(POST, json=[fav("f", date="2030-01-01T00:00:00Z")], headers=wish)
    assert (await response.json())["receipts"][0]["outcome"] == "future"


async def _marks(client: Client) -> tuple[str, str]:
    response = await client.get(GET, headers=bearer())
    return response.headers["Sync-Cursor"], response.headers["ETag"]


async def test_a_plain_receipt_carries_no_cursor(client: Client) -> None:
    response = await client.post(POST, json=[fav("a")], headers=bearer())
    assert "Sync-Cursor" not in response.headers


NOT_A_DATE = "is not an RFC 3339 date and time such as 2017-05-02T10:45:12.798Z"
BAD: list[tuple[Json, list[tuple[str, str]]]] = [
    (3, [("", "is not an object")]),
    (None, [("", "is not an object")]),
    ([fav("x")], [("", "is not an object")]),
    ({}, [("/item", "is missing"), ("/actionDate", "is missing"), ("/action", "is missing")]),
    (fav("x") | {"item": 7}, [("/item", "is not text")]),
    (fav("x") | {"item": None}, [("/item", "is null")]),
    (fav(""), [("/item", "must have 1 to 255 characters")]),
    (fav("x" * 256), [("/item", "must have 1 to 255 characters")]),
    (fav("a\0b"), [("/item", "holds a NUL character")]),
    (fav("x", "add"), [("/action", "must be one of: ADD, DELETE")]),
    (fav("x") | {"action": True}, [("/action", "is not text")]),
    (fav("x", date="2017-05-02"), [("/actionDate", NOT_A_DATE)]),
    (fav("x") | {"actionDate": 1493721912798}, [("/actionDate", "is not text")]),
    (fav("x", "no", "1969-01-01T00:00:00Z"), [("/actionDate", "is outside the years 1970 to 2100"), ("/action", "must be one of: ADD, DELETE")]),  # noqa: E501
]  # fmt: skip


async def test_every_fault_is_named_and_nothing_is_stored(client: Client) -> None:
    sent = [fav("good"), *(record for record, _ in BAD)]
    response = await client.post(POST, json=sent, headers=bearer())
    assert response.status == 422
    expected = [
        {"index": index, "pointer": f"/{index}{pointer}", "detail": detail}
        for index, (_, faults) in enumerate(BAD, start=1)
        for pointer, detail in faults
    ]
    assert (await problem(response))["errors"] == expected
    assert (await get(client))[0] == []


async def test_lenient_stores_the_valid_and_reports_the_rest(client: Client) -> None:
    sent = [fav("good"), *(record for record, _ in BAD), fav("better")]
    receipts = await post(client, sent, Prefer="handling=lenient, return=minimal")
    assert [receipt["outcome"] for receipt in receipts] == ["applied", *["invalid"] * len(BAD), "applied"]
    assert receipts[4] == {
        "item": None,
        "outcome": "invalid",
        "action": None,
        "actionDate": None,
        "detail": "item is missing; actionDate is missing; action is missing",
    }
    assert receipts[10] == {
        "item": "x",
        "outcome": "invalid",
        "action": None,
        "actionDate": "2020-01-01T00:00:00.000Z",
        "detail": "action must be one of: ADD, DELETE",
    }
    assert receipts[1]["detail"] == "is not an object"
    assert (await get(client))[0] == [fav("better"), fav("good")]
    response = await client.post(POST, json=[fav("c")], headers=bearer(Prefer="handling=lenient, return=minimal"))
    assert response.headers["Preference-Applied"] == "handling=lenient, return=minimal"


async def test_half_a_surrogate_pair_is_named(client: Client) -> None:
    body = rb'[{"item":"a","actionDate":"2020-01-01T00:00:00Z","action":"ADD"},{"item":"\ud800","actionDate":"\udfff","action":"ADD"}]'  # noqa: E501
    response = await client.post(POST, data=body, headers=bearer(**{"Content-Type": "application/json"}))
    assert response.status == 422
    assert [error["pointer"] for error in (await problem(response))["errors"]] == ["/1/item", "/1/actionDate"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[{]",
        b'{"a":1',
        b"\xff\xfe",
        b"[NaN]",
        b"[Infinity]",
        b"\xef\xbb\xbf[]",
        b"[" * 100_000,
        b"nul",
        b"'[]'",
    ],
)
async def test_what_is_not_json_is_400(client: Client, body: bytes) -> None:
    response = await client.post(POST, data=body, headers=bearer(**{"Content-Type": "application/json"}))
    assert response.status == 400
    assert (await problem(response))["type"] == "/problems/malformed-request"


@pytest.mark.parametrize("body", [b"{}", b"null", b'"x"', b"7", b'{"item": "x"}'])
async def test_what_is_not_an_array_is_422(client: Client, body: bytes) -> None:
    response = await client.post(POST, data=body, headers=bearer(**{"Content-Type": "application/json"}))
    assert response.status == 422
    assert (await problem(response))["errors"] == [{"index": None, "pointer": "", "detail": "is not an array"}]


@pytest.mark.parametrize("overrides", [{"max_batch": 3, "max_items": 4, "max_body": 2048}])
async def test_limits(client: Client) -> None:
    response = await client.post(POST, json=[fav(str(number)) for number in range(4)], headers=bearer())
    assert response.status == 422
    assert (await problem(response))["errors"][0]["detail"] == "has more than 3 records"
    for body in (b"[" + b" " * 2048 + b"]", b"[" + b" " * 1_000_000 + b"]"):
        for data in (body, gzip.compress(body)):
            coding = {"Content-Encoding": "gzip"} if data is not body else {}
            response = await client.post(
                POST, data=data, headers=bearer(**{"Content-Type": "application/json"} | coding)
            )
            assert response.status == 413, len(data)
            await problem(response)
    await post(client, [fav("a"), fav("b"), fav("c")])
    receipts = await post(client, [fav("d"), fav("e", "DELETE"), fav("a", "DELETE")])
    assert [receipt["outcome"] for receipt in receipts] == ["applied", "limit", "applied"]
    assert receipts[1]["detail"] == "there may be 4 items, and this would be one more"
    assert [record["item"] for record in (await get(client))[0]] == ["a", "b", "c", "d"]
    assert await post(client, [fav("e")], "bob") != []


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=UTF-8", 200),
        ("", 200),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
        ("application/json; charset=utf-16", 415),
        ("application/jsonx", 415),
        (";;;", 415),
    ],
)
async def test_content_type(client: Client, content_type: str, status: int) -> None:
    response = await client.post(POST, data=b"[]", headers=bearer(**{"Content-Type": content_type}))
    assert response.status == status
    response = await client.post(POST, data=b"[]", headers=bearer(), skip_auto_headers=["Content-Type"])
    assert response.status == 200


@pytest.mark.parametrize(
    ("coding", "pack", "status"),
    [
        ("gzip", gzip.compress, 200),
        ("X-GZIP", gzip.compress, 200),
        ("deflate", zlib.compress, 200),
        ("deflate", lambda body: zlib.compressobj(wbits=-15).compress(body) + b"", 400),
        ("deflate", lambda body: zlib.compress(body, wbits=-15), 200),
        ("identity", bytes, 200),
        ("gzip", bytes, 400),
        pytest.param("gzip", lambda body: gzip.compress(body)[:-4], 400, id="cut"),
        pytest.param("gzip", lambda body: gzip.compress(body) * 2, 400, id="twice"),
        ("br", bytes, 415),
        ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body)), 415),
    ],
)
async def test_packed_bodies(client: Client, coding: str, pack: Callable[[bytes], bytes], status: int) -> None:
    sent = pack(orjson.dumps([fav("a")]))
    headers = bearer(**{"Content-Type": "application/json", "Content-Encoding": coding})
    response = await client.post(POST, data=sent, headers=headers)
    assert response.status == status, await response.text()
    assert [record["item"] for record in (await get(client))[0]] == (["a"] if status == 200 else [])


async def test_a_bomb_stalls_nobody(client: Client) -> None:
    """A thousandth of what it unpacks to: refused without a token, and with one, and not unpacked meanwhile."""
    bomb = zlib.compress(bytes(300_000_000))
    headers = {"Content-Type": "application/json", "Content-Encoding": "deflate"}
    for more, status in (({}, 401), (bearer(), 413)):
        bombs = [asyncio.create_task(_post_bytes(client, bomb, headers | more)) for _ in range(4)]
        began = time.monotonic()
        assert (await client.get("/healthz")).status == 200
        assert time.monotonic() - began < 1
        assert await asyncio.gather(*bombs) == [status] * 4


async def _post_bytes(client: Client, body: bytes, headers: dict[str, str]) -> int:
    return (await client.post(POST, data=io.BytesIO(body), headers=headers)).status


async def test_the_clock_offset_is_added_exactly(client: Client) -> None:
    ahead = timestamp.render(NOW_US + 3_600_000_000)
    receipts = await post(client, [fav("a", date=ahead)])
    assert receipts[0]["outcome"] == "future"
    receipts = await post(client, [fav("a", date=ahead)], **{"Sync-Clock-Offset": "-3600000"})
    assert receipts == [{"item": "a", "outcome": "applied", "action": "ADD", "actionDate": NOW}]
    receipts = await post(client, [fav("a", date=ahead)], **{"Sync-Clock-Offset": "-3600000"})
    assert receipts[0]["outcome"] == "duplicate"
    receipts = await post(client, [fav("a", date="2026-03-04T05:06:07.088Z")], **{"Sync-Clock-Offset": "+1"})
    assert receipts[0]["outcome"] == "duplicate"


@pytest.mark.parametrize("offset", ["", "soon", "1.5", "1e3", "--1", "٣", "9" * 14])
async def test_an_offset_that_is_no_number(client: Client, offset: str) -> None:
    response = await client.post(POST, json=[], headers=bearer(**{"Sync-Clock-Offset": offset}))
    assert response.status == 400
    assert "Sync-Clock-Offset" in (await problem(response))["detail"]


async def test_an_offset_that_leaves_the_years(client: Client) -> None:
    response = await client.post(POST, json=[fav("a")], headers=bearer(**{"Sync-Clock-Offset": "-9999999999999"}))
    assert response.status == 422
    assert (await problem(response))["errors"] == [
        {
            "index": 0,
            "pointer": "/0/actionDate",
            "detail": "is outside the years 1970 to 2100, with the Sync-Clock-Offset added",
        }
    ]


async def test_what_an_object_holds_beyond_the_protocol_is_left_out(client: Client) -> None:
    await post(client, [fav("a") | {"token": "secret", "fields": {}, "": None}])
    assert (await get(client))[0] == [fav("a")]


async def test_writers_of_one_user_wait_in_a_lane_and_no_neighbour_does(client: Client, connection: Any) -> None:
    await post(client, [fav("a")], "ann")
    async with connection.transaction():
        await connection.execute("SELECT FROM streams WHERE user_id = 'main/main/ann' FOR UPDATE")
        blocked = [asyncio.create_task(_status(client, "ann", number)) for number in range(150)]
        await asyncio.sleep(0.3)
        for number in range(20):
            assert await asyncio.wait_for(_status(client, "bob", number), 1) == 200
        while sum(task.done() for task in blocked) < 150 - 101:  # one in the lane, a hundred behind it, no more
            await asyncio.sleep(0.05)
    statuses = await asyncio.gather(*blocked)
    assert set(statuses) == {200, 503}
    assert statuses.count(503) == 150 - 101
    stored = {record["item"] for record in (await get(client, "ann"))[0]}
    assert stored == {"a"} | {f"n{number}" for number, status in enumerate(statuses) if status == 200}


async def test_a_lock_that_is_never_given_back_ends_in_503(client: Client, connection: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("favsync.combiner.LOCK_WAIT_S", 1.0)
    await post(client, [fav("a")])
    async with connection.transaction():
        await connection.execute("SELECT FROM streams WHERE user_id = 'main/main/ann' FOR UPDATE")
        response = await client.post(POST, json=[fav("b")], headers=bearer())
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
        assert (await problem(response))["type"] == "/problems/busy"
        began = time.monotonic()
        assert set(await asyncio.gather(*(_status(client, "ann", number) for number in range(20)))) == {503}
        assert time.monotonic() - began < 4, "each waits its own second, and not for those before it"


async def _status(client: Client, user: str, number: int) -> int:
    response = await client.post(POST, json=[fav(f"n{number}")], headers=bearer(user))
    await response.read()
    return response.status


async def test_a_cursor_tells_nothing_of_its_user(client: Client) -> None:
    _, cursor = await get(client, "ann")
    assert b"ann" not in base64.urlsafe_b64decode(cursor + "==")
