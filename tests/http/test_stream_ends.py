"""How event streams end, and what they outlive."""

import asyncio
import re
import socket
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog

from favsync import app as application
from favsync import sequencer
from favsync.http import connections, events, keys
from favsync.http.protocol import Connection
from favsync.identity import authenticator
from favsync.identity.issuers import Issuer, read_issuers
from favsync.identity.tokens import LEEWAY_S
from favsync.store import records
from tests.http.conftest import Client, Serve, bearer, token
from tests.http.declared import ENTITIES, note, post, record
from tests.http.feeds import EVENTS, FEED, all_placed, page, reader, stream, streams, until
from tests.identity.fake import AUD, CLIENT, FakeIssuer
from tests.postgres import Server

NOTES = "/sync/notes"
PATIENCE_S = 40.0


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"entities": ENTITIES}


async def ended(client: Client, reason: str) -> int:
    """How many streams the metrics say have ended so."""
    text = await (await client.get("/metrics")).text()
    found = re.search(rf'^favsync_streams_ended_total{{reason="{reason}"}} (\d+)\.0$', text, re.MULTILINE)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("left_s", [2, 2 - LEEWAY_S])
@pytest.mark.parametrize("path", [FEED, NOTES])
async def test_a_stream_ends_with_its_token(client: Client, path: str, left_s: float) -> None:
    """Also one that has ended, and is still taken because clocks differ: no longer than any other request is."""
    headers = reader(claims={"exp": time.time() + left_s})
    async with asyncio.timeout(PATIENCE_S), stream(client, path, headers) as opened:
        assert await opened.end() == "the token has ended"
    assert await ended(client, "token") == 1


async def test_until_then_it_tells_what_comes(client: Client) -> None:
    async with stream(client, NOTES, reader(claims={"exp": time.time() + 15 - LEEWAY_S})) as opened:
        for item in "ab":
            await post(client, NOTES, [note(item)], bearer("mirror"))
            assert await opened.items(1) == [item]


async def test_one_whose_token_says_no_end_goes_on(client: Client) -> None:
    """What a proxy vouches for, say; here, a token that ends in the next century."""
    async with stream(client, NOTES, bearer()) as opened:
        await post(client, NOTES, [note("a")])
        assert len(await opened.events(1)) == 1
    await until(lambda: streams(client) == 0)
    assert await ended(client, "left") == 1


def opaque(fake: FakeIssuer) -> tuple[Issuer, ...]:
    asked = {"url": fake.url("/introspect"), "client_id": CLIENT[0], "client_secret": CLIENT[1]}
    table = {"introspection": asked, "aud": AUD, "namespace": "opaque", "scopes": ["feed:read"]}
    return read_issuers([table], Path())


GOOD = {"active": True, "sub": "ann", "aud": AUD, "scope": "feed:read"}


@pytest.mark.parametrize(
    "revoked",
    [{}, {"active": False}, GOOD | {"sub": "bob"}, GOOD | {"scope": ""}, GOOD | {"exp": 1}],
    ids=["unknown", "inactive", "another's", "without the scope", "ended"],
)
async def test_a_stream_ends_when_its_token_is_worth_nothing_any_more(
    serve: Serve, fake: FakeIssuer, revoked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is looked at now and then; and where the issuer cannot say, the stream goes on."""
    for module, name in ((events, "PROOF_S"), (events, "COMMENT_S"), (authenticator, "CACHED_S")):
        monkeypatch.setattr(module, name, 0.1)
    client = await serve(issuers=opaque(fake))
    fake.tokens = {"opaque": GOOD}
    async with stream(client, FEED, {"Authorization": "Bearer opaque"}) as opened:
        asked = fake.asked["/introspect"]
        await until(lambda: fake.asked["/introspect"] >= asked + 3, "it is not proved anew")
        await fake.stop()
        for _ in range(5):
            await opened.comment("nothing new")
        fake.tokens = {"opaque": revoked}
        await fake.start()
        async with asyncio.timeout(PATIENCE_S):
            assert await opened.end() == "the token has ended"
    await until(lambda: streams(client) == 0)


async def test_a_token_that_nobody_can_prove_for_long_is_worth_nothing(
    serve: Serve, fake: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who could keep the issuer away could keep a stream for as long."""
    for module, name, value in (
        (events, "PROOF_S", 0.1),
        (events, "COMMENT_S", 0.1),
        (events, "UNPROVEN_S", 0.5),
        (authenticator, "CACHED_S", 0.1),
    ):
        monkeypatch.setattr(module, name, value)
    client = await serve(issuers=opaque(fake))
    fake.tokens = {"opaque": GOOD}
    async with stream(client, FEED, {"Authorization": "Bearer opaque"}) as opened:
        await fake.stop()
        async with asyncio.timeout(PATIENCE_S):
            assert await opened.end() == "the token has ended"


async def test_where_all_places_are_taken_whoever_has_most_gives_up_the_oldest(serve: Serve) -> None:
    client = await serve(max_streams=4, entities=ENTITIES)
    async with (
        stream(client, NOTES, bearer("bob")) as bobs,
        stream(client, NOTES, bearer()) as first,
        stream(client, "/sync/free", bearer()) as second,
        stream(client, NOTES, bearer()) as third,
        stream(client, NOTES, bearer("cy")) as cys,
    ):
        async with asyncio.timeout(PATIENCE_S):
            assert await first.end() == "others need the room"
        async with stream(client, NOTES, bearer("dan")) as dans:
            async with asyncio.timeout(PATIENCE_S):
                assert await second.end() == "others need the room"
            assert streams(client) == 4
            for user, opened in (("bob", bobs), ("ann", third), ("cy", cys), ("dan", dans)):
                await post(client, NOTES, [note(user)], bearer(user))
                assert await opened.items(1) == [user]
        async with asyncio.timeout(PATIENCE_S):
            assert (await page(client, FEED, wait=0))["changes"] == [], "who does not wait needs no place"
    await until(lambda: streams(client) == 0)
    assert await ended(client, "room") == 2


async def test_when_the_service_ends_so_do_its_streams(client: Client) -> None:
    """At once, and they say so; and so does who comes a moment too late."""
    async with stream(client, FEED) as feed, stream(client, NOTES, bearer()) as own:
        client.app[keys.STREAMS].close()
        async with asyncio.timeout(PATIENCE_S):
            assert [await feed.end(), await own.end()] == ["the service ends"] * 2
        late = await client.get(NOTES, headers=bearer(Accept=EVENTS))
        assert (late.status, late.content_type) == (503, "application/problem+json")
    assert await ended(client, "shutdown") == 2


async def test_nor_does_the_service_wait_for_them(client: Client) -> None:
    async with stream(client, FEED) as feed, stream(client, NOTES, bearer()) as own:
        async with asyncio.timeout(PATIENCE_S):
            await client.server.close()
            assert [await feed.end(), await own.end()] == ["the service ends"] * 2


async def test_a_stream_ends_with_its_epoch(client: Client, connection: asyncpg.Connection) -> None:
    """Its cursors would be worth nothing."""
    await post(client, NOTES, [note("a")])
    async with stream(client, "/feed/notes") as feed, stream(client, NOTES, bearer()) as own:
        [event] = await own.events(1)
        await feed.events(1)
        await connection.execute("DELETE FROM epoch")
        async with asyncio.timeout(PATIENCE_S):
            assert [await feed.end(), await own.end()] == ["the cursor has ended"] * 2
    assert await ended(client, "cursor") == 2
    headers = bearer(**{"Accept": EVENTS, "Last-Event-ID": event.id})
    assert (await client.get(NOTES, headers=headers)).status == 410


async def test_a_fault_of_ours_ends_it_and_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """To us, and not to the client."""
    read, faulty = records.changes, asyncio.Event()

    async def broken(*args: Any, **how: Any) -> records.Listing:
        found = await read(*args, **how)
        if faulty.is_set():  # also where it had begun before
            raise RuntimeError("secret")
        return found

    monkeypatch.setattr(records, "changes", broken)
    async with stream(client, NOTES, bearer()) as opened:
        with structlog.testing.capture_logs() as logs:
            faulty.set()
            await post(client, NOTES, [note("a")])
            assert await opened.end() == "the service failed"
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["a stream failed"]
        assert "secret" not in str(opened.comments)
    assert await ended(client, "fault") == 1
    response = await client.get(NOTES, headers=bearer(Accept=EVENTS))
    assert response.status == 200
    response.close()


def raw(path: str, headers: dict[str, str], version: str = "1.1") -> bytes:
    """A request for events, as it goes over the wire."""
    lines = [f"GET {path} HTTP/{version}", "Host: x", f"Accept: {EVENTS}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()


@pytest.mark.parametrize("ends", ["write_eof", "close"])
async def test_who_leaves_gives_up_the_place(client: Client, ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and not when there is something to tell: also by saying that nothing more will be asked."""
    monkeypatch.setattr(events, "COMMENT_S", 3600.0)
    _reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(raw(NOTES, bearer()))
    await until(lambda: streams(client) == 1)
    getattr(writer, ends)()
    await until(lambda: streams(client) == 0)
    writer.close()
    await until(lambda: len(client.app[keys.CONNECTIONS]) == 0)
    assert await ended(client, "left") == 1


async def test_an_old_client_gets_them_too(client: Client) -> None:
    """HTTP/1.0 knows no chunks: what comes is all there is, until the end."""
    await post(client, NOTES, [note("a")])
    reader_, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(raw(NOTES, bearer(), "1.0"))
    head, body = (await reader_.readuntil(b'"text":""}}\n\n')).split(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert body.startswith(b": favsync\n\nid: ")
    client.app[keys.STREAMS].close()
    assert await reader_.read() == b": the service ends\n\n"
    writer.close()


async def test_who_does_not_read_is_cut_off_and_is_held_little_for(
    serve: Serve, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much there is to tell: no more than a batch, and what the network takes."""
    monkeypatch.setattr(application, "READER_S", 2.0)
    monkeypatch.setattr(connections, "TICK_S", 0.05)
    client = await serve(entities=ENTITIES)
    size, count = 60_000, 1000
    await connection.execute(
        """
        INSERT INTO feed SELECT 'main/free', 'main/main/ann', 'item' || i, i, i, 0, false, 'x',
            json_build_object('text', repeat('x', $1)), now() FROM generate_series(1, $2::int) i
        """,
        size,
        count,
    )
    await connection.execute("INSERT INTO feed_head VALUES ('main/free', $1, 0)", count)
    silent = socket.create_connection((client.host, client.port))
    silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    silent.sendall(raw("/feed/free", reader()))
    await until(lambda: streams(client) == 1)
    held = [0]

    def cut_off() -> bool:
        transports = [one._own for one in client.app[keys.CONNECTIONS]._open if isinstance(one, Connection)]
        held.extend(transport.get_write_buffer_size() for transport in transports)
        return streams(client) == 1

    async with stream(client, "/feed/free") as quick:
        reading = asyncio.create_task(quick.events(count))
        await until(cut_off, "who does not read is kept")
        assert len(await reading) == count, "who reads is told all"
    await until(lambda: streams(client) == 0)
    silent.close()
    assert 0 < max(held) <= 2 * events.BYTES_MAX


async def test_a_stream_outlives_its_database(
    client: Client, shared_dsn: str, postgres: Server, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is away nothing is said but that somebody is there; nothing of what was written meanwhile is lost."""
    for module, name, value in ((events, "AGAIN_S", 0.1), (events, "COMMENT_S", 0.5), (sequencer, "RETRY_S", 0.1)):
        monkeypatch.setattr(module, name, value)
    await post(client, NOTES, [note("before")])
    await all_placed(connection)
    await connection.close()
    name = shared_dsn.partition("@/")[2].partition("?")[0]
    root = await asyncpg.connect(postgres.dsn("postgres"))
    async with stream(client, "/feed/notes") as feed, stream(client, NOTES, bearer()) as own:
        assert await feed.items(1) == await own.items(1) == ["before"]
        await until(lambda: _rename(root, name, f"{name}_away"))
        try:
            for opened in (feed, own):
                for _ in range(3):
                    await opened.comment("nothing new")
            assert (await client.get(FEED, headers=reader(Accept=EVENTS))).status == 503
            assert (await client.post(NOTES, json=[note("lost")], headers=bearer())).status == 503
        finally:
            await until(lambda: _rename(root, f"{name}_away", name))
        await until(lambda: _written(client))
        assert await feed.items(1) == await own.items(1) == ["after"]
    await root.close()


async def _rename(root: asyncpg.Connection, name: str, other: str) -> bool:
    """Nobody can reach it then, and whoever was connected is not any more."""
    await root.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    try:
        await root.execute(f"ALTER DATABASE {name} RENAME TO {other}")
    except asyncpg.ObjectInUseError:
        return False
    return True


async def _written(client: Client) -> bool:
    return (await client.post(NOTES, json=[note("after")], headers=bearer())).status == 200


async def test_a_stream_outlives_the_connections_to_its_database(
    client: Client, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut again and again while others write: each change is told, once, and the last one of each record."""
    monkeypatch.setattr(events, "AGAIN_S", 0.1)
    monkeypatch.setattr(sequencer, "RETRY_S", 0.1)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> $1"
    dates = [f"2020-01-01T00:00:{second:02d}.000Z" for second in range(20)]

    async def write() -> None:
        for date in dates:
            while (await client.post(NOTES, json=[note("a", date, date)], headers=bearer())).status == 503:
                await asyncio.sleep(0.02)
            await connection.fetch(cut, connection.get_server_pid())

    async with stream(client, "/feed/notes") as feed, stream(client, NOTES, bearer()) as own:
        writing = asyncio.create_task(write())
        for opened in (feed, own):
            seen: list[bytes] = []
            while not seen or dates[-1].encode() not in seen[-1]:
                [event] = await opened.events(1)
                seen.append(event.data)
            assert seen == sorted(set(seen), key=lambda data: re.search(rb"2020[^\"]+", data)[0])  # type: ignore[index]
        await writing


async def test_streams_are_counted(client: Client) -> None:
    async def gauge(name: str) -> float:
        text = await (await client.get("/metrics")).text()
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    async def shows(count: int) -> bool:
        return await gauge("favsync_streams") == count

    assert await gauge("favsync_streams_max") == 5000
    headers = {"Authorization": f"Bearer {token(scope='feed:read')}"}
    async with stream(client, FEED, headers), stream(client, NOTES, headers):
        await until(lambda: shows(2))
    await until(lambda: shows(0))
    await post(client, NOTES, [record("x", fields={})])
