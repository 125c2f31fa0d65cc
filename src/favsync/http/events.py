"""Event streams: what is there, and then what comes, for as long as somebody reads."""

import asyncio
import functools
import random
import re
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

import structlog
from aiohttp import web

from favsync.core.errors import CursorExpired, IssuerUnavailable, TooManyRequests, Unauthenticated, Unavailable
from favsync.http import keys
from favsync.http.auth import identify
from favsync.http.doors import EVENTS
from favsync.http.respond import PRIVATE
from favsync.http.streams import Ended, Reason
from favsync.hub import Board, Topic
from favsync.identity.authenticator import Identity
from favsync.identity.tokens import LEEWAY_S

_log = structlog.get_logger(__name__)

COMMENT_S = 15.0  # without an event
AGAIN_S = 1.0  # after the database could not be read
PROOF_S = 60.0  # after which a token has to be good still
UNPROVEN_S = 300.0  # for which its issuer may be away meanwhile
LAST_WORDS_S = 1.0
ROWS_MAX = 100  # that a stream holds at a time, and
BYTES_MAX = 256 * 1024  # of fields in them, however slow its reader is

_HEADERS = PRIVATE | {"Content-Type": f"{EVENTS}; charset=utf-8", "X-Accel-Buffering": "no"}
_COMMENT = b": nothing new\n\n"
_REFUSED = re.compile(r";\s*q\s*=\s*0(?:\.0*)?\s*(?:;|$)", re.IGNORECASE)
_State = TypeVar("_State", bound=Hashable)
_Reader = Callable[[_State], Awaitable[tuple[_State, bytes]]]

_LAST_WORDS = {
    Reason.TOKEN: "the token has ended",
    Reason.CURSOR: "the cursor has ended",
    Reason.ROOM: "others need the room",
    Reason.SHUTDOWN: "the service ends",
    Reason.FAULT: "the service failed",
}


def wants_events(request: web.Request) -> bool:
    """Whether Accept names event streams, and the method is not HEAD. RFC 9110, 12.5.1."""
    if request.method == "HEAD":
        return False
    for part in ",".join(request.headers.getall("Accept", [])).split(","):
        kind, _, parameters = part.partition(";")
        if kind.strip().lower() == EVENTS and not _REFUSED.search(";" + parameters):
            return True
    return False


def resumed_after(request: web.Request) -> str | None:
    """The cursor to go on from: of a stream that was interrupted, what its last event said, else `after`."""
    last = request.headers.get("Last-Event-ID", "").strip() if wants_events(request) else ""
    return last or request.query.get("after")


def left_s(caller: Identity) -> float | None:
    """For how long the caller's token will be taken; None: nothing says."""
    if caller.expires_s is None:
        return None
    left = caller.expires_s - time.time()
    return left if left > 0 else max(0.0, left + LEEWAY_S)


def event(cursor: str, data: bytes) -> bytes:
    """One event, of the kind that has no name. HTML, section 9.2.6; `data` has no line break in it."""
    return b"id: %b\ndata: %b\n\n" % (cursor.encode(), data)


async def follow(
    request: web.Request,
    caller: Identity,
    topic: Topic,
    state: _State,
    read: _Reader[_State],
) -> web.StreamResponse:
    """Answers with all events behind `state`, and then with those that come, until the token ends or somebody goes.

    `read` gives what comes next, and the state behind it; the very state where nothing does. It is called once for all
    readers who are at one state, so what it gives must depend on that alone. While the database is away, the stream
    waits. A reader that is too slow is cut off by its connection's limits; meanwhile it holds one batch.
    """
    response = web.StreamResponse(headers=_HEADERS)
    metrics, streams, hub = request.app[keys.METRICS], request.app[keys.STREAMS], request.app[keys.HUB]
    reason = Reason.LEFT
    try:
        with streams.place(request, caller.owner), hub.follow(topic) as board:
            async with asyncio.timeout(left_s(caller)):
                await response.prepare(request)
                await response.write(b": favsync\n\n")
                await _pump(response, board, state, read, _Proof(request, caller))
    except Ended as ended:
        reason = ended.reason
    except (TimeoutError, Unauthenticated):
        reason = Reason.TOKEN
    except CursorExpired:
        reason = Reason.CURSOR
    except ConnectionError:
        pass
    except Exception:
        if not response.prepared:
            raise
        _log.exception("a stream failed")
        reason = Reason.FAULT
    metrics.stream_ended(reason)
    await _say_goodbye(request, response, reason)
    return response


async def _pump(
    response: web.StreamResponse,
    board: Board,
    state: _State,
    read: _Reader[_State],
    proof: "_Proof",
) -> None:
    spoke_at = time.monotonic()
    while True:
        await proof.renew()
        number, wait_s = board.number, COMMENT_S
        try:
            behind, events = await board.read(state, functools.partial(read, state))
        except Unavailable:
            behind, events, wait_s = state, b"", random.uniform(0.5, 1.5) * AGAIN_S  # noqa: S311 -- no secret
        if events:
            await response.write(events)
            spoke_at = time.monotonic()
        if behind != state:
            state = behind
            continue
        silent_s = time.monotonic() - spoke_at
        if not await board.beyond(number, wait_s=min(wait_s, COMMENT_S - silent_s)) and silent_s + wait_s >= COMMENT_S:
            await response.write(_COMMENT)
            spoke_at = time.monotonic()


class _Proof:
    """That the caller's token is good still: it may have been revoked, or its issuer's key."""

    def __init__(self, request: web.Request, caller: Identity) -> None:
        self._request = request
        self._caller = caller
        self._due_at = time.monotonic() + PROOF_S
        self._over_at = self._due_at + UNPROVEN_S

    async def renew(self) -> None:
        """Once a minute; sooner where nobody could tell. Raises Unauthenticated, also where nobody can for long."""
        now = time.monotonic()
        if now < self._due_at:
            return
        try:
            caller = await identify(self._request)
        except (IssuerUnavailable, TooManyRequests):
            if now > self._over_at:
                raise Unauthenticated(token_sent=True) from None
            self._due_at = now + COMMENT_S
            return
        if caller.owner != self._caller.owner or not self._caller.scopes <= caller.scopes:
            raise Unauthenticated(token_sent=True)
        self._due_at = now + PROOF_S
        self._over_at = self._due_at + UNPROVEN_S


async def _say_goodbye(request: web.Request, response: web.StreamResponse, reason: Reason) -> None:
    if reason is Reason.LEFT or not response.prepared:
        return
    try:
        async with asyncio.timeout(LAST_WORDS_S):
            await response.write(f": {_LAST_WORDS[reason]}\n\n".encode())
            await response.write_eof()
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
