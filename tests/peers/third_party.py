"""Backends as third parties write them who have read nothing but the seed: on real ports, each with ways of its own."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from favsync.core import timestamp
from favsync.core.record import Version

MS, S = 1000, 1_000_000
_USER = web.RequestKey("user", str)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


@dataclass
class ThirdParty:
    """One user's favourites, by token. `instead`: asked before each request what to answer; None: as usual.

    `precision_us`: what it keeps of a date; it prints no more than that. `exact`: it refuses a date with more.
    `conflicts`: it answers 409 to what is not newer.
    """

    etags: bool = True
    tombstones: bool = True
    writes: bool = True
    newer_only: bool = False
    ignores: bool = False
    exact: bool = False
    conflicts: bool = False
    precision_us: int = MS
    tokens: dict[str, str] = field(default_factory=lambda: {"token-of-ann": "ann"})
    has: dict[str, dict[str, Version]] = field(default_factory=dict)
    requests: list[tuple[str, str, int]] = field(default_factory=list)  # method, user, status
    instead: Answer | None = None
    url: str = ""
    bodies: list[Any] = field(default_factory=list)
    conditions: list[str | None] = field(default_factory=list)  # If-None-Match of each list that was asked for

    def edit(self, item: str, date: str, *, deleted: bool = False, user: str = "ann") -> None:
        """Somebody does something there."""
        self._write(user, item, Version(timestamp.parse(date), deleted))

    def shown(self, user: str = "ann") -> list[dict[str, str]]:
        digits = {S: 0, MS: 3}.get(self.precision_us, 6)
        return [
            {"item": item, "actionDate": _printed(version.action_us, digits), "action": str(version.action)}
            for item, version in sorted(self.has.get(user, {}).items())
        ]

    def posts(self) -> int:
        return sum(method == "POST" for method, _, _ in self.requests)

    async def start(self) -> "ThirdParty":
        app = web.Application(middlewares=[self._middleware])
        app.router.add_get("/getUserFavorites", self._get)
        if self.writes:
            app.router.add_post("/postUserFavorites", self._post)
        self._server = TestServer(app)
        await self._server.start_server()
        self.url = str(self._server.make_url("")).rstrip("/")
        return self

    async def stop(self) -> None:
        await self._server.close()

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.instead is not None and (answer := await self.instead(request)) is not None:
            self.requests.append((request.method, "", answer.status))
            return answer
        user = self.tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if user is None:
            self.requests.append((request.method, "", 401))
            return web.Response(status=401)
        request[_USER] = user
        usual: web.StreamResponse = await handler(request)
        self.requests.append((request.method, user, usual.status))
        return usual

    async def _get(self, request: web.Request) -> web.Response:
        self.conditions.append(request.headers.get("If-None-Match"))
        body = json.dumps(self.shown(request[_USER]))
        if not self.etags:
            return web.Response(text=body, content_type="application/json")
        etag = f'"{hash(body)}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        return web.Response(text=body, content_type="application/json", headers={"ETag": etag})

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        written = {
            record["item"]: Version(timestamp.parse(record["actionDate"]), record["action"] == "DELETE")
            for record in body
        }
        if self.exact and any(version.action_us % self.precision_us for version in written.values()):
            return web.Response(status=400)
        if self.conflicts and not all(self._wins(request[_USER], *one) for one in written.items()):
            return web.Response(status=409)
        if not self.ignores:
            for item, version in written.items():
                self._write(request[_USER], item, version)
        return web.Response(text="OK")

    def _wins(self, user: str, item: str, version: Version) -> bool:
        stands = self.has.get(user, {}).get(item)
        return not stands or (version.action_us > stands.action_us if self.newer_only else version > stands)

    def _write(self, user: str, item: str, version: Version) -> None:
        has = self.has.setdefault(user, {})
        kept = version._replace(action_us=version.action_us // self.precision_us * self.precision_us)
        if not self._wins(user, item, kept):
            return
        if kept.deleted and not self.tombstones:
            has.pop(item, None)
        else:
            has[item] = kept


def _printed(action_us: int, digits: int) -> str:
    text = timestamp.render(action_us).removesuffix("Z")
    whole, _, fraction = text.partition(".")
    return f"{whole}Z" if digits == 0 else f"{whole}.{fraction:0<{digits}.{digits}}Z"


async def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
    """Returns when it holds; AssertionError where it does not in time."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.02)
