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
from tests.http.conftest import Client, bearer
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
    async with asyncio.timeout(20):
        taken = await _take_all(client.app[keys.READS])
        answer = await client.get("/sync/favorites?limit=1", headers=bearer("ann"))
        content = await answer.json()
        assert (answer.status, content["type"], answer.headers["Retry-After"]) == (503, "/problems/overloaded", "1")
        for method, path, body in (
            ("GET", "/getUserFavorites", None), ("POST", URL, [record("a")]), ("GET", "/readyz", None),
        ):  # fmt: skip
            assert (await client.request(method, path, json=body, headers=bearer("ann"))).status == 200
        await taken.aclose()
        assert (await client.get("/sync/favorites?limit=1", headers=bearer("ann"))).status == 200


async def _take_all(turns: Turns) -> contextlib.AsyncExitStack:
    """Returns when nobody else could have a turn."""
    taken = contextlib.AsyncExitStack()
    with contextlib.suppress(Overloaded):
        while True:
            await taken.enter_async_context(turns.turn("hog", wait_s=0.01))
    return taken
