"""A peer that answers from memory, for any number of users, and knows when each of them was asked for.

`python -m bench.link_peer ITEMS` says its URL in JSON. Each line that it gets, `still` or `changing`, says how it goes
on: with the list that each user had, or with one record of it newer at each look. The answer is of the time before:
`cycles`, `users`, `posts`, and the seconds between two looks at one user's list (`gaps`: at 0.5, 0.99 and the longest,
in which those that are still waiting count with what they have waited so far).
"""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import uvloop
from aiohttp import web

from bench.quantiles import quantile

_FIRST = datetime(2020, 1, 1, tzinfo=UTC)


class Peer:
    """`changes`: whether a list is another one at each look."""

    def __init__(self, items: int) -> None:
        self.changes = False
        self._rest = "".join(f",{_record(f'session_{number}', 0)}" for number in range(1, items))
        self._versions: dict[str, int] = {}
        self._looked_at: dict[str, float] = {}
        self._gaps: list[float] = []
        self._cycles = self._posts = 0

    async def get(self, request: web.Request) -> web.Response:
        user, now = request.headers["Authorization"], time.monotonic()
        if (before := self._looked_at.get(user)) is not None:
            self._gaps.append(now - before)
        self._looked_at[user] = now
        self._cycles += 1
        version = self._versions.get(user, 0)
        if self.changes:
            version = self._versions[user] = version + 1
        headers = {"ETag": f'"{version}"'}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        body = f"[{_record('session_0', version)}{self._rest}]"
        return web.Response(text=body, content_type="application/json", headers=headers)

    async def post(self, request: web.Request) -> web.Response:
        await request.read()
        self._posts += 1
        return web.Response()

    def told(self) -> dict[str, Any]:
        """Since it was told of before."""
        now = time.monotonic()
        waits = self._gaps + [now - at for at in self._looked_at.values()]
        gaps = [quantile(self._gaps, 0.5), quantile(self._gaps, 0.99), max(waits)] if self._gaps else None
        told = {"cycles": self._cycles, "users": len(self._looked_at), "posts": self._posts, "gaps": gaps}
        self._gaps, self._cycles, self._posts = [], 0, 0
        return told


def _record(item: str, minutes: int) -> str:
    date = (_FIRST + timedelta(minutes=minutes)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"item": item, "actionDate": date, "action": "ADD"})


def _say(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


async def main(items: str) -> None:
    peer, app = Peer(int(items)), web.Application()
    app.router.add_get("/getUserFavorites", peer.get)
    app.router.add_post("/postUserFavorites", peer.post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _say({"url": f"http://127.0.0.1:{runner.addresses[0][1]}"})
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        peer.changes = line.strip() == "changing"
        _say(peer.told())
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
