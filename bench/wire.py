"""The least of HTTP/1.1 that a load needs: a client that costs little leaves the machine to what is measured."""

import asyncio
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

_EVENT = b"\ndata: "
_FIRST_LINE = b": favsync\n"


class Refused(Exception):
    """503: come again later."""


class Poster:
    """Requests one after another, on one connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    @classmethod
    async def opened(cls, url: str) -> "Poster":
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        return cls(reader, writer, parts.netloc)

    async def post(self, path: str, token: str, body: bytes) -> bytes:
        """The body of the answer, which must be 200. Raises Refused, or RuntimeError for any other."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return await self._ask(head.encode() + body)

    async def get(self, path: str) -> bytes:
        """The body of the answer, as that of `post`; as somebody unknown."""
        return await self._ask(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())

    async def _ask(self, request: bytes) -> bytes:
        self._writer.write(request)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = answer.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
        content = await self._reader.readexactly(int(length))
        if answer.startswith(b"HTTP/1.1 503 "):
            raise Refused
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"{answer!r} {content!r}")
        return content

    def close(self) -> None:
        self._writer.close()


class Stream(asyncio.Protocol):
    """An event stream that is read at once.

    `begun`: done when its first line has come. `events`: how many have. `lost`: it has ended. `heard`: is called with
    what comes, head and all.
    """

    def __init__(self, path: str, token: str, host: str, heard: Callable[[bytes], None] | None) -> None:
        self._head = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n\r\n"
        )
        self._heard = heard
        self._transport: asyncio.Transport
        self._held = b""  # that may be the beginning of what is looked for
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.events = 0
        self.lost = False

    @classmethod
    async def opened(cls, url: str, path: str, token: str, heard: Callable[[bytes], None] | None = None) -> "Stream":
        """Returns when its first line has come. Raises RuntimeError where it is refused."""
        place = urlsplit(url).netloc
        host, _, port = place.partition(":")
        connect = asyncio.get_running_loop().create_connection
        _, stream = await connect(lambda: cls(path, token, place, heard), host, int(port))
        await stream.begun
        return stream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._head.encode())

    def data_received(self, data: bytes) -> None:
        if self._heard:
            self._heard(data)
        held = self._held + data
        self.events += held.count(_EVENT)
        self._held = held[-len(_EVENT) + 1 :]
        if not self.begun.done():
            if _FIRST_LINE in held:
                self.begun.set_result(None)
            else:
                self._held = held

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.begun.done():
            self.begun.set_exception(exc or RuntimeError(f"no stream: {self._held!r}"))

    def close(self) -> None:
        self._transport.abort()
