"""GET /feed/{entity}?wait=…: an answer when there is something to tell, or the time is up."""

import asyncio
import time

import asyncpg
import pytest

from favsync.core.cursor import FeedPlace
from favsync.http import keys
from favsync.identity.tokens import LEEWAY_S
from favsync.settings import Settings
from favsync.store import feed
from favsync.store.database import Database
from favsync.store.feed import Printed
from tests.http.conftest import Client, Serve, bearer
from tests.http.declared import Json, post, record
from tests.http.feeds import FEED, all_placed, page, reader, streams, until

FOREVER = 60
PATIENCE_S = 40.0  # less than that


def waiting(client: Client, cursor: str | None, headers: dict[str, str] | None = None) -> "asyncio.Task[Json]":
    """Whoever waits there, for as long as may be."""
    after = {} if cursor is None else {"after": cursor}
    return asyncio.create_task(page(client, FEED, reader() if headers is None else headers, wait=FOREVER, **after))


async def test_where_there_is_news_nobody_waits(client: Client, connection: asyncpg.Connection) -> None:
    await post(client, "/sync/favorites", [record("a")])
    await all_placed(connection)
    async with asyncio.timeout(PATIENCE_S):
        content = await page(client, FEED, wait=FOREVER)
    assert [change["item"] for change in content["changes"]] == ["a"]
    assert streams(client) == 0


async def test_an_answer_comes_with_the_news(client: Client, connection: asyncpg.Connection) -> None:
    """Also where nothing ever was; to all who wait, and each from where it was."""
    nothing = (await page(client))["cursor"]
    for number, item in enumerate("abc"):
        here = (await page(client))["cursor"]
        tasks = [waiting(client, cursor) for cursor in (here, here, *([None, nothing] if number == 0 else []))]
        await until(lambda: streams(client) == len(tasks))  # noqa: B023 -- awaited here
        await post(client, "/sync/favorites", [record(item)])
        async with asyncio.timeout(PATIENCE_S):
            answers = await asyncio.gather(*tasks)
        await all_placed(connection)
        whole = await page(client)
        assert [[change["item"] for change in answer["changes"]] for answer in answers] == [[item]] * len(tasks)
        assert {answer["cursor"] for answer in answers} == {whole["cursor"]}
    assert streams(client) == 0


async def test_news_of_another_feed_is_none(serve: Serve, connection: asyncpg.Connection) -> None:
    client = await serve()
    here = (await page(client))["cursor"]
    task = waiting(client, here)
    await until(lambda: streams(client) == 1)
    await connection.execute("INSERT INTO feed_head VALUES ('other/favorites', 0, 0)")
    await connection.execute(
        "INSERT INTO feed_pending (user_id, entity, seq, items, seqs, action_us, deleted, digests)"
        " VALUES ('other/main/ann', 'other/favorites', 1, '{x}', '{1}', '{1}', '{f}', ARRAY[''::bytea])"
    )
    await all_placed(connection)
    await post(client, "/sync/favorites", [record("a")])
    async with asyncio.timeout(PATIENCE_S):
        assert [change["item"] for change in (await task)["changes"]] == ["a"]


async def test_when_the_time_is_up_the_answer_is_empty(client: Client, connection: asyncpg.Connection) -> None:
    await post(client, "/sync/favorites", [record("a")])
    await all_placed(connection)
    here = (await page(client))["cursor"]
    began = time.monotonic()
    content = await page(client, FEED, after=here, wait=1)
    assert time.monotonic() - began > 0.99
    assert content == {"changes": [], "cursor": here, "hasMore": False}


@pytest.mark.parametrize("left_s", [2, 2 - LEEWAY_S])
async def test_or_when_the_token_ends(client: Client, left_s: float) -> None:
    """Also one that has ended, and is still taken because clocks differ."""
    headers = reader(claims={"exp": time.time() + left_s})
    here = (await page(client, FEED, headers))["cursor"]
    async with asyncio.timeout(PATIENCE_S):
        assert await waiting(client, here, headers) == {"changes": [], "cursor": here, "hasMore": False}
    assert streams(client) == 0


async def test_or_when_the_service_ends(client: Client) -> None:
    here = (await page(client))["cursor"]
    tasks = [waiting(client, here) for _ in range(5)]
    await until(lambda: streams(client) == 5)
    async with asyncio.timeout(PATIENCE_S):
        await client.server.close()
        assert await asyncio.gather(*tasks) == [{"changes": [], "cursor": here, "hasMore": False}] * 5


async def test_then_nobody_else_may_wait(client: Client) -> None:
    here = (await page(client))["cursor"]
    client.app[keys.STREAMS].close()
    response = await client.get(FEED, params={"after": here, "wait": "60"}, headers=reader())
    assert (response.status, "Retry-After" in response.headers) == (503, True)
    assert (await page(client, FEED, after=here))["changes"] == []


async def test_who_leaves_gives_up_the_place(client: Client) -> None:
    head = f"GET {FEED}?wait=60 HTTP/1.1\r\nHost: x\r\nAuthorization: {reader()['Authorization']}\r\n\r\n".encode()
    for ends in ("write_eof", "close"):
        _reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(head)
        await until(lambda: streams(client) == 1)
        getattr(writer, ends)()
        await until(lambda: streams(client) == 0)
        writer.close()


async def test_where_all_places_are_taken_the_longest_wait_of_the_greediest_ends(serve: Serve) -> None:
    """Nothing is lost to it: it has its cursor, and asks again."""
    client = await serve(max_streams=3)
    here = (await page(client))["cursor"]
    tasks = []
    for number, who in enumerate(("one", "greedy", "greedy")):
        tasks.append(waiting(client, here, reader(who)))
        await until(lambda: streams(client) == number + 1)  # noqa: B023 -- awaited here
    newcomer = waiting(client, here, reader("new"))
    async with asyncio.timeout(PATIENCE_S):
        assert await tasks[1] == {"changes": [], "cursor": here, "hasMore": False}
    assert (streams(client), tasks[0].done(), tasks[2].done(), newcomer.done()) == (3, False, False, False)
    await post(client, "/sync/favorites", [record("a")])
    async with asyncio.timeout(PATIENCE_S):
        answers = await asyncio.gather(tasks[0], tasks[2], newcomer)
    assert all(answer["changes"] for answer in answers)


def test_others_still_find_a_place() -> None:
    """However many may be configured, half of the connections are for answers that end."""
    allowed = [Settings(jwt_secret="x" * 32, max_streams=s, max_connections=c).streams_allowed for s, c in LIMITS]
    assert allowed == [5000, 4999, 5, 1, 1]


LIMITS = [(5000, 10_000), (5000, 9999), (5, 10_000), (5, 3), (5, 1)]


async def test_a_cursor_that_ends_meanwhile_is_told_of(client: Client, connection: asyncpg.Connection) -> None:
    here = (await page(client))["cursor"]
    task = asyncio.create_task(_status(client, here))
    await until(lambda: streams(client) == 1)
    await connection.execute("DELETE FROM epoch")
    async with asyncio.timeout(PATIENCE_S):
        assert await task == 410


async def _status(client: Client, cursor: str) -> int:
    return (await client.get(FEED, params={"after": cursor, "wait": "60"}, headers=reader())).status


async def test_all_who_wait_at_one_place_share_one_look(
    client: Client, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has the right answer: who asked for less, or in another namespace's eyes, has another one."""
    await post(client, "/sync/favorites", [record("first")])
    await all_placed(connection)
    looks: list[tuple[object, ...]] = []
    look = feed.show

    async def counted(database: Database, entity: str, after: int, own: str, *, limit: int) -> Printed | None:
        looks.append((after, limit))
        return await look(database, entity, after, own, limit=limit)

    here = (await page(client))["cursor"]
    seal = client.app[keys.DATABASE].epoch.seal
    assert seal.read_feed_cursor(here, "main/favorites") == FeedPlace(1, 0)
    tasks = [waiting(client, here) for _ in range(50)]
    small = asyncio.create_task(page(client, FEED, wait=FOREVER, after=here, limit=1))
    await until(lambda: streams(client) == 51)
    monkeypatch.setattr(feed, "show", counted)
    await post(client, "/sync/favorites", [record("a"), record("b")], bearer("bob"))
    async with asyncio.timeout(PATIENCE_S):
        answers, least = await asyncio.gather(asyncio.gather(*tasks), small)
    assert all(answer == answers[0] for answer in answers)
    assert sorted(change["item"] for change in answers[0]["changes"]) == ["a", "b"]
    assert (len(least["changes"]), least["hasMore"]) == (1, True)
    assert {limit for _after, limit in looks} == {1, 1000}
    assert len(looks) < 10
