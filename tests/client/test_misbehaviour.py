"""Whatever the other side does, a client comes back in time, with an error that says what it was, and no token."""

import asyncio
import contextlib
import gc
import gzip
import io
import json
import logging
import ssl
import subprocess
import sys
import time
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from favsync.client import (
    BadAnswer,
    Bearer,
    Busy,
    Client,
    ClientError,
    CursorGone,
    Invalid,
    Record,
    Refused,
    Retry,
    ServerFault,
    Session,
    Timeouts,
    Unauthorized,
    Unreachable,
)
from tests.client.peer import Peer, Writes, answer, good, problem

TOKEN = "a-token-that-is-secret"
MIB = 1024 * 1024
QUICK = Timeouts(connect=0.5, read=0.4, total=0.8)
AT_ONCE = Retry(attempts=3, total_s=20, wait_initial_s=0.01, wait_max_s=0.02)
SENT = [Record("a", 1_577_836_800_000_000)]
LIST = json.dumps([good(), good("b")]).encode()
MANY = json.dumps([good(f"{number * number}") for number in range(500)]).encode()


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    async with Session(timeouts=QUICK) as opened:
        yield opened


def client(peer: Peer, session: Session, **options: Any) -> Client:
    return Client(peer.url, TOKEN, **({"session": session, "retry": None, "bytes_max": MIB} | options))


def packed(body: bytes, encoding: str = "gzip", **headers: str) -> bytes:
    return answer(200, body, Content_Encoding=encoding, **headers)


async def reset_in_mid_body(writer: asyncio.StreamWriter) -> None:
    writer.write(answer(200, LIST)[:-10])
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.transport.abort()


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n[")
    while True:
        writer.write(65536 * b" ")
        await writer.drain()


async def drip(writer: asyncio.StreamWriter) -> None:
    """A byte, each time before a byte is missed."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n[")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def drip_of_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def silence(_writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


def too_short() -> bytes:
    return answer(200, LIST, Content_Length=str(len(LIST) + 5))


MISBEHAVIOUR: dict[str, tuple[bytes | Writes, type[ClientError], str]] = {
    "HTML": (answer(200, b"<!DOCTYPE html><title>Sign in</title>", Content_Type="text/html"), BadAnswer, "HTML"),
    "nothing": (answer(200, b""), BadAnswer, "empty"),
    "no content": (b"HTTP/1.1 204 No\r\nConnection: close\r\n\r\n", BadAnswer, "no whole list"),
    "half a JSON": (answer(200, LIST[:-5]), BadAnswer, "not all"),
    "a length that is too small": (answer(200, LIST, Content_Length=str(len(LIST) - 5)), BadAnswer, "not all|not HTTP"),
    "a length that is too great": (too_short(), Unreachable, "broke off"),
    "text": (answer(200, b"OK"), BadAnswer, "no JSON"),
    "not UTF-8": (answer(200, b'["\xff"]'), BadAnswer, "no JSON"),
    "very deep": (answer(200, 100_000 * b"["), BadAnswer, "no JSON"),
    "an object": (answer(200, {"items": []}), BadAnswer, "no list"),
    "a number": (answer(200, b"7"), BadAnswer, "no list"),
    "null": (answer(200, b"null"), BadAnswer, "no list"),
    "304 unasked": (b"HTTP/1.1 304 No\r\nConnection: close\r\n\r\n", BadAnswer, "304"),
    "a redirect": (answer(302, Location="http://127.0.0.1:1/"), BadAnswer, "redirect"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", BadAnswer, "not HTTP"),
    "a header without end": (b"HTTP/1.1 200 OK\r\nX: " + 100_000 * b"x" + b"\r\n\r\n", BadAnswer, "not HTTP"),
    "closed": (b"", Unreachable, "broke off"),
    "closed in a header": (b"HTTP/1.1 200 OK\r\nContent", Unreachable, "broke off"),
    "reset in mid-body": (reset_in_mid_body, Unreachable, "broke off"),
    "a body without end": (endless, BadAnswer, "more than 1048576 bytes"),
    "drip": (drip, Unreachable, "in time"),
    "drip of headers": (drip_of_headers, Unreachable, "in time"),
    "silence": (silence, Unreachable, "in time"),
    "not packed as it says": (packed(LIST), BadAnswer, "packed"),
    "packed otherwise": (packed(LIST, "br"), BadAnswer, "HTTP"),
    "half of a packed one": (packed(gzip.compress(MANY)[:900]), BadAnswer, "not all"),
    "more than it says when unpacked": (packed(gzip.compress(2 * MIB * b" " + LIST)), BadAnswer, "more than"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISBEHAVIOUR)
async def test_what_a_pull_says_of_it(peer: Peer, session: Session, name: str) -> None:
    sent, kind, words = MISBEHAVIOUR[name]
    peer.answers = [sent]
    began_at = time.monotonic()
    with pytest.raises(kind, match=words) as caught:
        await client(peer, session).pull()
    assert time.monotonic() - began_at < 5
    assert caught.value.retryable == (kind is Unreachable)
    assert holds_no_token(caught.value)


# A third party may answer a POST with anything, as long as it is an answer; that much cannot be told from one.
TAKEN = {
    "nothing", "no content", "half a JSON", "a length that is too small", "text", "not UTF-8", "very deep", "an object",
    "a number", "null", "a body without end", "half of a packed one", "more than it says when unpacked",
}  # fmt: skip


@pytest.mark.parametrize("name", MISBEHAVIOUR)
async def test_what_a_push_says_of_it(peer: Peer, session: Session, name: str) -> None:
    sent, kind, words = MISBEHAVIOUR[name]
    peer.answers = [sent]
    if name in TAKEN:
        try:
            assert await client(peer, session).push(SENT) is None
        except BadAnswer:
            assert "small" in name  # what comes behind such an answer may be seen, or not
        return
    with pytest.raises(kind, match=words) as caught:
        await client(peer, session).push(SENT)
    assert caught.value.acknowledged == 0
    assert holds_no_token(caught.value)


@pytest.mark.parametrize(
    "taken",
    [answer(201, b"Created"), answer(200, [good()]), answer(202, {"receipts": "none"}), answer(200, {"receipts": []})],
)
async def test_any_2xx_is_a_yes(peer: Peer, session: Session, taken: bytes) -> None:
    peer.answers = [taken, answer(200, {"receipts": [{"item": "b", "outcome": "applied"}]})]
    assert await client(peer, session).push([*SENT, Record("b", 1)], batch=1) is None
    assert [json.loads(one.body)[0]["item"] for one in peer.asked] == ["a", "b"]


async def test_a_bomb_is_not_unpacked(peer: Peer, session: Session) -> None:
    """Half a GiB in half a MiB: it is let go of soon after the limit."""
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(16 * MIB)) for _ in range(32)) + packer.flush()
    assert len(bomb) < MIB
    peer.answers = [packed(bomb)]
    for step in (client(peer, session).pull, lambda: client(peer, session).push(SENT)):
        gc.collect()
        tracemalloc.start()
        with contextlib.suppress(BadAnswer):
            await step()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 8 * MIB
    assert len(peer.asked) == 2


async def test_a_packed_answer_is_read(peer: Peer, session: Session) -> None:
    for encoding, pack in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        peer.answers = [packed(pack(LIST), encoding)]
        assert len((await client(peer, session).pull()).records) == 2


async def test_nothing_listens_there(peer: Peer, session: Session) -> None:
    port = peer.port
    await peer.stop()
    with pytest.raises(Unreachable, match=r"refused$"):
        await Client(f"http://127.0.0.1:{port}", TOKEN, session=session, retry=None).pull()


async def test_http_where_https_is_asked_for(session: Session) -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(400, LIST))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(Unreachable, match=r"^there is no TLS with it: (wrong version number|record layer failure)$"):
        await Client(url, TOKEN, session=session, retry=None).pull()
    server.close()


async def test_a_certificate_of_nobody(session: Session, tmp_path: Path) -> None:
    pem = tmp_path / "self.pem"
    pem.write_bytes(self_signed("localhost"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(200, LIST))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(Unreachable, match="certificate"):
        await Client(url, TOKEN, session=session, retry=None).pull()
    trusting = ssl.create_default_context(cafile=pem)
    async with Session(ssl_context=trusting) as own:
        assert len((await Client(url, TOKEN, session=own, retry=None).pull()).records) == 2
    server.close()


async def test_rubbish_beside_good_records(peer: Peer, session: Session) -> None:
    mixed = [good("a"), good("a", "2021-01-01T00:00:00Z"), 7, good("b", "never"), good("c", action="LIKE"), good("d")]
    peer.answers = [answer(200, mixed, ETag='"x"')]
    pulled = await client(peer, session).pull()
    assert [one.item for one in pulled.records] == ["a", "d"]
    assert [one.index for one in pulled.refused] == [0, 2, 3, 4]
    assert (pulled.etag, pulled.cursor) == ('"x"', None)


async def test_what_a_record_is_refused_for_can_be_logged_and_shown(peer: Peer, session: Session) -> None:
    peer.answers = [answer(200, [good(fields={"\x1b]0;owned\x07" + "x" * 5000: 2**60})])]
    [refused] = (await Client(peer.url, "token", session=session).pull()).refused
    assert refused.reason.isprintable()
    assert len(refused.reason) <= 500


async def test_a_small_answer_does_not_become_a_large_list(peer: Peer, session: Session) -> None:
    """16 million of nothing, in 32 kB: each would be told of as a record that is refused."""
    rubbish = b"[" + b"0," * (2**24 - 10) + b"0]"
    peer.answers = [answer(200, gzip.compress(rubbish), Content_Encoding="gzip")]
    with pytest.raises(BadAnswer, match="the list has more than 1000000 records"):
        await Client(peer.url, "token", session=session).pull()


async def test_pages_have_an_end_and_no_other_origin(peer: Peer, session: Session) -> None:
    page = answer(200, [good()], Link='<?page=x>; rel="next"')
    peer.answers = [page]
    with pytest.raises(BadAnswer, match="more than 7 pages"):
        await client(peer, session, pages_max=7).pull()
    assert len(peer.asked) == 7
    assert peer.asked[-1].target == "/sync/favorites?page=x"
    peer.answers = [answer(200, [good()], Link='<http://127.0.0.2/>; rel="next"')]
    with pytest.raises(BadAnswer, match="another service"):
        await client(peer, session).pull()


async def test_a_tag_is_sent_for_the_first_page_alone(peer: Peer, session: Session) -> None:
    changed = good("a", "2021-01-01T00:00:00Z")
    peer.answers = [
        answer(200, [good()], Link="<?page=x>; rel=next", Sync_Cursor="c1"), answer(200, [good("b"), changed]),
    ]  # fmt: skip
    pulled = await client(peer, session).pull(etag='"old"', after="c0")
    assert [one.headers.get("if-none-match") for one in peer.asked] == ['"old"', None]
    assert (len(pulled.records), pulled.cursor, pulled.etag) == (2, "c1", None)
    assert pulled.refused == [], "it has changed between the pages"


async def test_a_byte_order_mark_is_no_fault(peer: Peer, session: Session) -> None:
    peer.answers = [answer(200, b"\xef\xbb\xbf" + LIST)]
    assert len((await client(peer, session).pull()).records) == 2


STATUSES: list[tuple[int, type[Refused], bool]] = [
    (400, Invalid, False), (413, Invalid, False), (415, Invalid, False), (422, Invalid, False),
    (401, Unauthorized, False), (403, Unauthorized, False), (404, Refused, False), (405, Refused, False),
    (408, Refused, True), (410, CursorGone, False), (425, Refused, True), (429, Busy, True), (503, Busy, True),
    (500, ServerFault, True), (502, ServerFault, True), (504, ServerFault, True), (599, ServerFault, True),
]  # fmt: skip


@pytest.mark.parametrize(("status", "kind", "retryable"), STATUSES)
async def test_each_status_has_its_error(
    peer: Peer, session: Session, status: int, kind: type[Refused], retryable: bool
) -> None:
    for sent, detail in (
        (problem(status, "It is so."), "It is so."),
        (problem(status, "It is\r\nso."), "It is  so."),
        (problem(status, 9999 * "x"), 500 * "x"),
        (problem(status, f"The token {TOKEN} is not ours"), None),
        (problem(status, f"Bearer {TOKEN}"), None),
        (answer(status, {"detail": "It is so."}), None),
        (answer(status, b"{", Content_Type="application/problem+json"), None),
        (answer(status, b"[]", Content_Type="application/problem+json"), None),
        (answer(status, {"detail": 7}, Content_Type="application/problem+json"), None),
        (answer(status, b"<html>", Content_Length="9999"), None),
        (answer(status, 9 * MIB * b" "), None),
    ):
        peer.answers = [sent]
        with pytest.raises(Refused) as caught:
            await client(peer, session).pull()
        error = caught.value
        assert (type(error), error.status, error.detail, error.retryable) == (kind, status, detail, retryable)
        assert holds_no_token(error)


async def test_a_refusal_is_not_read_without_end(peer: Peer, session: Session) -> None:
    sent = 0

    async def endless_refusal(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 500 No\r\n\r\n")
        while True:
            writer.write(65536 * b" ")
            await writer.drain()
            sent += 65536

    peer.answers = [endless_refusal]
    with pytest.raises(ServerFault):
        await client(peer, session, bytes_max=64 * MIB).pull()
    assert sent < 16 * MIB


async def test_a_silent_service_is_left_before_its_time_is_up(peer: Peer) -> None:
    peer.answers = [silence]
    began_at = time.monotonic()
    async with Session(timeouts=Timeouts(read=0.3, total=20)) as session:
        with pytest.raises(Unreachable, match="in time"):
            await client(peer, session).pull()
    assert time.monotonic() - began_at < 5


async def test_faults_that_are_none_are_passed_over(peer: Peer, session: Session) -> None:
    fault = {"index": 0, "pointer": "/0/item", "detail": "is bad"}
    odd: list[Any] = [7, {}, fault | {"index": "0"}, fault | {"detail": TOKEN}, fault | {"pointer": "/0"}]
    for errors, expected in (
        ([*odd, fault], [(0, "/0/item", ""), (0, "/0", "is bad"), (0, "/0/item", "is bad")]),
        ("none", []),
        (5000 * [fault], 1000 * [(0, "/0/item", "is bad")]),
    ):
        peer.answers = [answer(422, {"errors": errors}, Content_Type="application/problem+json")]
        with pytest.raises(Invalid) as caught:
            await client(peer, session).push(SENT)
        assert [(one.index, one.pointer, one.detail) for one in caught.value.faults] == expected


async def test_when_to_ask_again(peer: Peer, session: Session) -> None:
    for header, least, most in (
        (("7"), 7, 7),
        (formatdate(time.time() + 100, usegmt=True), 95, 101),
        ("soon", None, None),
    ):
        peer.answers = [problem(429, "slowly", Retry_After=header)]
        with pytest.raises(Busy) as caught:
            await client(peer, session).pull()
        seconds = caught.value.retry_after_s
        assert seconds is None if least is None else least <= (seconds or 0) <= (most or 0)


async def test_what_passes_is_tried_again(peer: Peer, session: Session) -> None:
    for bad in (b"", problem(503, "no"), problem(429, "no", Retry_After="0"), answer(500), too_short(), answer(408)):
        peer.asked.clear()
        peer.answers = [bad, bad, answer(204)]
        await client(peer, session, retry=AT_ONCE).push(SENT)
        assert len(peer.asked) == 3
        assert len({one.body for one in peer.asked}) == 1
    peer.asked.clear()
    peer.answers = [answer(500)]
    with pytest.raises(ServerFault):
        await client(peer, session, retry=AT_ONCE).push(SENT)
    assert len(peer.asked) == 3


async def test_what_does_not_pass_is_not(peer: Peer, session: Session) -> None:
    bad = (answer(200, b"<html>"), problem(401, "no"), problem(410, "no"), problem(422, "no"), answer(404), answer(302))
    for number, one in enumerate(bad, 1):
        peer.answers = [one] * number
        with pytest.raises(ClientError):
            await client(peer, session, retry=AT_ONCE).push(SENT)
        assert len(peer.asked) == number


async def test_without_retries_there_is_one_attempt(peer: Peer, session: Session) -> None:
    peer.answers = [problem(503, "no", Retry_After="0")]
    with pytest.raises(Busy):
        await client(peer, session).pull()
    assert len(peer.asked) == 1


async def test_retry_after_is_waited_for_where_it_is_bearable(peer: Peer, session: Session) -> None:
    peer.answers = [problem(503, "no", Retry_After="1"), answer(200, LIST)]
    began_at = time.monotonic()
    await client(peer, session, retry=AT_ONCE).pull()
    assert 1 <= time.monotonic() - began_at < 4
    for policy in (Retry(retry_after_max_s=5), Retry(total_s=5)):
        peer.asked.clear()
        peer.answers = [problem(503, "no", Retry_After="6")]
        began_at = time.monotonic()
        with pytest.raises(Busy):
            await client(peer, session, retry=policy).pull()
        assert len(peer.asked) == 1
        assert time.monotonic() - began_at < 3


async def test_the_first_batches_stay_acknowledged(peer: Peer, session: Session) -> None:
    peer.answers = [answer(204), answer(204), problem(503, "no")]
    with pytest.raises(Busy) as caught:
        await client(peer, session).push([Record(f"{number}", 1) for number in range(9)], batch=3)
    assert caught.value.acknowledged == 6


class Renewing:
    """Its token is good until it is not."""

    def __init__(self, *, renews: bool) -> None:
        self.renews, self.asked, self.number = renews, 0, 0

    async def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {TOKEN}-{self.number}", "X-Tenant": "main"}

    async def renew(self) -> bool:
        self.asked += 1
        self.number += self.renews
        return self.renews


async def test_after_401_the_token_is_renewed_once(peer: Peer, session: Session) -> None:
    for step in ("pull", "push", "follow"):
        peer.asked.clear()
        auth = Renewing(renews=True)
        last = answer(204) if step != "pull" else answer(200, LIST)
        peer.answers = [problem(401, "expired"), last]
        own = Client(peer.url, auth, session=session)
        if step == "pull":
            await own.pull()
        elif step == "push":
            await own.push(SENT)
        else:
            assert [one async for one in own.follow()] == []
        assert [one.headers["authorization"] for one in peer.asked] == [f"Bearer {TOKEN}-0", f"Bearer {TOKEN}-1"]
        assert [one.headers["x-tenant"] for one in peer.asked] == ["main", "main"]
        assert auth.asked == 1


async def test_a_stream_that_was_refused_leaves_its_connection_to_the_next(peer: Peer) -> None:
    async def refused(writer: asyncio.StreamWriter) -> None:
        writer.write(problem(401, "expired", Content_Length="9999"))
        await writer.drain()
        await asyncio.sleep(5)

    peer.answers = [refused, answer(204)]
    async with Session(connections=1) as session, asyncio.timeout(3):
        assert [one async for one in Client(peer.url, Renewing(renews=True), session=session).follow()] == []


@pytest.mark.parametrize(("renews", "requests"), [(True, 2), (False, 1)])
async def test_one_that_cannot_be_renewed_is_told(peer: Peer, session: Session, renews: bool, requests: int) -> None:
    peer.answers = [problem(401, "expired")]
    auth = Renewing(renews=renews)
    with pytest.raises(Unauthorized, match="expired"):
        await Client(peer.url, auth, session=session).pull()
    assert (len(peer.asked), auth.asked) == (requests, 1)
    peer.answers = [problem(403, "not yours")]
    with pytest.raises(Unauthorized):
        await Client(peer.url, auth, session=session).pull()
    assert auth.asked == 1, "another token would not be allowed more"


async def test_no_cookie_goes_back(peer: Peer, session: Session) -> None:
    peer.answers = [answer(200, LIST, Set_Cookie="session=1; Path=/")]
    url = f"http://localhost:{peer.port}"  # of an address no jar keeps any
    for _ in range(2):
        await Client(url, TOKEN, session=session, retry=None).pull()
    assert ["cookie" in one.headers for one in peer.asked] == [False, False]


async def test_the_environment_names_no_proxy(peer: Peer, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    peer.answers = [answer(200, LIST)]
    await client(peer, session).pull()


async def test_no_token_is_logged_or_shown(
    peer: Peer, session: Session, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    own = client(peer, session, retry=AT_ONCE)
    for sent in (answer(500), problem(503, TOKEN), b"", b"nonsense\r\n\r\n", answer(200, LIST)):
        peer.answers = [sent]
        with contextlib.suppress(ClientError):
            await own.pull()
    printed = capfd.readouterr()
    for text in (caplog.text, printed.out, printed.err, repr(own), repr(Bearer(TOKEN)), repr(own._wire), repr(session)):
        assert TOKEN not in text


@pytest.mark.parametrize("bad", ["", "sec ret", "sec\nret", "s\u00e9cret", "secret\0"])
def test_a_token_that_is_none_is_not_repeated(bad: str) -> None:
    with pytest.raises(ValueError) as caught:
        Client("https://favsync.example.org", bad)
    assert not bad or bad not in str(caught.value)


def test_what_else_cannot_be() -> None:
    with pytest.raises(ValueError, match="slash"):
        Client("https://favsync.example.org", TOKEN, paths=("@example.com/", "/x"))  # type: ignore[arg-type]


async def test_a_batch_holds_something(session: Session) -> None:
    with pytest.raises(ValueError, match="batch"):
        await Client("https://favsync.example.org", TOKEN, session=session).push(SENT, batch=0)


async def test_thousands_share_one_session(peer: Peer, session: Session) -> None:
    peer.answers = [answer(200, LIST)]
    clients = [Client(peer.url, f"{TOKEN}-{number}", session=session, retry=None) for number in range(2000)]
    for own in clients[::400]:
        await own.pull()
    assert [one.headers["authorization"] for one in peer.asked] == [f"Bearer {TOKEN}-{n}" for n in range(0, 2000, 400)]


def test_it_brings_nothing_that_serves() -> None:
    names = (
        "asyncpg",
        "typer",
        "marshmallow",
        "structlog",
        "aiohttp.web",
        "prometheus_client",
        "favsync.http",
        "favsync.store",
    )
    script = f"import sys, favsync.client; print([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def self_signed(name: str) -> bytes:
    """A key, and a certificate for it that is signed by nobody else."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def holds_no_token(error: BaseException | None) -> bool:
    """Nor does what hangs on it."""
    while error is not None:
        shown = io.StringIO()
        traceback.print_exception(error, file=shown)
        if any(TOKEN in text for text in (str(error), repr(error), repr(vars(error)), shown.getvalue())):
            return False
        error = error.__cause__ or error.__context__
    return True
