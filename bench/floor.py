"""What this stack can do at its best: an aiohttp service with nothing of ours but write combining, on a bare table.

`python -m bench.floor [feed]`, told on a line, in JSON, how to reach the database, says its URL, and ends with its
input. It believes any token, checks nothing, answers always the same, and has no log, no metrics and no limits. With
`feed` it writes each record a second time, in the same statement, into a table that is in order of positions: as cheap
as a feed can be that is a table of its own, and no feed to rely on, for it has one writer.
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

_FEED = """
    INSERT INTO bare_feed (user_id, entity, item, action_us, deleted, position)
    SELECT i.user_id, i.entity, i.item, i.action_us, i.deleted, nextval('bare_positions')
      FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::boolean[])
             AS i (user_id, entity, item, action_us, deleted)
    ON CONFLICT (user_id, entity, item) DO UPDATE
       SET action_us = excluded.action_us, deleted = excluded.deleted, position = excluded.position
     WHERE (excluded.action_us, excluded.deleted) > (bare_feed.action_us, bare_feed.deleted)"""
_MAKE_FEED = (
    "DROP TABLE IF EXISTS bare_feed",
    "DROP SEQUENCE IF EXISTS bare_positions",
    "CREATE SEQUENCE bare_positions CACHE 1000",
    "CREATE TABLE bare_feed AS SELECT *, nextval('bare_positions') AS position FROM bare",
    "ALTER TABLE bare_feed ADD PRIMARY KEY (user_id, entity, item)",
    "CREATE UNIQUE INDEX ON bare_feed (entity, position)",
    "VACUUM ANALYZE bare_feed",
    "CHECKPOINT",
)

Row = tuple[str, str, str, int, bool]


class _Floor:
    def __init__(self, connection: asyncpg.Connection, statement: str) -> None:
        self._connection = connection
        self._statement = statement
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
            await self._connection.fetch(self._statement, *zip(*rows.values(), strict=True))
            for _, written in batch:
                written.set_result(None)
        self._flight = None


def _row(user: str, record: dict[str, Any]) -> Row:
    action_us = int(datetime.fromisoformat(record["actionDate"]).timestamp() * 1e6)
    return user, "main/favorites", record["item"], action_us, record["action"] == "DELETE"


async def main(*, feed: bool) -> None:
    connection = await asyncpg.connect(**json.loads(sys.stdin.readline()))
    for statement in _MAKE_FEED if feed else ():
        await connection.execute(statement)
    statement = f"WITH written AS ({_UPSERT}) {_FEED}" if feed else _UPSERT
    await serve("POST", "/postUserFavorites", _Floor(connection, statement).post)
    await connection.close()


if __name__ == "__main__":
    uvloop.run(main(feed="feed" in sys.argv[1:]))
