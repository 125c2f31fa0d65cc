"""Lists and changes in pages: every record once, nothing missed, and no page for anybody else."""

import random
import re
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from yarl import URL

from tests.http.conftest import Client, Serve, bearer
from tests.http.declared import WITH_THEM, Json, backend, cursor, get, note, post, record

NOTES, SYNC = "/sync/notes", "/sync"
_NEXT = re.compile(r'<([^>]+)>; rel="next"')


class Page(NamedTuple):
    content: Json
    headers: Json

    @property
    def link(self) -> str | None:
        if "Link" not in self.headers:
            return None
        match = _NEXT.fullmatch(self.headers["Link"])
        assert match, self.headers["Link"]
        return match[1]


async def pages(
    client: Client, path: str, headers: dict[str, str] | None = None, /, **params: object
) -> AsyncIterator[Page]:
    """Each page, as long as there is a Link; HEAD says the same of it."""
    headers = bearer() if headers is None else headers
    url = client.make_url(path).update_query({name: str(value) for name, value in params.items()})
    for _ in range(1000):
        response = await client.get(url.relative(), headers=headers)
        assert response.status == 200, await response.text()
        page = Page(await response.json(), response.headers)
        asked = await client.head(url.relative(), headers=headers)
        assert (asked.status, await asked.read()) == (200, b"")
        for name in ("Link", "ETag", "Sync-Cursor"):
            assert asked.headers.get(name) == response.headers.get(name)
        yield page
        if page.link is None:
            return
        url = url.join(URL(page.link, encoded=True))
    raise AssertionError("the pages have no end")


def flat(content: Json) -> list[tuple[str, Json]]:
    """The records of a list, or of one list for each entity."""
    lists = content.items() if isinstance(content, dict) else [("", content)]
    return [(name, one) for name, records in lists for one in records]


def by_key(records: list[tuple[str, Json]]) -> dict[tuple[str, str], Json]:
    """The records by entity and item, each of which is there once."""
    found = {(name, one["item"]): one for name, one in records}
    assert len(found) == len(records)
    return found


def together(found: list[Page]) -> dict[tuple[str, str], Json]:
    return by_key([one for page in found for one in flat(page.content)])


async def fill(client: Client) -> None:
    items = ["a", "B", "ä", "\U0001f600", "￮", "_", "a b", "ab", "%2F", "<x>", "é" * 255, "\U0010ffff" * 255, "\x01"]
    await post(client, SYNC, {
        "notes": [note(item, item) for item in items],
        "favorites": [record(item, "DELETE") for item in items[:5]],
        "ratings": [record(item, fields={"stars": 3}) for item in items[3:]],
    })  # fmt: skip


@WITH_THEM
@pytest.mark.parametrize("path", [NOTES, "/sync/remarks", "/getUserRatings", "/getUserFavorites", SYNC])
async def test_every_record_once_and_the_cursor_at_the_end(client: Client, path: str) -> None:
    start = await cursor(client, path)
    await fill(client)
    whole, end = await client.get(path, headers=bearer()), await cursor(client, path)
    records = flat(await whole.json())
    assert len(records) > 4
    for limit in (1, 2, 3, 5, len(records) - 1, len(records), 10_000):
        found = [page async for page in pages(client, path, limit=limit)]
        assert all(len(flat(page.content)) == limit for page in found[:-1])
        assert together(found) == by_key(records)
        assert ["Sync-Cursor" in page.headers for page in found] == [False] * (len(found) - 1) + [True]
        assert ["ETag" in page.headers for page in found] == [len(found) == 1] * len(found)
        assert found[-1].headers["Sync-Cursor"] == end
        if isinstance(found[0].content, list):
            assert [one for page in found for one in page.content] == [one for _, one in records]

        changes = [page async for page in pages(client, path, limit=limit, after=start)]
        assert together(changes) == by_key(records)
        assert all("Sync-Cursor" in page.headers for page in changes)
        assert changes[-1].headers["Sync-Cursor"] == end
        for index, page in enumerate(changes):
            rest = await get(client, path, after=page.headers["Sync-Cursor"])
            assert len(flat(rest)) == sum(len(flat(later.content)) for later in changes[index + 1 :])


@WITH_THEM
@pytest.mark.parametrize("after", [False, True])
async def test_what_changes_while_somebody_reads_is_found(client: Client, after: bool) -> None:
    """Whatever is written between two pages: the pages and then the changes end in what is stored."""
    chance = random.Random(11)
    items = [f"i{number:02d}" for number in range(24)]
    for turn in range(8):
        user = bearer(f"u{turn}")
        start = {"after": await cursor(client, SYNC, user)} if after else {}
        year = 2000
        await post(client, SYNC, {"notes": [note(item) for item in items[::2]], "favorites": [record("x")]}, user)
        known: dict[tuple[str, str], Json] = {}
        end = ""
        async for page in pages(client, SYNC, user, limit=chance.randrange(1, 5), **start):
            known |= by_key(flat(page.content))
            end = page.headers.get("Sync-Cursor", "")
            for _ in range(chance.randrange(3) if year < 2030 else 0):
                year += 1
                date = f"{year}-01-01T00:00:00.000Z"
                gone = chance.random() < 0.3
                sent = record(chance.choice(items), "DELETE" if gone else "ADD", date)
                names = chance.sample(["notes", "free", "favorites"], 2)
                await post(client, SYNC, {name: [sent] for name in names}, user)
        async for page in pages(client, SYNC, user, limit=3, after=end):
            known |= by_key(flat(page.content))
        stored = await get(client, SYNC, user)
        assert known == by_key(flat(stored))


async def first_page(client: Client, path: str = NOTES, user: str = "ann", **params: str) -> str:
    response = await client.get(path, params={"limit": "1"} | params, headers=bearer(user))
    link = Page(None, response.headers).link
    assert link
    return client.make_url(link).query["page"]


@WITH_THEM
async def test_a_page_is_of_one_reader_and_one_list(client: Client, connection: Json) -> None:
    await fill(client)
    await post(client, NOTES, [note("a"), note("b")], bearer("bob"))
    mine, end = await first_page(client), await cursor(client, NOTES)

    async def status(page: str, path: str = NOTES, user: str = "ann", **params: str) -> int:
        response = await client.get(path, params={"page": page} | params, headers=bearer(user))
        assert response.status == 200 or response.content_type == "application/problem+json"
        assert response.status != 410 or (await response.json())["type"] == "/problems/cursor-expired"
        return response.status

    assert await status(mine) == await status(mine, "/sync/remarks") == 200
    assert await status(mine, user="bob") == await status(mine, "/sync/ratings") == await status(mine, SYNC) == 410
    assert await status(await first_page(client, SYNC), NOTES) == 410
    for bad in ("", "x", "=" * 40, "A" * 37, "A" * 1397, "ä" * 40, end, mine + "=", mine[:-2]):
        assert await status(bad) in ((400, 410) if bad == mine[:-2] else (400,)), bad
    changed = mine[:-1] + ("A" if mine[-1] != "A" else "B")
    for forged in ("A" * 38, "A" * 41, "A" * 1396, "_" * 50, changed, mine.swapcase()):
        assert await status(forged) == 410, forged
    assert await status(mine, after=end) == await status("A" * 38, after="x") == 400
    assert (await client.get(NOTES, params={"after": mine}, headers=bearer())).status == 400
    known = await client.get(NOTES, params={"page": mine}, headers=bearer(**{"If-None-Match": "*"}))
    assert known.status == 200, "a page is no state that one could have"
    await connection.execute("UPDATE streams SET seq = 1 WHERE user_id = 'main/main/ann'")
    assert await status(mine) == 410, "of a database that has forgotten"


@WITH_THEM
@pytest.mark.parametrize("limit", ["0", "-1", "abc", "10001", "99999", "100000", "", "1.5", "1e3", "+5", " 5", "٣"])
async def test_a_limit_that_is_none(client: Client, limit: str) -> None:
    for path in (NOTES, SYNC, "/getUserFavorites", "/sync/sessions"):
        response = await client.get(path, params={"limit": limit}, headers=bearer())
        assert response.status == 400
        assert "`limit`" in (await response.json())["detail"]
    wanted = bearer(Prefer="return=representation")
    assert (await client.post(NOTES, json=[note("lost")], params={"limit": limit}, headers=wanted)).status == 400
    assert await get(client, NOTES) == []


@WITH_THEM
async def test_what_then_stands_comes_in_pages_too(client: Client) -> None:
    """The Link of a POST leads to where the list is read, whichever path was written to."""
    rating = [record(item, fields={"stars": 1}) for item in "abcd"]
    for path, shown in (("/postUserRatings", "/getUserRatings"), ("/sync/ratings", "/sync/ratings")):
        wanted = bearer(path, Prefer="return=representation")
        response = await client.post(path, json=rating, params={"limit": "3"}, headers=wanted)
        assert await response.json() == rating[:3]
        assert "Sync-Cursor" not in response.headers
        link = Page(None, response.headers).link
        assert link
        assert link.startswith(f"{shown}?")
        assert await get(client, link, bearer(path)) == rating[3:]


@WITH_THEM
@pytest.mark.parametrize("name", ["bob", "a&b=c", "ä €/😀", "x+y z", "100%25", '"><a>', "?#;,", "a%2Fb"])
async def test_a_link_keeps_whose_list_it_is(client: Client, name: str) -> None:
    await post(client, NOTES, [note(item, user=name) for item in "abc"] + [note("mine")], backend())
    for params in ({"user": name}, {"user": name, "namespace": "main"}):
        found = [page async for page in pages(client, NOTES, backend(), limit=1, **params)]
        assert [one["item"] for page in found for one in page.content] == ["a", "b", "c"]
    start = await cursor(client, NOTES, backend(), user=name)
    await post(client, NOTES, [record(item, "DELETE", user=name) for item in "ab"], backend())
    found = [page async for page in pages(client, NOTES, backend(), limit=1, after=start, user=name)]
    assert [one["item"] for page in found for one in page.content] == ["a", "b"]


@WITH_THEM
async def test_a_list_of_more_than_one_answer_may_hold(client: Client) -> None:
    """Nobody asked for pages, and each is bounded all the same."""
    records = [record(f"i{number:03d}", fields={"x": "x" * 65_000}) for number in range(150)]
    start = await cursor(client, "/sync/free")
    for begin in range(0, 150, 15):
        await post(client, "/sync/free", records[begin : begin + 15])
    for path, params in (("/sync/free", {}), ("/sync/free", {"after": start}), (SYNC, {})):
        found = [page async for page in pages(client, path, **params)]
        assert [one for page in found for _, one in flat(page.content)] == records
        assert len(found) == 2
        assert ["ETag" in page.headers for page in found] == [False, "after" in params], (
            "the rest is all of its own URL"
        )
        assert ["Sync-Cursor" in page.headers for page in found] == [bool(params), True]
    response = await client.post(
        "/sync/free", json=[record("z", fields={})], headers=bearer(Prefer="return=representation")
    )
    assert 100 < len(await response.json()) < 150
    assert "Link" in response.headers
    assert "Sync-Cursor" not in response.headers


async def test_whoever_may_have_more_gets_it_at_once(serve: Serve) -> None:
    client = await serve(max_items=12_000, max_batch=6000)
    for begin in (0, 6000):
        sent = [record(f"i{number:05d}") for number in range(begin, begin + 6000)]
        await post(client, "/sync/favorites", sent)
    response = await client.get("/getUserFavorites", headers=bearer())
    assert len(await response.json()) == 12_000
    assert "Link" not in response.headers
    found = [page async for page in pages(client, "/getUserFavorites", limit=10_000)]
    assert [len(page.content) for page in found] == [10_000, 2000]
