"""An HTTP proxy in front of the service that loses, delays and refuses, and remembers who was sent what."""

import asyncio
import contextlib
import json
import random
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
from aiohttp import web

REFUSALS = {
    "busy": (503, {"Retry-After": "0"}, '{"detail": "busy"}'),
    "too many": (429, {"Retry-After": "0"}, '{"detail": "too many"}'),
    "not signed in": (401, {"WWW-Authenticate": "Bearer"}, '{"detail": "no"}'),
    "a portal": (200, {"Content-Type": "text/html"}, "<html>Welcome to the hotel</html>"),
    "closed": (503, {"Retry-After": "3600"}, '{"detail": "closed"}'),
}
FAULTS = ("lost on the way", "lost on the way back", "cut", "slow", "busy", "too many", "not signed in", "a portal")
START_S = 10
SLOW_S = 0.3
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "host")


class Passed(NamedTuple):
    """A request that reached the service, with the status it answered (0: the proxy gave up)."""

    token: str
    method: str
    path: str
    headers: Mapping[str, str]
    content: Any
    status: int


class FaultyProxy:
    """`fault`: asked once a request; None passes it on untouched. `url`: whom it stands before, which may change."""

    def __init__(self, url: str) -> None:
        self.target = url
        self.fault: Callable[[], str | None] = lambda: None
        self.passed: list[Passed] = []
        self.met = 0  # requests, whatever became of them
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(START_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_S)
        self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            self._ready.set()
            await self._stop.wait()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.met += 1
        fault = self.fault()
        if fault in REFUSALS:
            status, headers, text = REFUSALS[fault]
            return web.Response(status=status, headers=headers, text=text)
        if fault == "lost on the way":
            return self._hang_up(request)
        if fault == "slow":
            await asyncio.sleep(SLOW_S)
        body = await request.read()
        status, headers, answer = await self._forward(request, body)
        if fault == "lost on the way back":
            return self._hang_up(request)
        if fault == "cut" and len(answer) > 1:
            begun = web.StreamResponse(status=status, headers=headers)
            begun.content_length = len(answer)
            await begun.prepare(request)
            await begun.write(answer[: len(answer) // 2])
            return self._hang_up(request)
        return web.Response(status=status, headers=headers, body=answer)

    async def _forward(self, request: web.Request, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        status, answered, answer = 0, {}, b""
        try:
            async with self._session.request(
                request.method, self.target + request.path_qs, data=body or None, headers=headers
            ) as response:
                answer = await response.read()
                status = response.status
                answered = {name: value for name, value in response.headers.items() if name.lower() not in HOP_BY_HOP}
        except aiohttp.ClientError:
            status = 502
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        content = json.loads(body) if body else None
        self.passed.append(Passed(token, request.method, request.path_qs, dict(request.headers), content, status))
        return status, answered, answer

    def _hang_up(self, request: web.Request) -> web.Response:
        with contextlib.suppress(AttributeError):  # the client may have hung up before
            assert request.transport is not None
            request.transport.abort()
        return web.Response()


def at_random(chance: random.Random, share: float) -> Callable[[], str | None]:
    """Each fault as often as the others, `share` of all requests in sum."""
    return lambda: chance.choice(FAULTS) if chance.random() < share else None


def once(fault: str) -> Callable[[], str | None]:
    faults = [fault]
    return lambda: faults.pop() if faults else None
