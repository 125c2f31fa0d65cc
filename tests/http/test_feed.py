"""GET /feed/{entity}: what backends read, in pages."""

import itertools
import random
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from favsync.core.fields import canonical
from favsync.identity import issuers
from favsync.identity.issuers import Issuer
from favsync.store import bounded
from tests.http.conftest import Client, Serve, bearer, token
from tests.http.declared import DATE, ENTITIES, Json, backend, note, post, record
from tests.http.feeds import EVENTS, FEED, all_placed, page, reader

NOTES, FREE = "/feed/notes", "/feed/free"
LATER = "2020-01-02T00:00:00.000Z"
SEED = 20170502
OTHER_SECRET = "the secret of another issuer, as long"


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"entities": ENTITIES}


async def write(client: Client, connection: asyncpg.Connection, *records: Json, user: str = "ann") -> None:
    """Favourites of a user, each at the next position."""
    for one in records:
        await post(client, "/sync/favorites", [one], bearer(user))
        await all_placed(connection)


async def test_a_change_has_its_place_and_all_that_its_record_has(
    client: Client, connection: asyncpg.Connection
) -> None:
    """In this order, byte for byte, and nothing beside it."""
    sent = '{ "text":"\\u00fc\\/\\u001F", "n": 1.50e2, "any": {"b":-0.0,"a":[1e30,0.1,1E-7], "é":null} }'
    form = '{"any":{"a":[1e+30,0.1,1e-7],"b":0,"é":null},"n":150,"text":"ü/\\u001f"}'
    body = f'[{{"item":"a","actionDate":"{DATE}","action":"ADD","fields":{sent}}}]'.encode()
    headers = bearer(**{"Content-Type": "application/json"})
    assert (await client.post("/sync/notes", data=body, headers=headers)).status == 200
    await post(client, "/sync/notes", [record("b/ü", "DELETE", fields={"text": 7})], bearer("bob/x"))
    await all_placed(connection)
    response = await client.get(NOTES, headers=reader())
    text = await response.text()
    cursor = orjson.loads(text)["cursor"]
    assert len(cursor) == 44
    assert text == (
        f'{{"changes":[{{"position":1,"user":"ann","item":"a","actionDate":"{DATE}","action":"ADD","fields":{form}}},'
        f'{{"position":2,"user":"bob/x","item":"b/ü","actionDate":"{DATE}","action":"DELETE"}}],'
        f'"cursor":"{cursor}","hasMore":false}}'
    )
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert {"Authorization", "Accept", "Accept-Encoding"} <= set(response.headers["Vary"].split(", "))


async def test_a_feed_in_which_nothing_is_has_a_cursor_too(client: Client, connection: asyncpg.Connection) -> None:
    empty = await page(client)
    assert (empty["changes"], empty["hasMore"]) == ([], False)
    assert await page(client, FEED, after=empty["cursor"]) == empty
    await write(client, connection, record("a"))
    [change] = (await page(client, FEED, after=empty["cursor"]))["changes"]
    assert change == {"position": 1, "user": "ann", **record("a")}


async def test_a_record_that_changes_moves_to_the_end(client: Client, connection: asyncpg.Connection) -> None:
    """Each is there once; deletions too."""
    await write(client, connection, record("a"), record("b"), record("c"))
    seen = await page(client)
    assert [one["item"] for one in seen["changes"]] == ["a", "b", "c"]
    await write(client, connection, record("a", "DELETE"), record("b", date=LATER))
    expected = [("c", "ADD", DATE), ("a", "DELETE", DATE), ("b", "ADD", LATER)]
    whole = await page(client)
    assert [(one["item"], one["action"], one["actionDate"]) for one in whole["changes"]] == expected
    news = await page(client, FEED, after=seen["cursor"])
    assert news["changes"] == whole["changes"][1:]
    assert min(one["position"] for one in news["changes"]) > max(one["position"] for one in seen["changes"])
    assert news["cursor"] == whole["cursor"]


async def test_nothing_comes_of_what_changes_nothing(client: Client, connection: asyncpg.Connection) -> None:
    """Duplicates, and what loses; and who asks again has the same answer, and cursor, byte for byte."""
    await write(client, connection, record("a", date=LATER), record("b"))
    whole = await page(client)
    await write(client, connection, record("a", date=LATER), record("a"), record("b"))
    assert await page(client) == whole
    onward = await page(client, FEED, after=whole["cursor"])
    assert onward == {"changes": [], "cursor": whole["cursor"], "hasMore": False}
    for limit in (1, 2, 3):
        assert (await page(client, FEED, after=whole["cursor"], limit=limit)) == onward


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        *(("limit", value, 200) for value in ("1", "5000", "0001")),
        *(("limit", value, 400) for value in ("0", "5001", "x", "", "-1", "+1", "1.0", "1e3", "00001", " 1", "\u0661")),
        *(("wait", value, 200) for value in ("0", "60", "1")),
        *(("wait", value, 400) for value in ("61", "-1", "1.5", "", "x", "00001", "nan")),
    ],
)
async def test_the_edges_of_what_may_be_asked(
    client: Client, connection: asyncpg.Connection, *, name: str, value: str, status: int
) -> None:
    """There is news, so that nobody waits."""
    await write(client, connection, record("a"))
    response = await client.get(FEED, params={name: value}, headers=reader())
    assert response.status == status
    if status == 400:
        detail = (await response.json())["detail"]
        assert detail.startswith(f"`{name}` must be a whole number from ")


async def test_a_page_has_as_much_as_was_asked_for(client: Client, connection: asyncpg.Connection) -> None:
    """What is just full has nothing behind it."""
    await post(client, "/sync/favorites", [record(str(number)) for number in range(10)])
    await all_placed(connection)
    for limit in (1, 3, 5, 9, 10, 11):
        pages = [await page(client, FEED, limit=limit)]
        while pages[-1]["hasMore"]:
            pages.append(await page(client, FEED, limit=limit, after=pages[-1]["cursor"]))
        sizes = [len(one["changes"]) for one in pages]
        assert sizes == [limit] * (10 // limit) + ([10 % limit] if 10 % limit else [])
        whole = await page(client)
        assert list(itertools.chain(*(one["changes"] for one in pages))) == whole["changes"]
        assert pages[-1]["cursor"] == whole["cursor"]


async def test_without_a_limit_there_is_one(client: Client, connection: asyncpg.Connection) -> None:
    await _fill(connection, 5001, 0)
    first = await page(client, FREE)
    assert (len(first["changes"]), first["hasMore"]) == (1000, True)
    most = await page(client, FREE, limit=5000)
    assert (len(most["changes"]), most["hasMore"]) == (5000, True)
    assert len((await page(client, FREE, after=most["cursor"]))["changes"]) == 1


async def test_who_reads_all_in_pages_misses_nothing_that_changes_meanwhile(
    client: Client, connection: asyncpg.Connection
) -> None:
    """Each version that is met is met once, and of each record the last."""
    chance = random.Random(SEED)
    users, items = ["ann", "bob"], [f"item{number}" for number in range(20)]
    for user in users:
        await post(client, "/sync/favorites", [record(item) for item in items], bearer(user))
    await all_placed(connection)
    seen: dict[tuple[str, str], Json] = {}
    versions: list[tuple[str, ...]] = []
    last, content = 0, await page(client, FEED, limit=7)
    for turn in itertools.count(1):
        for change in content["changes"]:
            assert change["position"] > last
            last = change.pop("position")
            seen[change["user"], change["item"]] = change
            versions.append(tuple(change.values()))
        if turn <= 10:
            for user in users:
                date = f"2020-01-02T00:00:{turn:02d}.000Z"
                changed = [record(item, chance.choice(["ADD", "DELETE"]), date) for item in chance.sample(items, 3)]
                await post(client, "/sync/favorites", changed, bearer(user))
            await all_placed(connection)
        elif not content["hasMore"]:
            break
        content = await page(client, FEED, limit=7, after=content["cursor"])
    assert turn > 11
    assert len(versions) == len(set(versions)) > 40
    for user in users:
        whole = await (await client.get("/sync/favorites", headers=bearer(user))).json()
        assert whole == [
            {name: value for name, value in seen[user, item].items() if name != "user"} for item in sorted(items)
        ]


async def _fill(connection: asyncpg.Connection, count: int, size: int) -> None:
    """Places records of ann, of so many bytes of text each."""
    await connection.execute(
        """
        INSERT INTO feed SELECT 'main/free', 'main/main/ann', 'item' || i, i, i, 0, false, 'x',
            json_build_object('text', repeat('x', $2)), now() FROM generate_series(1, $1::int) i
        """,
        count,
        size,
    )
    await connection.execute("INSERT INTO feed_head VALUES ('main/free', $1, 0)", count)


async def test_an_answer_has_no_more_bytes_than_fit(client: Client, connection: asyncpg.Connection) -> None:
    """Of fields; what is left comes with the next."""
    await _fill(connection, 400, 60_000)
    content, positions, sizes = await page(client, FREE, limit=5000), [], []
    while True:
        sizes.append(sum(len(canonical(change["fields"])) for change in content["changes"]))
        positions += [change["position"] for change in content["changes"]]
        if not content["hasMore"]:
            break
        content = await page(client, FREE, limit=5000, after=content["cursor"])
    assert positions == list(range(1, 401))
    assert len(sizes) == 3
    assert all(bounded.FIELDS_BYTES_MAX - 70_000 < size <= bounded.FIELDS_BYTES_MAX for size in sizes[:-1])


@pytest.mark.parametrize(("sent", "packed"), [("gzip", True), ("gzip;q=0", False), ("identity", False)])
async def test_what_is_large_is_packed(
    client: Client, connection: asyncpg.Connection, *, sent: str, packed: bool
) -> None:
    await _fill(connection, 100, 10)
    response = await client.get(FREE, headers=reader() | {"Accept-Encoding": sent})
    assert (response.headers.get("Content-Encoding") == "gzip") == packed
    assert len((await response.json())["changes"]) == 100


async def test_head_is_get_without_a_body(client: Client, connection: asyncpg.Connection) -> None:
    """Also for who would take events: to nobody's HEAD there is an answer that goes on."""
    await write(client, connection, record("a"))
    for headers in (reader(), reader(Accept=EVENTS)):
        response = await client.head(FEED, headers=headers)
        assert (response.status, response.content_type) == (200, "application/json")
        assert await response.read() == b""
    for method in ("POST", "PUT", "DELETE"):
        assert (await client.request(method, FEED, headers=reader())).status == 405


@pytest.mark.parametrize("scope", [None, "sync:any", "admin", "feed:reader", "feed"])
@pytest.mark.parametrize("accept", ["application/json", EVENTS])
async def test_it_is_for_who_may_read_feeds(client: Client, scope: str | None, accept: str) -> None:
    claims = {} if scope is None else {"scope": scope}
    response = await client.get(FEED, headers={"Authorization": f"Bearer {token(**claims)}", "Accept": accept})
    content = await response.json()
    assert (response.status, content["type"], content["scope"]) == (403, "/problems/insufficient-scope", "feed:read")
    assert response.headers["WWW-Authenticate"].endswith('error="insufficient_scope", scope="feed:read"')


async def test_and_for_nobody_without_a_token(client: Client) -> None:
    assert (await client.get(FEED)).status == 401
    assert (await client.get("/feed/nothing", headers=reader())).status == 404
    assert (await client.get("/feed", headers=reader())).status == 404


def _issuers() -> tuple[Issuer, ...]:
    """One of the same tenant, and one of another."""
    rest = {"scopes": ["feed:read", "sync:any"]}
    here = {"iss": "here", "secrets": [OTHER_SECRET], "namespace": "staff"} | rest
    there = {"iss": "there", "secrets": [OTHER_SECRET], "tenant": "other"} | rest
    return issuers.read_issuers([here, there], Path())


STAFF = {"iss": "here", "secret": OTHER_SECRET}
THERE = {"iss": "there", "secret": OTHER_SECRET}


async def test_a_namespace_is_told_where_it_is_not_the_readers_own(
    serve: Serve, connection: asyncpg.Connection
) -> None:
    client = await serve(issuers=_issuers())
    await post(client, "/sync/favorites", [record("of main")])
    await post(client, "/sync/favorites", [record("of staff")], {"Authorization": f"Bearer {token(**STAFF)}"})
    await all_placed(connection)
    for claims, mine, other in (({}, "main", "staff"), (STAFF, "staff", "main")):
        changes = (await page(client, FEED, reader(claims=claims)))["changes"]
        shown = {change["item"]: (change["user"], change.get("namespace")) for change in changes}
        assert shown == {f"of {mine}": ("ann", None), f"of {other}": ("ann", other)}
        assert [list(change) for change in changes if "namespace" in change] == [
            ["position", "user", "namespace", "item", "actionDate", "action"]
        ]
    cursors = {(await page(client, FEED, reader(claims=claims)))["cursor"] for claims in ({}, STAFF)}
    assert len(cursors) == 1, "of the same feed"


async def test_two_tenants_never_see_each_other(serve: Serve, connection: asyncpg.Connection) -> None:
    """Nor does the cursor of one lead anywhere in the feed of the other."""
    client = await serve(issuers=_issuers(), entities=ENTITIES)
    tenants: list[dict[str, Any]] = [{}, THERE]
    for number, claims in enumerate(tenants):
        headers = {"Authorization": f"Bearer {token(**claims)}"}
        await post(client, "/sync/favorites", [record(f"of {number}"), record("x")], headers)
        await post(client, "/sync/sessions", [record(f"of {number}", fields={"title": "x"})], backend(claims=claims))
    await all_placed(connection)
    cursors = []
    for number, claims in enumerate(tenants):
        for path, count in ((FEED, 2), ("/feed/sessions", 1)):
            content = await page(client, path, reader(claims=claims))
            assert len(content["changes"]) == count
            assert f"of {1 - number}" not in str(content)
            assert "namespace" not in content["changes"][0]
        cursors.append((await page(client, FEED, reader(claims=claims)))["cursor"])
    for claims, cursor in zip(tenants, cursors[::-1], strict=True):
        response = await client.get(FEED, params={"after": cursor}, headers=reader(claims=claims))
        assert response.status == 410


async def test_what_is_shared_is_nobodys(client: Client, connection: asyncpg.Connection) -> None:
    await post(client, "/sync/sessions", [record("s", fields={"title": "x"})], backend())
    await all_placed(connection)
    [change] = (await page(client, "/feed/sessions"))["changes"]
    assert change == {"position": 1, "user": None, **record("s", fields={"title": "x"})}


async def test_a_former_name_leads_to_the_same_feed(client: Client, connection: asyncpg.Connection) -> None:
    for number, name in enumerate(("notes", "remarks", "jottings")):
        await post(client, f"/sync/{name}", [note(f"item {number}")])
    await all_placed(connection)
    pages = [await page(client, f"/feed/{name}") for name in ("notes", "remarks", "jottings")]
    assert pages[0] == pages[1] == pages[2]
    assert len(pages[0]["changes"]) == 3
    assert (await page(client, "/feed/remarks", after=pages[0]["cursor"]))["changes"] == []
