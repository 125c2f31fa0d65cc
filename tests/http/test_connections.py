"""Places for connections: who keeps one, who gives way, and who is waited for."""

import asyncio
import socket
import struct
from typing import cast
from unittest import mock

import pytest

from favsync.app import create_app
from favsync.http import connections, keys
from favsync.http.connections import Connections, Wait
from favsync.http.protocol import READ_PROGRESS_BYTES, Connection
from favsync.http.server import Runner
from favsync.settings import Settings
from favsync.store import records
from tests.http.conftest import Serve, bearer

PATIENT = dict.fromkeys(Wait, 60.0)


class Fake:
    def __init__(self, places: Connections) -> None:
        self.waits_for: Wait | None = None
        self.ended: str | None = None
        self._places = places
        self.admitted = places.admit(self)

    def expire(self, wait: Wait) -> None:
        self.ended = wait.name
        self._places.remove(self)

    def abort(self) -> None:
        self.ended = "evicted"
        self._places.remove(self)


async def test_the_one_that_has_waited_longest_gives_way_whatever_it_waits_for() -> None:
    places = Connections(4, PATIENT)
    idle, works, reads, sends = (Fake(places) for _ in range(4))
    places.work(works)
    for waiting, wait in ((reads, Wait.READ), (sends, Wait.BODY), (idle, Wait.IDLE)):
        places.wait(waiting, wait)
    for victim in (reads, sends, idle):
        newcomer = Fake(places)
        assert newcomer.admitted
        assert victim.ended == "evicted"
        places.work(newcomer)
        places.wait(victim, Wait.IDLE)  # what it still does on its way out is of no account
    assert len(places) == 4
    assert not Fake(places).admitted
    assert works.ended is None
    places.remove(works)
    assert Fake(places).admitted


async def test_what_waiters_hold_is_bounded_and_a_single_one_may_hold_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HELD_BYTES_MAX", 100)
    places = Connections(100, PATIENT)
    idle, first, second, third = (Fake(places) for _ in range(4))
    places.wait(first, Wait.IDLE, held_bytes=60)  # of a long head
    places.wait(second, Wait.READ, held_bytes=40)
    assert first.ended is None
    places.wait(third, Wait.READ, held_bytes=1000)
    assert [fake.ended for fake in (idle, first, second, third)] == [None, "evicted", "evicted", None]
    places.work(third)
    places.wait(idle, Wait.BODY, held_bytes=100)
    assert third.ended is None


async def test_whoever_waits_too_long_is_ended_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "TICK_S", 0.01)
    monkeypatch.setattr(connections, "BATCH", 2)
    places = Connections(100, PATIENT | {Wait.HEAD: 0.0})
    late = [Fake(places) for _ in range(7)]
    idle, works = Fake(places), Fake(places)
    places.wait(idle, Wait.IDLE)
    places.work(works)
    await asyncio.sleep(0.5)
    assert [fake.ended for fake in (*late, idle, works)] == ["HEAD"] * 7 + [None, None]


async def test_a_slow_reader_is_waited_for_while_it_goes_on() -> None:
    runner = Runner(create_app(Settings(database_url="postgresql://nowhere", jwt_secret="x" * 32)))
    await runner.setup()
    assert runner.server is not None
    connection = cast("Connection", runner.server())
    transport = mock.Mock(spec=asyncio.Transport)
    connection.connection_made(transport)
    left = transport.get_write_buffer_size.return_value = 10 * READ_PROGRESS_BYTES
    connection.pause_writing()
    for _ in range(3):
        left = transport.get_write_buffer_size.return_value = left - READ_PROGRESS_BYTES
        connection.expire(Wait.READ)
        transport.abort.assert_not_called()
    transport.get_write_buffer_size.return_value = left - READ_PROGRESS_BYTES + 1
    connection.expire(Wait.READ)
    transport.abort.assert_called_once()
    connection.connection_lost(None)
    await runner.cleanup()


async def test_half_a_head_behind_a_request_has_as_little_time_as_one_alone(serve: Serve) -> None:
    client = await serve(head_timeout=0.5, keepalive_timeout=20)
    for sent in (b"GET /heal", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /heal"):
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(sent)
        async with asyncio.timeout(5):
            answers = await reader.read()
        writer.close()
        assert b" 408 " in answers


async def test_who_leaves_before_the_answer_is_counted_as_gone(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*_args: object) -> records.Shown:
        await asyncio.sleep(0.3)
        return records.Shown(0, b"")

    monkeypatch.setattr(records, "show", slow)
    client = await serve()
    _reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(
        f"GET /getUserFavorites HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer()['Authorization']}\r\n\r\n".encode()
    )
    await writer.drain()
    await asyncio.sleep(0.1)
    # Gone, and not only silent: whoever has just nothing more to say still waits for the answer.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    await asyncio.sleep(0.5)
    text = await (await client.get("/metrics")).text()
    assert 'count{method="GET",route="/getUserFavorites",status="499"} 1.0' in text
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"hello\r\n\r\n")
    await reader.read()
    writer.close()
    text = await (await client.get("/metrics")).text()
    assert 'count{method="other",route="none",status="400"} 1.0' in text


@pytest.mark.parametrize(
    ("request_line", "then", "answers"),
    [
        ("GET /healthz", b"", 1),
        ("GET /healthz", b"G", 1),  # the next head has begun
        ("POST /nowhere", b"12345", 1),  # a body that nobody reads
        ("GET /sync/favorites", b"", 1),  # which goes on
        ("", b"", 0),  # no end of the head
    ],
)
async def test_a_long_head_counts_for_as_long_as_it_is_kept(
    serve: Serve, request_line: str, then: bytes, answers: int
) -> None:
    client = await serve()
    places = client.app[keys.CONNECTIONS]
    lines = [
        f"{request_line or 'GET /healthz'} HTTP/1.1", "Host: x", f"Authorization: {bearer()['Authorization']}",
        *([f"Content-Length: {len(then)}"] if request_line.startswith("POST") else []),
        *(["Accept: text/event-stream"] if "sync" in request_line else []),
        f"X-A: {'a' * 25_000}", f"X-B: {'b' * 25_000}", *(["", ""] if request_line else []),
    ]  # fmt: skip
    reader, writer = await asyncio.open_connection(client.server.host, client.server.port)
    async with asyncio.timeout(20):
        writer.write("\r\n".join(lines).encode())
        for _ in range(answers):
            await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.1)
        if then:
            writer.write(then)
            await asyncio.sleep(0.1)
        assert places._held_bytes_sum >= (100_000 if request_line else 50_000)
        writer.close()
        while places._held_bytes_sum:
            await asyncio.sleep(0.01)
