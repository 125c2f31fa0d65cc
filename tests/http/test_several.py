"""/sync: all that is a user's own, in one answer and in one transaction."""

import asyncio
from itertools import chain

import pytest

from tests.http.conftest import Client, Serve, bearer
from tests.http.declared import (
    ENTITIES,
    WITH_THEM,
    Json,
    backend,
    cursor,
    get,
    note,
    pointers,
    post,
    record,
    refused,
)

SYNC = "/sync"
NOTHING: dict[str, Json] = {"favorites": [], "notes": [], "ratings": [], "free": [], "bare": []}
WHOLE = bearer(Prefer="return=representation")


@WITH_THEM
async def test_one_answer_for_all_that_is_a_users_own(client: Client) -> None:
    assert await get(client, SYNC) == NOTHING
    start = await cursor(client, SYNC)
    sent = {"notes": [note("b"), note("a")], "favorites": [record("x")], "free": []}
    receipts = await post(client, SYNC, sent)
    assert list(receipts) == ["notes", "favorites", "free"]
    assert [receipt["item"] for receipt in receipts["notes"]] == ["b", "a"]
    assert {receipt["outcome"] for receipt in chain.from_iterable(receipts.values())} == {"applied"}
    whole = NOTHING | {"notes": [note("a"), note("b")], "favorites": [record("x")]}
    assert await get(client, SYNC) == await get(client, SYNC, after=start) == whole
    assert await get(client, SYNC, bearer("bob")) == NOTHING
    assert await get(client, "/sync/notes") == whole["notes"]

    response = await client.get(SYNC, headers=bearer())
    seen, etag = response.headers["Sync-Cursor"], response.headers["ETag"]
    known = {"If-None-Match": etag}
    assert (await client.get(SYNC, headers=bearer(**known))).status == 304
    await post(client, "/getUserFavorites".replace("get", "post"), [record("x", "DELETE")])
    assert (await client.get(SYNC, headers=bearer(**known))).status == 200
    assert await get(client, SYNC, after=seen) == NOTHING | {"favorites": [record("x", "DELETE")]}
    assert (await client.get(SYNC, params={"after": seen}, headers=bearer("bob"))).status == 410
    assert (await client.get("/sync/notes", params={"after": seen}, headers=bearer())).status == 410
    assert await post(client, SYNC, {}) == {}


async def test_where_there_is_one_entity_a_list_is_not_what_holds_it(client: Client) -> None:
    """An HTTP client that goes by the tag alone must not take the one for the other."""
    tags = {(await client.get(path, headers=bearer())).headers["ETag"] for path in (SYNC, "/sync/favorites")}
    assert len(tags) == 2


@WITH_THEM
async def test_what_a_body_must_be(client: Client) -> None:
    for body in (b"[]", b"null", b'"x"', b"7"):
        assert await refused(client, SYNC, body) == [{"index": None, "pointer": "", "detail": "is not an object"}]
    faults = await refused(client, SYNC, {"no/te~s": [], "notes": {}, "Favorites": [], "free": None, "ratings": []})
    assert faults == [
        {"index": None, "pointer": "/no~1te~0s", "detail": "is not an entity"},
        {"index": None, "pointer": "/notes", "detail": "is not an array"},
        {"index": None, "pointer": "/Favorites", "detail": "is not an entity"},
        {"index": None, "pointer": "/free", "detail": "is not an array"},
    ]
    sent = {"favorites": [record("good")], "notes": [note("good"), record("a", fields={"tags": [1]}), 3]}
    faults = await refused(client, SYNC, sent | {"ratings": [record("a", "no", "2017")]})
    assert [(fault["index"], fault["pointer"]) for fault in faults] == [
        (1, "/notes/1/fields/tags/0"), (2, "/notes/2"),
        (0, "/ratings/0/actionDate"), (0, "/ratings/0/action"), (0, "/ratings/0/fields/stars"),
    ]  # fmt: skip
    assert await get(client, SYNC) == NOTHING, "all of it or nothing"
    receipts = await post(client, SYNC, sent, bearer(Prefer="handling=lenient"))
    assert [[one["outcome"] for one in receipts[name]] for name in sent] == [
        ["applied"],
        ["applied", "invalid", "invalid"],
    ]
    assert await get(client, SYNC) == NOTHING | {"favorites": [record("good")], "notes": [note("good")]}


@WITH_THEM
async def test_former_names_in_paths_and_bodies(client: Client) -> None:
    """Receipts bear the name that was sent; what is shown bears today's."""
    sent = {"remarks": [note("a"), note("b", "x")], "notes": [note("b", "x"), note("c")], "jottings": [note("c")]}
    receipts = await post(client, SYNC, sent)
    assert [[one["outcome"] for one in receipts[name]] for name in sent] == [
        ["applied"] * 2, ["duplicate", "applied"], ["duplicate"],
    ]  # fmt: skip
    shown = [note("a"), note("b", "x"), note("c")]
    assert await get(client, SYNC) == NOTHING | {"notes": shown}
    seen = await cursor(client, "/sync/notes")
    for path in ("/sync/notes", "/sync/remarks", "/sync/jottings"):
        assert await get(client, path) == shown
        assert await get(client, path, after=seen) == []
        assert await post(client, path, [note("a")]) == [
            {"item": "a", "outcome": "duplicate", "action": "ADD", "actionDate": note("a")["actionDate"]}
        ]
    assert pointers(await refused(client, SYNC, {"jottings": [record("a", fields=1)]})) == ["/jottings/0/fields"]


@WITH_THEM
async def test_preferences(client: Client) -> None:
    response = await client.post(SYNC, json={"notes": [note("a")]}, headers=bearer(Prefer="return=minimal"))
    assert response.status == 204
    start = await cursor(client, SYNC)
    response = await client.post(SYNC, json={"favorites": [record("x")]}, headers=WHOLE)
    assert await response.json() == NOTHING | {"notes": [note("a")], "favorites": [record("x")]}
    marks = await client.get(SYNC, headers=bearer())
    assert all(response.headers[name] == marks.headers[name] for name in ("ETag", "Sync-Cursor"))
    response = await client.post(SYNC, json={}, params={"after": start}, headers=WHOLE)
    assert await response.json() == NOTHING | {"favorites": [record("x")]}
    response = await client.post(SYNC, json={"notes": [note("lost")]}, params={"after": "A" * 34}, headers=WHOLE)
    assert response.status == 410
    assert [one["item"] for one in await get(client, "/sync/notes")] == ["a"], "refused, and stored all the same"
    sessions = {"sessions": [record("s", fields={"title": "x"})], "notes": [note("b")]}
    response = await client.post(SYNC, json=sessions, headers=backend(Prefer="return=representation"))
    assert list((await response.json())["receipts"]) == ["sessions", "notes"], "the list would not show the sessions"


async def test_limits_count_over_all(serve: Serve) -> None:
    client = await serve(entities=ENTITIES, max_batch=4, max_items=2)
    sent = {"favorites": [record("a"), record("b"), record("c")], "notes": [note("a"), note("b")]}
    [fault] = await refused(client, SYNC, sent)
    assert (fault["pointer"], fault["detail"]) == ("", "has more than 4 records")
    receipts = await post(client, SYNC, sent | {"notes": [note("a")]})
    assert [[one["outcome"] for one in receipts[name]] for name in sent] == [
        ["applied", "applied", "limit"],
        ["applied"],
    ]
    assert receipts["favorites"][2]["detail"] == "there may be 2 items, and this would be one more"
    receipts = await post(client, SYNC, {"remarks": [note("b")], "notes": [note("c")]})
    assert [one["outcome"] for one in chain(*receipts.values())] == ["applied", "limit"], "one entity, one limit"


@pytest.mark.parametrize("size", [5, 700])
async def test_a_transaction_is_seen_wholly_or_not_at_all(serve: Serve, size: int) -> None:
    """While two entities are written together, whoever reads finds both of one generation; with `after` too.

    700 of each are more than are read at once.
    """
    client = await serve(entities=ENTITIES, max_batch=2000)
    items = [f"i{number:03d}" for number in range(size)]

    async def write() -> None:
        for turn in range(25 if size < 100 else 8):
            day = f"2020-01-{turn + 1:02d}T00:00:00.000Z"
            await post(client, SYNC, {
                "notes": [note(item, str(turn), day) for item in items],
                "favorites": [record(item, "DELETE" if turn % 2 else "ADD", day) for item in items],
            })  # fmt: skip

    async def read(start: str) -> set[str]:
        met = set()
        while not writing.done():
            for content in (await get(client, SYNC), await get(client, SYNC, after=start)):
                days = {one["actionDate"] for name in ("notes", "favorites") for one in content[name]}
                assert len(days) <= 1
                assert {len(content["notes"]), len(content["favorites"])} in ({size}, {0})
                met |= days
        return met

    start = await cursor(client, SYNC)
    writing = asyncio.create_task(write())
    seen = await asyncio.gather(*(read(start) for _ in range(3)))
    await writing
    assert all(len(days) > 2 for days in seen), "the readers met too few generations to tell anything"
