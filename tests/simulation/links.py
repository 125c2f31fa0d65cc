"""Two processes that share a database and its links with a third; and how one comes to stand in the midst of a cycle.

It is stopped from outside: by a proxy of its own, which holds a request or an answer back, or by a trigger in the
database. Triggers write down each version that was stored, so that it can be judged afterwards.
"""

import asyncio
import signal
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import asyncpg
from aiohttp import web

from favsync.core import timestamp
from favsync.core.record import owner_key
from tests.e2e.faulty_proxy import FaultyProxy
from tests.e2e.service import Service, token
from tests.simulation.gates import Gates, until

# Where a cycle may be stopped, in the order in which it gets there.
ASK = "claimed, and nothing asked yet"
ASKED = "asked, and no list yet"
PUSH = "before what it learns is written"
PUSHED = "before what it learnt is committed"
SEND = "what it learnt is committed, and nothing sent"
SENT = "a batch is taken there, and no answer yet"
MORE = "between two batches"
ALL_SENT = "the last batch is taken there, and no answer yet"
LOOK = "all is sent, and not looked at again"
LOOKED = "looked at again, and no list yet"
KEEP = "before what it found is kept"
KEPT = "before what it found is committed"
REST = "after all that"
IN_DATABASE = [PUSH, PUSHED, KEEP, KEPT]
# By a proxy: which of how many requests of a cycle, and whether it is held before it arrives, or its answer.
_HELD: dict[str, tuple[str, int, bool]] = {
    ASK: ("GET", 1, True), ASKED: ("GET", 1, False), SEND: ("POST", 1, True), SENT: ("POST", 1, False),
    MORE: ("POST", 2, True), ALL_SENT: ("POST", 2, False), LOOK: ("GET", 2, True), LOOKED: ("GET", 2, False),
}  # fmt: skip
GATES = [ASK, ASKED, PUSH, PUSHED, SEND, SENT, MORE, ALL_SENT, LOOK, LOOKED, KEEP, KEPT, REST]
BATCH = 2

_SETUP = f"""
CREATE TABLE written (id bigserial, user_id text, item text, action_us bigint, deleted boolean);
CREATE FUNCTION write_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO written (user_id, item, action_us, deleted) VALUES (NEW.user_id, NEW.item, NEW.action_us, NEW.deleted);
  RETURN NULL;
END
$$;
CREATE TRIGGER write_version AFTER INSERT OR UPDATE ON records FOR EACH ROW EXECUTE FUNCTION write_version();

CREATE FUNCTION stand() RETURNS trigger LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  WHILE EXISTS (SELECT FROM gates WHERE (name, role) = (TG_ARGV[0], session_user)) LOOP
    PERFORM pg_sleep(0.01);
  END LOOP;
  RETURN NEW;
END
$$;
CREATE TRIGGER stand BEFORE INSERT OR UPDATE ON records FOR EACH STATEMENT EXECUTE FUNCTION stand('{PUSH}');
CREATE CONSTRAINT TRIGGER stand_last AFTER INSERT OR UPDATE ON records DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION stand('{PUSHED}');
CREATE TRIGGER stand BEFORE UPDATE ON links
  FOR EACH ROW WHEN (OLD.lease IS NOT NULL AND NEW.lease IS NULL) EXECUTE FUNCTION stand('{KEEP}');
CREATE CONSTRAINT TRIGGER stand_last AFTER UPDATE ON links DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (OLD.lease IS NOT NULL AND NEW.lease IS NULL) EXECUTE FUNCTION stand('{KEPT}');
"""
_STANDS = """
SELECT pid FROM pg_stat_activity
 WHERE datname = current_database() AND usename = $1 AND application_name = 'favsync' AND wait_event = 'PgSleep'
"""
_LINK = """
SELECT lease IS NOT NULL AS claimed, extract(epoch FROM leased_until - clock_timestamp())::float8 AS left_s,
       etag IS NOT NULL AS equal
  FROM links WHERE user_id = $1
"""
# As if its lease had been taken so much earlier.
_PASS = """
UPDATE links SET leased_until = leased_until - $2 * interval '1 second', due_at = due_at - $2 * interval '1 second'
 WHERE user_id = $1 AND lease IS NOT NULL
"""
_PUT_OFF = """
UPDATE links SET due_at = clock_timestamp() + $2 * interval '1 second' WHERE user_id = $1 AND lease IS NULL
RETURNING peer
"""
_ROW = "SELECT links::text FROM links WHERE user_id = $1"
_WRITTEN = "SELECT item, action_us, deleted FROM written WHERE user_id = $1 ORDER BY id"


class Gate(FaultyProxy):
    """Holds back the request that it is closed to, and whatever comes after it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._awaited: tuple[str, int, bool] | None = None
        self.stands = False

    def close(self, gate: str) -> None:
        self.stands, self._awaited = False, _HELD[gate]

    def open(self) -> None:
        self._awaited = None

    async def _forward(self, request: web.Request, body: bytes) -> tuple[int, dict[str, str], bytes]:
        held = False
        if self._awaited is not None and self._awaited[0] == request.method:
            method, number, before = self._awaited
            self._awaited = method, number - 1, before
            held = number == 1
            if held and before:
                await self._hold()
        answer = await super()._forward(request, body)
        if held and not before:
            await self._hold()
        return answer

    async def _hold(self) -> None:
        self.stands = True
        while self._awaited is not None:
            await asyncio.sleep(0.01)


class Edit(NamedTuple):
    item: str
    at_us: int
    deleted: bool = False


class Side(NamedTuple):
    """A process, the role that it connects as, and its way to the peer."""

    service: Service
    role: str
    way: Gate

    def signal(self, number: signal.Signals) -> None:
        self.service.process.send_signal(number)


class Links:
    """Those of one database, and what was written there, by a connection to it."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.gates = Gates(connection)
        self._connection = connection

    async def install(self) -> None:
        await self._connection.execute(_SETUP)

    async def stands(self, side: Side) -> int | None:
        """The process id of the connection that waits at a gate."""
        pid: int | None = await self._connection.fetchval(_STANDS, side.role)
        return pid

    async def of(self, user: str) -> asyncpg.Record:
        [row] = await self._connection.fetch(_LINK, owner_key(user))
        return row

    async def let_pass(self, user: str, seconds: float) -> None:
        await self._connection.execute(_PASS, owner_key(user), seconds)

    async def put_off(self, user: str, seconds: float) -> str:
        """Has the next cycle begin so late, once none goes on; the link as it is then, whole."""

        async def done() -> bool:
            return await self._connection.fetchval(_PUT_OFF, owner_key(user), seconds) is not None

        await until(done)
        return await self.row(user)

    async def row(self, user: str) -> str:
        return str(await self._connection.fetchval(_ROW, owner_key(user)))

    async def written(self, user: str) -> list[Edit]:
        """Each version that was stored, in order."""
        return [Edit(*row) for row in await self._connection.fetch(_WRITTEN, owner_key(user))]


def write(service: Service, user: str, edits: Iterable[Edit]) -> None:
    """A client does, through the door."""
    sent = [
        {"item": item, "actionDate": timestamp.render(at_us), "action": "DELETE" if deleted else "ADD"}
        for item, at_us, deleted in edits
    ]
    answer = service.request("POST", "/sync/favorites", sent, user=user)
    assert answer.status == 200, answer
    assert {receipt["outcome"] for receipt in answer.content["receipts"]} == {"applied"}


def stands(service: Service, user: str) -> dict[str, Edit]:
    answer = service.request("GET", "/sync/favorites", user=user)
    assert answer.status == 200, answer
    return {
        one["item"]: Edit(one["item"], timestamp.parse(one["actionDate"]), one["action"] == "DELETE")
        for one in answer.content
    }


def latest(edits: Sequence[Edit]) -> dict[str, Edit]:
    """By the law, of each item."""
    found: dict[str, Edit] = {}
    for edit in edits:
        found[edit.item] = max(found.get(edit.item, edit), edit)
    return found


async def come(links: Links, side: Side, user: str, gate: str) -> int | None:
    """Has a new link's first cycle come as far as a gate; of one in the database, the id of the connection there."""
    if gate in _HELD:
        side.way.close(gate)
    elif gate in IN_DATABASE:
        await links.gates.close(gate, side.role)
    entrusted: dict[str, Any] = {"token": token(user)}
    assert side.service.request("PUT", "/peers/next/link", entrusted, user=user).status == 200

    async def stands_there() -> bool | int | None:
        if gate in _HELD:
            return side.way.stands
        if gate == REST:
            return (await links.of(user))["equal"] is True
        return await links.stands(side)

    there = await until(stands_there)
    return there if gate in IN_DATABASE else None
