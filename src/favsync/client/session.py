"""The connections that clients share: bounded in time, size and place, and without redirects, proxies and cookies."""

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError
from multidict import CIMultiDictProxy
from yarl import URL

from favsync import __version__
from favsync.client import addresses
from favsync.client.addresses import Network
from favsync.client.clock import Clock
from favsync.client.errors import BadAnswer, ClientError, ForbiddenAddress, Unreachable
from favsync.client.resolver import Resolver

_T = TypeVar("_T")
_CHUNK_BYTES = 65_536
_STREAM_CHUNK_BYTES = 16_384  # which takes some milliseconds, were it nothing but empty lines
_REFUSED_BYTES_MAX = 1_048_576  # of the answer to a request that is refused, with the faults of a batch
_AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds. `connect`: until there is a connection; `read`: without a byte; `total`: for one answer.

    `silence`: without a byte of an event stream, in which a comment comes every 15 s.
    """

    connect: float = 10.0
    read: float = 30.0
    total: float = 60.0
    silence: float = 45.0


# The first row that an error is one of.
_FAILURES: list[tuple[type[Exception], type[ClientError], str]] = [
    (aiohttp.InvalidURL, ForbiddenAddress, "the URL has a host that cannot be one"),
    (UnicodeError, ForbiddenAddress, "the URL has a host that cannot be one"),
    (aiohttp.ClientConnectorDNSError, Unreachable, "its name was not found"),
    (aiohttp.ClientConnectorCertificateError, Unreachable, "its certificate is not one to trust"),
    (aiohttp.ClientSSLError, Unreachable, "there is no TLS with it"),
    (aiohttp.ConnectionTimeoutError, Unreachable, "there was no connection in time"),
    (TimeoutError, Unreachable, "there was no answer in time"),
    (aiohttp.ClientConnectorError, Unreachable, "there is no connection"),
    (aiohttp.ClientPayloadError, Unreachable, "the answer broke off"),
    (aiohttp.ClientResponseError, BadAnswer, "the answer is not HTTP"),
    (Exception, Unreachable, "the connection broke off"),
]


class Answer(NamedTuple):
    """`whole`: false where more came than was wanted, and the rest was not read."""

    url: URL
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    whole: bool


@dataclass(frozen=True, slots=True)
class Request:
    """`wait_s`: for how long the service was asked to hold its answer back."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | None = None
    wait_s: float = 0.0


class _Forbidden(OSError):
    """The reason for a connection that was not made. An OSError, so that the next address of the name is tried."""


class Session:
    """What any number of clients may share: `async with Session() as session`.

    `allowed_networks`: None, where whoever names the URLs may be trusted with them: any address. A list, which may be
    empty, where others name them: addresses that the whole world can reach, and those in the networks listed, such as
    10.0.0.0/8. It is compared at each connection, with what a name stands for at that moment.
    `allow_http`: URLs may begin with http. Without it only those of one's own machine may, and with a list of networks
    none.
    `connections`: at a time, at most; one that is not used is kept for `keepalive_s`.
    `ssl_context`: for an authority of one's own.
    """

    def __init__(  # noqa: PLR0913 -- all of them have defaults
        self,
        *,
        allowed_networks: Iterable[str | Network] | None = None,
        allow_http: bool = False,
        connections: int = 1000,
        keepalive_s: float = 15.0,
        timeouts: Timeouts | None = None,
        ssl_context: ssl.SSLContext | None = None,
        user_agent: str = f"favsync-client/{__version__}",
    ) -> None:
        self._allowed = None if allowed_networks is None else addresses.networks(allowed_networks)
        self._http: addresses.Http = "any" if allow_http else "loopback" if self._allowed is None else "none"
        self._connections = connections
        self._keepalive_s = keepalive_s
        self._ssl_context = ssl_context
        self._user_agent = user_agent
        self._opened: aiohttp.ClientSession | None = None
        self._resolver: Resolver | None = None
        self.timeouts = timeouts or Timeouts()

    async def __aenter__(self) -> Self:
        self._resolver = Resolver()
        self._opened = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._resolver,
                limit=self._connections,
                keepalive_timeout=self._keepalive_s,
                socket_factory=self._socket,
                ssl=self._ssl_context or True,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "gzip, deflate"},
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None and self._resolver is not None:
            await self._opened.close()
            await self._resolver.close()
            self._opened = self._resolver = None

    def check(self, base_url: str) -> URL:
        """The URL of a service as requests may go to it; ForbiddenAddress where they may not."""
        return addresses.base(base_url, http=self._http)

    def _socket(self, address: _AddressInfo) -> socket.socket:
        """For a connection to be made. Nothing comes between this and the connection: neither a name nor a literal."""
        family, kind, protocol, _, place = address
        if self._allowed is not None and not addresses.permitted(str(place[0]), self._allowed):
            raise _Forbidden("the name stands for an address that is not allowed")
        return socket.socket(family, kind, protocol)

    async def ask(self, request: Request, clock: Clock, *, bytes_max: int) -> Answer:
        """One request, and its answer with up to `bytes_max` bytes of its body, unpacked.

        Raises Unreachable, ForbiddenAddress and BadAnswer.
        """
        times = self.timeouts
        response = await self._start(
            request,
            clock,
            aiohttp.ClientTimeout(
                total=times.total + request.wait_s,
                sock_connect=times.connect,
                sock_read=times.read + request.wait_s,
            ),
        )
        try:
            body, whole = await _body(response, bytes_max)
        finally:
            response.release()  # which closes the connection where more would come
        return Answer(response.url, response.status, response.headers, body, whole)

    async def stream(self, request: Request, clock: Clock) -> "Stream":
        """One request whose answer goes on. Raises as `ask` does; close it."""
        times = self.timeouts
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=times.connect, sock_read=times.silence)
        return Stream(await self._start(request, clock, timeout), times)

    async def _start(self, request: Request, clock: Clock, times: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        if self._opened is None:
            raise RuntimeError("the session is not open: async with Session() as session")
        asking = clock.asking()
        response = await _told(
            self._opened.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                timeout=times,
            )
        )
        asking.answered(response.headers.get("Sync-Time"))
        return response


class Stream:
    """An answer that goes on: `status`, `headers`, and bytes as they come."""

    def __init__(self, response: aiohttp.ClientResponse, times: Timeouts) -> None:
        self._response = response
        self._times = times
        self.status = response.status
        self.headers = response.headers

    async def read(self) -> bytes:
        """What comes next; nothing: it has ended. Raises Unreachable.

        Others have their turn before it, also where there is always more: it would be for ever, else.
        """
        await asyncio.sleep(0)
        return await _told(self._response.content.read(_STREAM_CHUNK_BYTES))

    async def answer(self) -> Answer:
        """All of it, where it turned out to be a refusal."""
        body, whole = b"", False
        with suppress(TimeoutError):
            async with asyncio.timeout(self._times.total):
                body, whole = await _body(self._response, _REFUSED_BYTES_MAX)
        return Answer(self._response.url, self.status, self.headers, body, whole)

    def close(self) -> None:
        self._response.close()


async def _body(response: aiohttp.ClientResponse, bytes_max: int) -> tuple[bytes, bool]:
    refused = response.status >= HTTPStatus.BAD_REQUEST
    if refused:
        bytes_max = min(bytes_max, _REFUSED_BYTES_MAX)
    body = bytearray()
    try:
        while chunk := await _told(response.content.read(_CHUNK_BYTES)):
            body += chunk
            if len(body) > bytes_max:
                return bytes(body[:bytes_max]), False
    except (Unreachable, BadAnswer):
        if not refused:
            raise
        return b"", False  # its status says what matters
    return bytes(body), True


async def _told(step: Awaitable[_T]) -> _T:
    """The step, with its failures told as ours. Theirs are not kept: some hold the headers of the request."""
    try:
        return await step
    except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as error:
        failure = _failure(error)
    raise failure


def _failure(error: Exception) -> ClientError:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error.__cause__
    if isinstance(cause, _Forbidden):
        return ForbiddenAddress(str(cause))
    if isinstance(cause, ContentEncodingError):
        return BadAnswer("the answer is not packed as it says")
    kind, words = next((kind, words) for known, kind, words in _FAILURES if isinstance(error, known))
    return kind(f"{words}: {_reason(cause)}" if isinstance(cause, OSError) else words)


def _reason(error: OSError) -> str:
    """As the system says it; asyncio's own words would tell the address that a name stands for."""
    if isinstance(error, ssl.SSLError):  # whose errno is none of the system's
        return (error.reason or "unknown").replace("_", " ").lower()
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__  # of names that were not found
