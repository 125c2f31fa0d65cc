"""A backend that does all as documented, but for one fault that a test names."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from favsync.conformance.refusing import NO_DATE
from favsync.core import timestamp
from favsync.core.record import Version
from favsync.core.timestamp import US_PER_S

TOKEN = "token-of-ann"
HOUR_US, MINUTE_US = 3600 * US_PER_S, 60 * US_PER_S
PAGE = 7
SKEW_US = 10 * MINUTE_US
ZONE = "+02:00"
Content = Any
_SHOWN_US = {"local time": 2 * HOUR_US, "western time": -4 * HOUR_US}
_UNITS_US = {"seconds": US_PER_S, "rounds seconds": US_PER_S, "rounds ms": 1000, "minutes": MINUTE_US, "ms": 1000}


class Invalid(Exception):
    """Of a record."""


def now_us() -> int:
    return time.time_ns() // 1000


class Backend:
    """`fault`: its one. `has`: what it keeps, by item. `posts`: bodies that came with the right token."""

    def __init__(self, fault: str = "", token: str = TOKEN) -> None:
        self.fault, self._token = fault, token
        self.has: dict[str, Version] = {}
        self.doubles: list[str] = []
        self.posts: list[bytes] = []
        self.seen: list[str] = []
        self.paths: set[str] = set()
        self._was: list[tuple[float, dict[str, Version]]] = [(0.0, {})]
        self._ahead_us = now_us() + HOUR_US
        if fault == "one unreadable":
            self.has["good"] = Version(0, deleted=False)
        self._busy = 2
        self.asked = 0  # since the last window began
        self._broke = False
        self.url = ""

    async def start(self) -> "Backend":
        app = web.Application(client_max_size=2**20)
        app.router.add_get("/getUserFavorites", self._get)
        if self.fault != "no POST":
            app.router.add_post("/postUserFavorites", self._post)
        app.router.add_get("/mine/{user}/{end}", self._get)
        app.router.add_post("/mine/{user}/{end}", self._post)
        self._server = TestServer(app)
        await self._server.start_server()
        self.url = str(self._server.make_url("")).rstrip("/")
        return self

    async def stop(self) -> None:
        await self._server.close()

    def _is_known(self, request: web.Request, fault: str) -> bool:
        said = request.headers.get("X-Key" if self.fault == "other header" else "Authorization", "")
        said = said.removeprefix("Bearer ")
        self.seen.append(said)
        self.paths.add(request.raw_path)
        if self.fault == "signature unread" and said.count(".") == 2:
            return said.split(".")[:2] == self._token.split(".")[:2]
        return said == self._token or self.fault == fault

    def _to_a_stranger(self) -> web.Response:
        if self.fault in _STRANGERS:
            return web.Response(text=_STRANGERS[self.fault])
        return web.Response(status=400 if self.fault == "400 to strangers" else 401)

    async def _get(self, request: web.Request) -> web.StreamResponse:  # noqa: C901, PLR0911 -- one for each fault
        if not self._is_known(request, "anybody reads"):
            return self._to_a_stranger()
        if request.match_info.get("user", "").startswith("favsync-check-") and self.fault != "one list for all":
            return web.json_response([])
        if self.fault in _WHOLE:
            return await _WHOLE[self.fault](request)
        if self.fault == "busy" and self._busy:
            self._busy -= 1
            return web.Response(status=503, headers={"Retry-After": "0"})
        self.asked += 1
        if self.fault == "a window" and self.asked > 20:  # within a minute
            return web.Response(status=429, headers={"Retry-After": "60"})
        if self.fault == "busy for long":
            return web.Response(status=503, headers={"Retry-After": "3600"})
        if self.fault == "falls over" and self._broke:
            return web.Response(status=500)
        if self.fault in ("paged", "leads elsewhere"):
            return self._page(int(request.query.get("page", "0")))
        body = json.dumps(self._list())
        kind = "text/html" if self.fault == "content type" else "application/json"
        if self.fault == "no etag":
            return web.Response(text=body, content_type=kind)
        tag = '"1"' if self.fault == "stale tag" else f'"{hash(body)}"'
        asked = request.headers.get("If-None-Match")
        if asked is not None and self.fault == "500 to a tag":
            return web.Response(status=500)
        if asked is not None and (asked == tag or self.fault == "304 to any") and self.fault != "tag unread":
            return web.Response(status=304, headers={"ETag": tag})
        return web.Response(text=body, content_type=kind, headers={"ETag": tag})

    def _page(self, number: int) -> web.Response:
        shown = self._list()
        end = (number + 1) * PAGE
        host = "http://localhost:1" if self.fault == "leads elsewhere" else ""
        more = {"Link": f'<{host}/getUserFavorites?page={number + 1}>; rel="next"'} if end < len(shown) or host else {}
        return web.json_response(shown[number * PAGE : end], headers=more)

    def _list(self) -> list[dict[str, Content]]:
        has = self.has
        if self.fault == "slow":
            has = next(was for at, was in reversed(self._was) if at < time.monotonic() - 0.6)
        shown = [self._record(item, version) for item, version in sorted(has.items())]
        shown += [self._record(item, self.has[item]) for item in self.doubles]
        if self.fault == "one unreadable":
            shown.append({"item": "theirs", "actionDate": "some day", "action": "ADD"})
        if self.fault == "other names":
            shown = [{"id": one["item"], "date": one["actionDate"]} for one in shown]
            shown.append({"id": "theirs", "date": "2020-01-01T00:00:00Z"})
        if self.fault == "future dates":
            date = timestamp.render(self._ahead_us)
            shown.append({"item": "theirs", "actionDate": date, "action": "ADD"})
        return shown

    def _record(self, item: str, version: Version) -> dict[str, Content]:
        date = timestamp.render(version.action_us + _SHOWN_US.get(self.fault, 0))
        if self.fault == "numeric GMT":
            date = date.replace("Z", "+00:00")
        if self.fault == "no zone":
            date = date.removesuffix("Z")
        if self.fault == "other zone":
            local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=version.action_us, hours=2)
            date = local.isoformat().replace("+00:00", ZONE)
        if self.fault == "lower case":
            item = item.lower()
        action = "ADD" if self.fault == "only ADD" else str(version.action)
        return {"item": item, "actionDate": date, "action": action}

    async def _post(self, request: web.Request) -> web.StreamResponse:  # noqa: PLR0911 -- likewise
        if not self._is_known(request, "anybody writes"):
            return self._to_a_stranger()
        body = await request.read()
        self.posts.append(body)
        if self.fault in _POSTS:
            status, text = _POSTS[self.fault]
            return web.Response(status=status, text=text)
        try:
            content = json.loads(body)
        except ValueError:
            self._broke = True
            return self._bad(400)
        if not isinstance(content, list):
            return self._bad(422)
        if self.fault == "ten at once" and len(content) > 10:
            return web.Response(status=413)
        if self.fault == "first fifty":
            content = content[:50]
        if self.fault == "one at a time" and len(content) > 1:
            return web.Response(status=422)
        return self._take(content, lenient="lenient" in request.headers.get("Prefer", ""))

    def _take(self, content: list[Content], *, lenient: bool) -> web.Response:
        taken, bad = [], 0
        for one in content:
            try:
                taken.append(self._read(one))
            except Invalid:
                bad += 1
        if self.fault == "dates unread" and bad == len(content) == 1 and content[0].get("actionDate") == NO_DATE:
            self.has[content[0]["item"]] = Version(now_us(), deleted=False)
            return web.Response()
        mixed = bad and taken
        if bad and not (lenient and taken and self.fault == "prefers") and not (taken and self.fault == "lenient"):
            if self.fault == "in part":
                self._store(taken[:1])
            if mixed and self.fault == "yes to nothing":
                return web.Response()
            return self._bad(500 if mixed and self.fault == "500 to mixed" else 422)
        stale = {
            "409 to a repeat": all(self.has.get(item) == one for item, one in taken),
            "409 to others": not all(self._wins(one, self.has[item]) for item, one in taken if item in self.has),
        }
        self._store(taken)
        return web.Response(status=409 if stale.get(self.fault) else 200)

    def _bad(self, status: int) -> web.Response:
        return web.Response(status={"500 to bad input": 500, "200 to bad input": 200}.get(self.fault, status))

    def _read(self, one: Content) -> tuple[str, Version]:
        try:
            item, date, action = one["item"], one["actionDate"], one["action"]
            action_us = timestamp.parse(date)
        except (KeyError, TypeError, ValueError):
            raise Invalid from None
        if action not in ("ADD", "DELETE"):
            raise Invalid
        fraction = date.partition(".")[2].removesuffix("Z")
        limits = {"refuses us": 3, "refuses any fraction": 0}
        bad = [
            self.fault == "refuses ms" and fraction.strip("0"),
            len(fraction) > limits.get(self.fault, 6),
            self.fault == "strict members" and len(one) > 3,
            self.fault == "short names" and len(item) > 64,
        ]
        if any(bad):
            raise Invalid
        if action_us > now_us() + SKEW_US:
            if self.fault == "clamps":
                action_us = now_us()
            elif self.fault != "takes the future":
                raise Invalid
        return item, Version(self._cut(action_us), action == "DELETE")

    def _cut(self, action_us: int) -> int:
        if self.fault == "own clock":
            return now_us()
        unit_us = _UNITS_US.get(self.fault, 1)
        if self.fault.startswith("rounds"):
            action_us += unit_us // 2
        return action_us // unit_us * unit_us

    def _store(self, taken: list[tuple[str, Version]]) -> None:
        for item, version in taken:
            if self.fault == "ignores" or (self.fault == "keeps ADD" and version.deleted):
                continue
            stands = self.has.get(item)
            if self.fault == "doubles" and stands == version:
                self.doubles.append(item)
            if stands is not None and not self._wins(version, stands):
                continue
            if stands and self.fault == "first date" and not (stands.deleted or version.deleted):
                continue
            if version.deleted and self.fault == "no tombstones":
                self.has.pop(item, None)
            elif version.deleted and self.fault == "stamps deletions":
                self.has[item] = Version(now_us(), deleted=True)
            else:
                self.has[item] = version

        self._was.append((time.monotonic(), dict(self.has)))

    def _wins(self, version: Version, stands: Version) -> bool:
        newer = version.action_us > stands.action_us
        tie = version.action_us == stands.action_us
        laws = {
            "arrival": True,
            "409 to others": newer,
            "deletions stay": version > stands and not stands.deleted,
            "newer only": newer,
            "last of a tie": newer or tie,
            "ADD of a tie": newer or (tie and version.deleted < stands.deleted),
            "old ADD": version > stands or (stands.deleted and not version.deleted and not tie),
        }
        return laws.get(self.fault, version > stands)


async def _html(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>Welcome</html>", content_type="text/html")


async def _half(_request: web.Request) -> web.StreamResponse:
    return web.Response(text='[{"item": "a", "act')


async def _many(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="[" + "0," * 150_000 + "0]")


async def _wrapped(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"favorites": []})


async def _redirects(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "/elsewhere"})


async def _hangs(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"[" * 2**20)


_WHOLE: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
    "html": _html, "half": _half, "wrapped": _wrapped, "redirects": _redirects, "hangs": _hangs, "endless": _endless,
    "endless records": _many,
}  # fmt: skip
_STRANGERS = {"log in": "<html>Log in</html>", "200 to strangers": '{"error": "who?"}', "nothing for strangers": "[]"}
_POSTS = {
    "403 to POST": (403, ""),
    "500 to POST": (500, ""),
    "422 to POST": (422, ""),
    "302 to POST": (302, ""),
    "html to POST": (200, "<html>Welcome"),
}
