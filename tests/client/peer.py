"""A server that answers what a test tells it to, right or wrong, byte for byte."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Writes = Callable[[asyncio.StreamWriter], Awaitable[None]]
DATE = "2020-01-01T00:00:00.000Z"


@dataclass
class Asked:
    """A request as it came. `headers`: names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Peer:
    """`answers`: raw bytes, or what writes them; each request gets the next one, and the last one is for all others."""

    def __init__(self) -> None:
        self.answers: list[bytes | Writes] = []
        self.asked: list[Asked] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in head[1:-2])}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
            self.asked.append(Asked(method, target, headers, body))
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()


def answer(status: int = 200, body: bytes | Any = b"", **headers: str) -> bytes:
    """A whole answer; what is no bytes is written as JSON. `Content_Type` is the header of that name."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"Content-Length": str(len(raw)), "Connection": "close"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join([*lines, "", ""]).encode() + raw


def problem(status: int, detail: str, **headers: str) -> bytes:
    return answer(status, {"detail": detail}, Content_Type="application/problem+json", **headers)


def good(item: Any = "a", date: Any = DATE, action: Any = "ADD", **more: Any) -> dict[str, Any]:
    return {"item": item, "actionDate": date, "action": action, **more}
