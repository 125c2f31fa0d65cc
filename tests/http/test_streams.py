"""Event streams, of a feed and of one's own records: what is there, and then what comes."""

import asyncio
from typing import Any

import asyncpg
import orjson
import pytest
from yarl import URL

from favsync.core.record import Key, Record, Version
from favsync.http import events
from favsync.store import records, sql
from tests.http.conftest import Client, Serve, bearer
from tests.http.declared import ENTITIES, Json, backend, note, post, record
from tests.http.feeds import EVENTS, FEED, all_placed, page, reader, stream, until

NOTES = "/sync/notes"
LATER = "2020-01-02T00:00:00.000Z"


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"entities": ENTITIES}


async def own(client: Client, path: str = NOTES, user: str = "ann", **params: str) -> tuple[Json, str]:
    """What a user's GET gives, and its cursor."""
    response = await client.get(path, params=params, headers=bearer(user))
    assert response.status == 200, await response.text()
    return await response.json(), response.headers["Sync-Cursor"]


async def test_a_feed_tells_what_is_there_and_then_what_comes(client: Client, connection: asyncpg.Connection) -> None:
    """Each change as a page has it; and the id of an event is the cursor behind it, there and here."""
    await post(client, "/sync/favorites", [record("a"), record("b")])
    await post(client, "/sync/favorites", [record("c")], bearer("bob"))
    await all_placed(connection)
    async with stream(client) as opened:
        seen = await opened.events(3)
        await post(client, "/sync/favorites", [record("a", "DELETE")])
        seen += await opened.events(1)
        await post(client, "/sync/favorites", [record("d")])
        seen += await opened.events(1)
    assert seen[3].item == "a"
    whole = await page(client)
    assert [orjson.loads(event.data) for event in seen if event.data != seen[0].data] == whole["changes"]
    assert seen[-1].id == whole["cursor"]
    for number, event in enumerate(seen[2:], 2):
        rest = await page(client, FEED, after=event.id)
        assert [orjson.loads(later.data) for later in seen[number + 1 :]] == rest["changes"]
        async with stream(client, FEED, after=event.id) as again:
            assert await again.events(len(seen) - number - 1) == seen[number + 1 :]
    cursor = (await page(client, FEED, limit=1))["cursor"]
    async with stream(client, FEED, after=cursor) as again:
        assert await again.items(3) == [change["item"] for change in whole["changes"][1:]]


async def test_a_users_own_records_have_such_a_stream(client: Client) -> None:
    """By when they changed, deletions included; each as the list has it."""
    await post(client, NOTES, [note("b", "1"), note("a", "2")])
    await post(client, NOTES, [record("b", "DELETE", LATER)])
    await post(client, NOTES, [note("theirs")], bearer("bob"))
    async with stream(client, NOTES, bearer()) as opened:
        seen = await opened.events(2)
        await post(client, "/sync/jottings", [note("c", "3")])
        seen += await opened.events(1)
    shown, cursor = await own(client)
    assert [event.item for event in seen] == ["a", "b", "c"]
    assert sorted((orjson.loads(event.data) for event in seen), key=lambda one: str(one["item"])) == shown
    assert seen[-1].id == cursor
    assert (await own(client, after=seen[0].id))[0] == [one for one in shown if one["item"] != "a"]
    for path in (NOTES, "/sync/remarks"):
        async with stream(client, path, bearer(), after=seen[0].id) as again:
            assert await again.events(2) == seen[1:]
    await post(client, NOTES, [note("d", "4")])
    async with stream(client, NOTES, bearer(), after=cursor) as again:
        assert await again.items(1) == ["d"]


async def test_who_never_wrote_anything_hears_of_the_first(client: Client) -> None:
    async with stream(client, NOTES, bearer()) as opened, stream(client, NOTES, bearer("bob")) as bobs:
        await post(client, NOTES, [note("a")])
        assert await opened.items(1) == ["a"]
        await post(client, NOTES, [note("b")], bearer("bob"))
        assert await bobs.items(1) == ["b"], "and of nothing that is another's"


async def test_a_second_device_hears_of_it_whoever_wrote_and_no_other_user_does(client: Client) -> None:
    async with (
        stream(client, NOTES, bearer()) as phone,
        stream(client, NOTES, bearer()) as laptop,
        stream(client, NOTES, bearer("bob")) as bobs,
        stream(client, "/sync/free", bearer()) as other,
    ):
        await post(client, NOTES, [note("by herself")])
        await post(client, NOTES, [note("by a backend", user="ann")], backend())
        await post(client, "/sync", {"notes": [note("with others")], "free": [record("x")]})
        expected = ["by herself", "by a backend", "with others"]
        assert await phone.items(3) == await laptop.items(3) == expected
        assert await other.items(1) == ["x"]
        await post(client, NOTES, [note("bob's")], bearer("bob"))
        assert await bobs.items(1) == ["bob's"]


async def test_what_is_written_elsewhere_is_heard_of_too(client: Client, connection: asyncpg.Connection) -> None:
    """By another process, which leaves it in the queue; that the feed places it is news of whose it is."""
    async with stream(client, "/sync/favorites", bearer()) as anns, stream(client) as feed:
        offered = Record(Key("main/main/ann", "main/favorites", "x"), Version(1, deleted=False))
        await connection.execute(sql.query("records/push"), *records.arguments([offered], [None]))
        assert await anns.items(1) == await feed.items(1) == ["x"]


async def test_a_backend_may_follow_whom_it_may_read(client: Client) -> None:
    async with stream(client, NOTES, backend(), user="bob") as bobs:
        await post(client, NOTES, [note("backend's own")], backend())
        await post(client, NOTES, [note("b")], bearer("bob"))
        assert await bobs.items(1) == ["b"]
    response = await client.get(NOTES, params={"user": "bob"}, headers=bearer(Accept=EVENTS))
    assert response.status == 403


async def test_what_a_tenant_shares_all_of_it_hear_of(client: Client) -> None:
    session = record("s", fields={"title": "Keynote"})
    async with (
        stream(client, "/sync/sessions", bearer()) as anns,
        stream(client, "/sync/sessions", bearer("bob")) as bobs,
    ):
        for change in (session, record("s", "DELETE", LATER)):
            await post(client, "/sync/sessions", [change], backend())
            seen = [await opened.events(1) for opened in (anns, bobs)]
            assert seen[0] == seen[1]
            assert orjson.loads(seen[0][0].data) == change


async def test_last_event_id_goes_over_after(client: Client, connection: asyncpg.Connection) -> None:
    """As a browser sends it when it connects anew to the URL it was given. To whom it is no stream it says nothing."""
    for item in "abc":
        await post(client, "/sync/favorites", [record(item)])
        await all_placed(connection)
    for path, headers in ((FEED, reader()), ("/sync/favorites", bearer())):
        async with stream(client, path, headers) as opened:
            ids = [event.id for event in await opened.events(3)]
        async with stream(client, path, headers | {"Last-Event-ID": f" {ids[1]} "}, after=ids[0]) as opened:
            assert await opened.items(1) == ["c"]
        async with stream(client, path, headers | {"Last-Event-ID": ""}, after=ids[0]) as opened:
            assert await opened.items(2) == ["b", "c"]
        for resumed in (ids[1], "x"):
            response = await client.get(path, params={"after": ids[0]}, headers=headers | {"Last-Event-ID": resumed})
            content = await response.json()
            assert len(content["changes"] if path == FEED else content) == 2
        response = await client.get(path, headers=headers | {"Last-Event-ID": "x", "Accept": EVENTS})
        assert response.status == 400


@pytest.mark.parametrize(
    ("accept", "streams"),
    [
        ([EVENTS], True),
        (["TEXT/Event-Stream"], True),
        ([f"application/json, {EVENTS}"], True),
        ([f"application/json;q=1, {EVENTS} ; q=0.1, */*"], True),
        (["application/json", EVENTS], True),
        ([f"{EVENTS};q=0.001"], True),
        ([f"{EVENTS};charset=utf-8;q=1"], True),
        ([], False),
        ([""], False),
        (["*/*"], False),
        (["text/*"], False),
        (["application/json"], False),
        ([f"{EVENTS}s"], False),
        ([f"x{EVENTS}"], False),
        ([f"{EVENTS};q=0"], False),
        ([f"{EVENTS} ; Q = 0.000 , application/json"], False),
    ],
)
async def test_events_are_for_who_names_them(client: Client, *, accept: list[str], streams: bool) -> None:
    for path, headers in ((FEED, reader()), (NOTES, bearer())):
        sent = [*headers.items(), *(("Accept", one) for one in accept)]
        async with client.get(path, headers=sent, skip_auto_headers=["Accept"]) as response:
            assert response.status == 200
            assert response.content_type == (EVENTS if streams else "application/json")


async def test_other_doors_know_no_events(client: Client) -> None:
    """The legacy paths, a user's entities together, what is written, and HEAD."""
    await post(client, "/sync/favorites", [record("a")])
    accepting = bearer(Accept=EVENTS)
    for method, path in (
        ("GET", "/getUserFavorites"), ("GET", "/getUserRatings"), ("GET", "/sync"), ("HEAD", NOTES),
        ("POST", "/sync/favorites"), ("POST", NOTES), ("POST", "/postUserFavorites"),
    ):  # fmt: skip
        response = await client.request(method, path, headers=accepting, json=[] if method == "POST" else None)
        assert (response.status, response.content_type) == (200, "application/json"), path
        if method == "GET":
            cursor = response.headers["Sync-Cursor"]
            again = await client.get(path, headers=accepting | {"Last-Event-ID": cursor})
            assert await again.json() == await response.json(), "nor an event to go on behind"


@pytest.mark.parametrize("path", [FEED, "/sync/favorites"])
async def test_a_stream_is_kept_by_nobody_and_never_packed(client: Client, path: str) -> None:
    """What packs would hold back what it has not enough of yet, and so would a proxy that gathers."""
    await post(client, "/sync/favorites", [record(f"item{number}") for number in range(50)])
    headers = {"Accept-Encoding": "gzip", "If-None-Match": "*"}
    async with stream(client, path, (reader() if path == FEED else bearer()) | headers) as opened:
        sent = opened.response.headers
        assert "Content-Encoding" not in sent
        assert (sent["Cache-Control"], sent["X-Accel-Buffering"]) == ("private, no-cache", "no")
        assert "Accept" in sent["Vary"].split(", ")
        assert {"Sync-Time", "X-Request-ID"} <= set(sent)
        assert "ETag" not in sent
        await opened.events(50)


async def test_a_page_of_another_origin_may_read_them(serve: Serve) -> None:
    origin = "https://app.example.org"
    client = await serve(cors_origins=(origin,))
    for path, headers in ((FEED, reader()), ("/sync/favorites", bearer())):
        asked = {
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization,last-event-id",
        }
        preflight = await client.options(path, headers={"Origin": origin} | asked)
        assert "last-event-id" in preflight.headers["Access-Control-Allow-Headers"].lower()
        async with stream(client, path, headers | {"Origin": origin}) as opened:
            assert opened.response.headers["Access-Control-Allow-Origin"] == origin
            assert "Origin" in opened.response.headers["Vary"]


async def test_a_page_is_no_place_for_events(client: Client) -> None:
    await post(client, "/sync/favorites", [record("a"), record("b")])
    response = await client.get("/sync/favorites", params={"limit": "1"}, headers=bearer())
    leads_to = str(URL(str(response.links["next"]["url"])).relative())
    assert (await client.get(leads_to, headers=bearer())).status == 200
    assert (await client.get(leads_to, headers=bearer(Accept=EVENTS))).status == 400


async def test_what_cannot_begin_is_said_as_ever(client: Client) -> None:
    """Before a stream has begun its status can be told."""
    await post(client, NOTES, [note("a")])
    _, cursor = await own(client)
    for after, user, status in ((cursor, "bob", 410), ("x", "ann", 400), (cursor, "ann", 200)):
        async with client.get(NOTES, params={"after": after}, headers=bearer(user, Accept=EVENTS)) as response:
            assert response.status == status
            if status != 200:
                assert response.content_type == "application/problem+json"
    for name in ("limit", "wait"):
        assert (await client.get(FEED, params={name: "x"}, headers=reader(Accept=EVENTS))).status == 400
    assert (await client.get(NOTES, headers={"Accept": EVENTS})).status == 401


async def test_many_come_in_order_and_each_in_one_line(client: Client, connection: asyncpg.Connection) -> None:
    """More than a stream holds at a time, by number and by size."""
    text = "a line\nanother\r\n\u2028 \u2029 \u0085 \x0b data: x\n\n"
    count = 2 * events.ROWS_MAX + 50
    sent = [record(f"item{number:03d}", fields={"text": text, "x": "x" * 20}) for number in range(count)]
    await post(client, "/sync/free", sent)
    await post(client, "/sync/free", [record(f"large{n}", fields={"text": "x" * 60_000}) for n in range(10)])
    await all_placed(connection)
    for path, headers in (("/sync/free", bearer()), ("/feed/free", reader())):
        async with stream(client, path, headers) as opened:
            seen = await opened.events(count + 10)
        assert len({event.id for event in seen}) == count + 10
        items = [event.item for event in seen]
        assert sorted(items) == sorted([*(one["item"] for one in sent), *(f"large{n}" for n in range(10))])
        assert orjson.loads(seen[0].data)["fields"]["text"] == text
        if path == "/feed/free":
            positions = [orjson.loads(event.data)["position"] for event in seen]
            assert positions == sorted(positions)


async def test_where_nothing_comes_a_comment_does(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the client, and whoever is in between, knows that somebody is there; events begin the time anew."""
    monkeypatch.setattr(events, "COMMENT_S", 0.3)
    async with stream(client, NOTES, bearer()) as opened:
        for _ in range(3):
            await opened.comment("nothing new")
        await post(client, NOTES, [note("a")])
        assert await opened.items(1) == ["a"]
        await opened.comment("nothing new")


async def test_many_of_one_user_are_as_welcome_as_one_and_share_a_look(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the limit. A change costs one read for all who are at the same place."""
    count, opened, looks = 300, 0, 0
    look = records.changes
    all_are_there = asyncio.Event()

    async def counted(*args: Any, **how: Any) -> records.Listing:
        nonlocal looks
        looks += 1
        return await look(*args, **how)

    async def device() -> None:
        nonlocal opened
        async with stream(client, NOTES, bearer()) as mine:
            opened += 1
            await all_are_there.wait()
            assert await mine.items(2) == ["a", "b"]

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(device())
        await until(lambda: opened == count)
        monkeypatch.setattr(records, "changes", counted)
        all_are_there.set()
        for item in "ab":
            await post(client, NOTES, [note(item)])
    assert 0 < looks < 20
