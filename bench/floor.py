"""What this stack can do at its best: an aiohttp service with nothing of ours but write combining, on a bare table.

`python -m bench.floor`, told on a line, in JSON, how to reach the database, says its URL, and ends with its input. It
believes any token, checks nothing, answers always the same, and has no log, no metrics, no limits and no feed.
"""

import asyncio
import json
import sys
from datetime import datetime
from typing import Any

import asyncpg
import jwt
import orjson
import uvloop
from aiohttp import web

from bench.bare import serve

_UPSERT = """
    INSERT INTO bare (user_id, entity, item, action_us, deleted)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::boolean[])
    ON CONFLICT (user_id, entity, item) DO UPDATE SET action_us = excluded.action_us, deleted = excluded.deleted
     WHERE (excluded.action_us, excluded.deleted) > (bare.action_us, bare.deleted)"""

Row = tuple[str, str, str, int, bool]


class _Floor:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._users: dict[str, str] = {}
        self._waiting: list[tuple[list[Row], asyncio.Future[None]]] = []
        self._flight: asyncio.Task[None] | None = None

    async def post(self, request: web.Request) -> web.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        if token not in self._users:
            self._users[token] = f"main/main/{jwt.decode(token, options={'verify_signature': False})['sub']}"
        user, sent = self._users[token], orjson.loads(await request.read())
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(([_row(user, one) for one in sent], written))
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly())
        await written
        receipts = [{"outcome": "applied", **one} for one in sent]
        return web.Response(body=orjson.dumps({"receipts": receipts}), content_type="application/json")

    async def _fly(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            rows = {row[:3]: row for offered, _ in batch for row in offered}
            await self._connection.fetch(_UPSERT, *zip(*rows.values(), strict=True))
            for _, written in batch:
                written.set_result(None)
        self._flight = None


def _row(user: str, record: dict[str, Any]) -> Row:
    action_us = int(datetime.fromisoformat(record["actionDate"]).timestamp() * 1e6)
    return user, "main/favorites", record["item"], action_us, record["action"] == "DELETE"


async def main() -> None:
    connection = await asyncpg.connect(**json.loads(sys.stdin.readline()))
    await serve("POST", "/postUserFavorites", _Floor(connection).post)
    await connection.close()


if __name__ == "__main__":
    uvloop.run(main())
