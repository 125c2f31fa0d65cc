"""What a request leaves behind is freed at once: in a cycle it would wait for a search, with the body that it holds."""

import asyncio
import gc
import json
from collections.abc import Iterator

import pytest

from favsync.core.errors import Unavailable
from favsync.store import records as store
from tests.http.conftest import Client, bearer

pytestmark = pytest.mark.usefixtures("collector")

MARK = "a-body-that-is-held-on-to"
URL = "/postUserFavorites"


def record(**changes: object) -> dict[str, object]:
    return {"item": MARK, "actionDate": "2026-01-01T00:00:00.000Z", "action": "ADD"} | changes


@pytest.fixture
def collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def held() -> list[str]:
    """What holds a part of a body, and would be freed by nothing but a search for cycles."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    found = [repr(one)[:200] for one in gc.garbage if any(map(_is_of_a_body, gc.get_referents(one)))]
    gc.garbage.clear()
    return found


def _is_of_a_body(value: object) -> bool:
    if type(value) is dict and not gc.is_tracked(value):  # then it is in no garbage, whatever holds it
        return any(map(_is_of_a_body, value.values()))
    if isinstance(value, bytes | bytearray | memoryview):
        return MARK.encode() in bytes(value)
    return isinstance(value, str) and value == MARK and value is not MARK


async def post(client: Client, body: object, *, prefer: str = "strict") -> int:
    """By a connection of its own: a client's responses lie in cycles too."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST {URL} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer()['Authorization']}\r\n"
    head += f"Prefer: handling={prefer}\r\nContent-Type: application/json\r\n"
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(f"{head}Content-Length: {len(sent)}\r\nConnection: close\r\n\r\n".encode() + sent)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(200, [record()], id="taken"),
        pytest.param(422, [record(), record(actionDate="yesterday")], id="a wrong date"),
        pytest.param(422, [record(action="PUT"), record(item=7), 1], id="several faults"),
        pytest.param(400, json.dumps([record()])[:-1].encode(), id="half a JSON"),
    ],
)
async def test_an_answer_frees_the_body(client: Client, status: int, body: object) -> None:
    assert await post(client, body) == status
    assert held() == []


async def test_so_does_a_lenient_one(client: Client) -> None:
    assert await post(client, [record(), record(action="PUT")], prefer="lenient") == 200
    assert held() == []


async def test_so_does_one_of_a_database_that_is_away(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_args: object) -> list[store.Seen]:
        await asyncio.sleep(0)
        raise Unavailable

    monkeypatch.setattr(store, "push", away)
    assert await post(client, [record()]) == 503
    assert held() == []
