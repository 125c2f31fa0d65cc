"""Who we are to a peer, request by request: in our turn, and as the user; with a token renewed where one can be."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import orjson
from yarl import URL

from favsync.client import Bearer, Busy, ClientError, Clock, Session, Unauthorized
from favsync.client.answers import check_status, json_of
from favsync.client.session import Answer, Request
from favsync.core.rate import RateLimiter
from favsync.http.auth import TOKEN_LENGTH_MAX
from favsync.identity.vault import Credentials
from favsync.peering import Peer, Renewal

ANSWER_BYTES_MAX = 64 * 1024  # of whoever gives tokens
_TOKEN = re.compile(rf"[!-~]{{1,{TOKEN_LENGTH_MAX}}}")
_ENDED = "invalid_grant"
# RFC 6749, section 5.2: these are about how we ask, and no user can mend them.
_OURS = {"invalid_request", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}
_FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}


class Unrenewed(ClientError):
    """Whoever gives tokens gave none, and not because the refresh token has ended. `retry_after_s`: as it said."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"whoever gives tokens: {reason}")

    @property
    def retryable(self) -> bool:
        return True


class Pace:
    """So many requests a second to one peer, of this process, in the order in which they were asked for."""

    def __init__(self, per_s: float) -> None:
        self._limiter = RateLimiter(per_s, burst_s=1.0)
        self._turn = asyncio.Lock()

    async def __call__(self) -> None:
        async with self._turn:
            while wait_s := self._limiter.wait_s("", time.monotonic()):  # noqa: ASYNC110 -- time is what it waits for
                await asyncio.sleep(wait_s)


class Caller:
    """An `Auth` of the client. `kept`: stores credentials that were renewed, before they are used."""

    def __init__(
        self,
        peer: Peer,
        credentials: Credentials,
        session: Session,
        pace: Callable[[], Awaitable[None]],
        kept: Callable[[Credentials], Awaitable[None]],
    ) -> None:
        self._peer = peer
        self._credentials = credentials
        self._session = session
        self._pace = pace
        self._kept = kept

    def __repr__(self) -> str:
        return f"Caller({self._peer.name!r})"

    async def headers(self) -> Mapping[str, str]:
        await self._pace()
        if self._peer.header is not None:
            return dict([self._peer.header])
        if self._credentials.token is None:
            raise Unauthorized(401, "there is no token")
        return await Bearer(self._credentials.token).headers()

    async def renew(self) -> bool:
        """With the refresh token, where there is one and it has not ended. RFC 6749, section 6. Raises Unrenewed."""
        renewal, refresh_token = self._peer.renewal, self._credentials.refresh_token
        if renewal is None or refresh_token is None:
            return False
        await self._pace()
        # Cut off in its midst, it would leave a refresh token that has ended, and nobody who has the next.
        return await _to_its_end(self._renew(renewal, refresh_token))

    async def _renew(self, renewal: Renewal, refresh_token: str) -> bool:
        try:
            token, refreshed = await self._ask(renewal, refresh_token)
        except Unauthorized:
            return False
        self._credentials = replace(self._credentials, token=token, refresh_token=refreshed or refresh_token)
        await self._kept(self._credentials)  # before it is used: the old one may have ended with this answer
        return True

    async def _ask(self, renewal: Renewal, refresh_token: str) -> tuple[str, str | None]:
        """Raises Unrenewed; Unauthorized where the refresh token has ended."""
        form = {
            "grant_type": "refresh_token", "refresh_token": refresh_token,
            "client_id": renewal.client_id, "client_secret": renewal.client_secret,
        }  # fmt: skip
        request = Request("POST", URL(renewal.url), _FORM, urlencode(form).encode(), 0.0)
        try:
            answer = await self._session.ask(request, Clock(), bytes_max=ANSWER_BYTES_MAX)
            _check(answer, {refresh_token, renewal.client_secret})
            content = json_of(answer)
        except (Unauthorized, Unrenewed):
            raise
        except ClientError as error:
            raise Unrenewed(str(error), error.retry_after_s if isinstance(error, Busy) else None) from None
        token, refreshed = (_token(content, name) for name in ("access_token", "refresh_token"))
        if token is None:
            raise Unrenewed("it answered without one")
        return token, refreshed


def _check(answer: Answer, secrets: AbstractSet[str]) -> None:
    """Raises Unauthorized where the user has to log in again, any other ClientError where that would not help."""
    code = _error(answer.body)
    denied = code is None and answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    if denied or (code == _ENDED and answer.status >= HTTPStatus.BAD_REQUEST):
        raise Unauthorized(answer.status, "the refresh token has ended")
    if code in _OURS:
        raise Unrenewed(f"it answered {answer.status}: {code}")
    check_status(answer, secrets, time.time)


def _error(body: bytes) -> str | None:
    """The code of RFC 6749, section 5.2; None: there is none."""
    try:
        content = orjson.loads(body)
    except ValueError:
        return None
    error = content.get("error") if isinstance(content, dict) else None
    return error if isinstance(error, str) else None


def _token(content: object, name: str) -> str | None:
    value = content.get(name) if isinstance(content, dict) else None
    return value if isinstance(value, str) and _TOKEN.fullmatch(value) else None


async def _to_its_end(work: Coroutine[Any, Any, bool]) -> bool:
    """What it gives. Where this is cancelled, that is so only once the work is done, which has limits of its own."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # else it would be told of as one that nobody has seen
        raise
