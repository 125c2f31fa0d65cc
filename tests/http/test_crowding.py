"""Many large requests at once, and small ones beside them."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import pytest

from favsync.core.errors import Overloaded
from favsync.entities.forms import Form
from favsync.http import keys
from favsync.turns import Turns
from tests.http.conftest import Client, bearer, token
from tests.http.declared import record

LARGE = 300
URL = "/postUserFavorites"


async def test_large_batches_are_read_one_at_a_time_and_small_ones_beside(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading one takes the event loop for milliseconds: a hundred at once would take it for as many."""
    read, go_on = Form.read, asyncio.Event()
    under_way: list[int] = []

    async def slowly(form: Form, body: Sequence[object], *rest: Any, **more: Any) -> Any:
        if len(body) == LARGE:
            under_way.append(len(under_way))
            assert len(under_way) == 1
            await go_on.wait()
            under_way.pop()
        return await read(form, body, *rest, **more)

    monkeypatch.setattr(Form, "read", slowly)
    large = [record(f"i{number}") for number in range(LARGE)]
    tasks = [asyncio.create_task(client.post(URL, json=large, headers=bearer("hog"))) for _ in range(3)]
    async with asyncio.timeout(20):
        while not under_way:
            await asyncio.sleep(0.01)
        assert (await client.post(URL, json=[record("a")], headers=bearer("ann"))).status == 200
        go_on.set()
        assert [(await task).status for task in tasks] == [200] * 3


async def test_a_large_read_waits_for_its_turn_and_a_small_one_does_not(client: Client) -> None:
    turns, reads = (
        client.app[keys.READS],
        ("/sync/favorites?limit=1", "/feed/favorites", "/sync", "/sync/favorites?after="),
    )
    cursor = (await client.get("/sync/favorites", headers=bearer("ann"))).headers["Sync-Cursor"]
    headers = {"Authorization": f"Bearer {token('ann', scope='feed:read')}"}
    async with asyncio.timeout(30):
        taken = await _take_all(turns)
        for path in reads:
            answer = await client.get(path.replace("after=", f"after={cursor}"), headers=headers)
            content = await answer.json()
            assert (answer.status, content["type"], answer.headers["Retry-After"]) == (503, "/problems/overloaded", "1")
        for method, path, body in (
            ("GET", "/getUserFavorites", None), ("POST", URL, [record("a")]), ("GET", "/readyz", None),
        ):  # fmt: skip
            assert (await client.request(method, path, json=body, headers=bearer("ann"))).status == 200
        for _ in range(taken):
            turns.give_back()
        for path in reads:
            assert (await client.get(path.replace("after=", f"after={cursor}"), headers=headers)).status == 200
        assert await _take_all(turns) == taken


async def test_a_body_that_waits_counts_and_goes_with_its_client(client: Client) -> None:
    turns, places = client.app[keys.BATCHES], client.app[keys.CONNECTIONS]
    await _take_all(turns)
    body = [record(f"i{number}") for number in range(LARGE)]
    tasks = [asyncio.create_task(client.post(URL, json=body, headers=bearer("hog"))) for _ in range(3)]
    async with asyncio.timeout(20):
        while places._held_bytes_sum < 3 * 16 * 1024:
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        while places._held_bytes_sum or turns._lines.first():
            if not places._held_bytes_sum:
                turns.give_back()
                await turns.take("ann", wait_s=1)
            await asyncio.sleep(0.01)
        turns.give_back()
        answer = await client.get(URL.replace("post", "get"), headers=bearer("hog"))
        assert await answer.json() == []


async def _take_all(turns: Turns) -> int:
    """How many there were; nobody else can have one then."""
    taken = 0
    with contextlib.suppress(Overloaded):
        while True:
            await turns.take("hog", wait_s=0.01)
            taken += 1
    return taken
