"""Cursors of feeds: from where they lead on, and when they have ended."""

import itertools
from typing import Any

import asyncpg
import pytest

from favsync.core.cursor import FeedPlace
from favsync.http import keys
from favsync.store import purging
from tests.http.conftest import Client, bearer
from tests.http.declared import ENTITIES, Json, note, post, record
from tests.http.feeds import EVENTS, FEED, all_placed, page, reader, until
from tests.store.feeds import EVER

NOTES = "/feed/notes"


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"entities": ENTITIES}


async def write(client: Client, connection: asyncpg.Connection, *records: Json) -> None:
    """Favourites of ann, each at the next position."""
    for one in records:
        await post(client, "/sync/favorites", [one])
        await all_placed(connection)


async def gone(client: Client, path: str, cursor: str, headers: dict[str, str] | None = None) -> None:
    """That cursor has ended, and it is said where to begin anew; whatever the form that was asked for."""
    for more in ({}, {"Accept": EVENTS}, {"Accept": EVENTS, "Last-Event-ID": cursor}):
        params = {} if "Last-Event-ID" in more else {"after": cursor}
        response = await client.get(path, params=params | {"wait": "60"}, headers=(headers or reader()) | more)
        assert response.status == 410, await response.text()
        assert response.content_type == "application/problem+json"
        problem = await response.json()
        assert problem["type"] == "/problems/cursor-expired"
        assert problem["resync"] == path
        assert "read the feed from its beginning" in problem["detail"]
        assert (await client.get(problem["resync"], headers=headers or reader())).status == 200


async def test_the_cursor_of_another_feed_has_ended(client: Client, connection: asyncpg.Connection) -> None:
    await write(client, connection, record("a"))
    await post(client, "/sync/notes", [note("a")])
    await all_placed(connection)
    ends = {path: (await page(client, path))["cursor"] for path in (FEED, NOTES, "/feed/free")}
    for path, cursor in itertools.product(ends, ends.values()):
        if cursor != ends[path]:
            await gone(client, path, cursor)


@pytest.mark.parametrize("text", ["", "x", "0", "A" * 43, "A" * 45, "ü" * 44, "null"])
async def test_what_is_no_cursor_is_no_good_request(client: Client, text: str) -> None:
    for accept in ("application/json", EVENTS):
        response = await client.get(FEED, params={"after": text}, headers=reader(Accept=accept))
        assert response.status == 400
        assert (await response.json())[
            "detail"
        ] == "`after`, or Last-Event-ID, is not a cursor of a feed: pass `cursor` as it came."


async def test_nor_is_a_cursor_of_somebodys_records(client: Client) -> None:
    cursor = (await client.get("/sync/favorites", headers=bearer())).headers["Sync-Cursor"]
    assert (await client.get(FEED, params={"after": cursor}, headers=reader())).status == 400
    feeds = (await page(client))["cursor"]
    assert (await client.get("/sync/favorites", params={"after": feeds}, headers=bearer())).status == 400


async def test_a_cursor_ahead_of_the_feed_has_ended(client: Client, connection: asyncpg.Connection) -> None:
    """The database has forgotten what that reader saw."""
    await write(client, connection, record("a"), record("b"))
    seal = client.app[keys.DATABASE].epoch.seal
    for place in (FeedPlace(3, 0), FeedPlace(0, 3), FeedPlace(2**62, 0)):
        await gone(client, FEED, seal.feed_cursor("main/favorites", place))
    await gone(client, "/feed/free", seal.feed_cursor("main/free", FeedPlace(1, 0)))  # where nothing ever was
    assert (await page(client, FEED, after=seal.feed_cursor("main/favorites", FeedPlace(2, 0))))["changes"] == []
    assert len((await page(client, FEED, after=seal.feed_cursor("main/favorites", FeedPlace(0, 2))))["changes"]) == 2


async def test_a_cursor_ends_with_its_epoch(client: Client, connection: asyncpg.Connection) -> None:
    await write(client, connection, record("a"))
    cursor, database = (await page(client))["cursor"], client.app[keys.DATABASE]
    before = database.epoch.id
    await connection.execute("DELETE FROM epoch")
    await until(lambda: database.epoch.id != before)
    await gone(client, FEED, cursor)
    assert [change["item"] for change in (await page(client))["changes"]] == ["a"]


async def test_who_had_not_seen_what_was_purged_begins_anew(client: Client, connection: asyncpg.Connection) -> None:
    """A snapshot that is being read goes on: what was a deletion when it began, its reader has never met."""
    await write(client, connection, record("a"), record("b"))
    old = (await page(client))["cursor"]
    await write(client, connection, record("a", "DELETE"), record("c"), record("d"))
    began = await page(client, FEED, limit=1)
    assert [change["item"] for change in began["changes"]] == ["b"]
    assert (await purging.purge(connection, "main/favorites", EVER)).removed == 1
    await gone(client, FEED, old)
    rest = await page(client, FEED, after=began["cursor"])
    assert [change["item"] for change in rest["changes"]] == ["c", "d"]
    assert [change["item"] for change in (await page(client))["changes"]] == ["b", "c", "d"]
    await write(client, connection, record("c", "DELETE"))
    assert (await purging.purge(connection, "main/favorites", EVER)).removed == 1
    for cursor in (began["cursor"], rest["cursor"]):
        await gone(client, FEED, cursor)
