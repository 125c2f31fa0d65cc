"""Stops a sequencer between two of its steps, from outside: by triggers in a test's own database.

While a gate is closed to a role, a sequencer that is connected as that role waits there, in the midst of its statement
or before its commit. The triggers also write down what happens to a feed, so that it can be judged afterwards.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import quote

import asyncpg

from favsync.store.database import SESSION

DEADLINE_S = 60.0
_T = TypeVar("_T")

# Where a sequencer may be stopped, in the order in which it gets there.
LOOK = "between looking and locking"
READ = "between reading and placing"
RAISE = "between placing and raising the head"
COMMIT = "before it commits what it placed"
SETTLE = "between committing and settling"
SETTLED = "before it commits what it settled"
GATES = [LOOK, READ, RAISE, COMMIT, SETTLE, SETTLED]
PATIENT = "waits for locks as long as it takes"
SLUGGISH = "stops for a moment here and there"

_SETUP = f"""
CREATE TABLE gates (name text, role name, PRIMARY KEY (name, role));
CREATE TABLE placed (id bigserial PRIMARY KEY, user_id text, item text, seq bigint, position bigint, xact xid8);
CREATE TABLE purged (user_id text, item text, seq bigint, position bigint);
CREATE TABLE settled (id bigserial, pid int);

CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF current_setting('application_name') = 'favsync sequencer' THEN
    PERFORM set_config('lock_timeout', CASE
      WHEN EXISTS (SELECT FROM gates WHERE (name, role) = ('{PATIENT}', session_user)) THEN '{DEADLINE_S:.0f}s'
      ELSE '{SESSION["lock_timeout"]}' END, false);
    IF random() < 0.3 AND EXISTS (SELECT FROM gates WHERE (name, role) = ('{SLUGGISH}', session_user)) THEN
      PERFORM pg_sleep(random() * 0.04);
    END IF;
    WHILE EXISTS (SELECT FROM gates WHERE (name, role) = (TG_ARGV[0], session_user)) LOOP
      PERFORM pg_sleep(0.01);  -- no lock, for which a sequencer has little patience
    END LOOP;
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER a_gate BEFORE UPDATE ON feed FOR EACH STATEMENT EXECUTE FUNCTION gate('{READ}');
CREATE TRIGGER a_gate BEFORE UPDATE ON feed_head FOR EACH STATEMENT EXECUTE FUNCTION gate('{RAISE}');
CREATE CONSTRAINT TRIGGER last_gate AFTER INSERT OR UPDATE ON feed DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION gate('{COMMIT}');
CREATE TRIGGER a_gate BEFORE DELETE ON feed_pending FOR EACH STATEMENT EXECUTE FUNCTION gate('{SETTLE}');
CREATE CONSTRAINT TRIGGER last_gate AFTER DELETE ON feed_pending DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION gate('{SETTLED}');

CREATE FUNCTION write_down() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_TABLE_NAME = 'feed_pending' THEN
    INSERT INTO settled (pid) VALUES (pg_backend_pid());
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO purged VALUES (OLD.user_id, OLD.item, OLD.seq, OLD.position);
  ELSE
    INSERT INTO placed (user_id, item, seq, position, xact)
    VALUES (NEW.user_id, NEW.item, NEW.seq, NEW.position, pg_current_xact_id());
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER write_down AFTER INSERT OR UPDATE OR DELETE ON feed FOR EACH ROW EXECUTE FUNCTION write_down();
CREATE TRIGGER write_down AFTER DELETE ON feed_pending FOR EACH STATEMENT EXECUTE FUNCTION write_down();
"""

_SESSION = """
SELECT pid FROM pg_stat_activity
 WHERE datname = current_database() AND usename = $1 AND application_name = 'favsync sequencer'
"""
_STANDS = """
SELECT pid FROM pg_stat_activity
 WHERE datname = current_database() AND usename = $1 AND application_name = 'favsync sequencer'
   AND state = 'active' AND CASE WHEN $2 THEN wait_event_type = 'Lock' ELSE wait_event = 'PgSleep' END
"""
_BUSY = """
SELECT EXISTS (SELECT FROM feed_pending)
    OR EXISTS (SELECT FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'favsync sequencer' AND state = 'active')
"""
_GONE = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)"
_WAITS = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock')"
_BEHIND = """
WITH RECURSIVE blocking (pid) AS (
  SELECT unnest(pg_blocking_pids(pid)) FROM pg_stat_activity
   WHERE datname = current_database() AND usename = $1 AND application_name = 'favsync sequencer'
  UNION
  SELECT unnest(pg_blocking_pids(pid)) FROM blocking)
SELECT EXISTS (SELECT FROM blocking WHERE pid = $2)
"""

# What must be empty when nothing waits to be placed any more.
_FAULTS = {
    "placed twice": "SELECT user_id, item, seq, count(*) FROM placed GROUP BY 1, 2, 3 HAVING count(*) > 1",
    "at one position": "SELECT position, count(*) FROM placed GROUP BY 1 HAVING count(*) > 1",
    "an older version after a later one": """
        SELECT * FROM (SELECT *, lag(seq) OVER (PARTITION BY user_id, item ORDER BY id) AS before FROM placed) p
         WHERE seq < before""",
    "placed below what was there": """
        SELECT * FROM (SELECT xact, min(position) AS first, lag(max(position)) OVER (ORDER BY min(id)) AS before
                         FROM placed GROUP BY xact) x
         WHERE first <= before""",
    "purged, and back": "SELECT f.user_id, f.item, f.seq FROM feed f JOIN purged USING (user_id, item, seq)",
    "not the latest": """
        SELECT f.user_id, f.item, f.seq, r.seq AS latest
          FROM feed f LEFT JOIN records r USING (user_id, entity, item)
         WHERE (r.seq, r.deleted, r.action_us) IS DISTINCT FROM (f.seq, f.deleted, f.action_us)""",
    "lost": """
        SELECT r.user_id, r.item, r.seq, r.deleted FROM records r LEFT JOIN feed f USING (user_id, entity, item)
         WHERE f.seq IS NULL
           AND NOT (r.deleted AND EXISTS (SELECT FROM purged p
                                           WHERE (p.user_id, p.item, p.seq) = (r.user_id, r.item, r.seq)))""",
    "not settled": "SELECT user_id, items, seqs FROM feed_pending",
    "beyond the head": "SELECT h.* FROM feed_head h WHERE position < (SELECT max(position) FROM placed)",
    "purged beyond the horizon": "SELECT p.* FROM purged p, feed_head h WHERE p.position > h.horizon",
}


class Gates:
    """Those of one database, by a connection to it."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def close(self, name: str, role: str) -> None:
        await self.connection.execute("INSERT INTO gates VALUES ($1, $2) ON CONFLICT DO NOTHING", name, role)

    async def open(self, *roles: str) -> None:
        """All that are closed to these."""
        await self.connection.execute("DELETE FROM gates WHERE role = ANY ($1)", roles)

    async def session(self, role: str) -> int | None:
        """The process id of the role's sequencer, as PostgreSQL has it."""
        pid: int | None = await self.connection.fetchval(_SESSION, role)
        return pid

    async def stands(self, role: str, *, at_lock: bool = False) -> int | None:
        """Likewise, while that waits at a gate, or for a lock."""
        pid: int | None = await self.connection.fetchval(_STANDS, role, at_lock)
        return pid

    async def terminate(self, pid: int) -> None:
        """Ends what a sequencer has begun, uncommitted."""
        await self.connection.execute("SELECT pg_terminate_backend($1)", pid)
        await self.ended(pid)

    async def ended(self, pid: int) -> None:
        """Returns when it has come to an end: that of a killed process finds nobody behind what it did last."""
        await until(lambda: self.connection.fetchval(_GONE, pid))

    async def busy(self) -> bool:
        """Whether something waits to be placed or settled, or a sequencer, be it of a killed service, is at it."""
        busy: bool = await self.connection.fetchval(_BUSY)
        return busy

    async def waits_for_lock(self, pid: int) -> bool:
        waits: bool = await self.connection.fetchval(_WAITS, pid)
        return waits

    async def is_behind(self, role: str, pid: int) -> bool:
        """Whether the role's sequencer waits for a lock that `pid` has, or is to have before."""
        behind: bool = await self.connection.fetchval(_BEHIND, role, pid)
        return behind

    async def settlements(self, pid: int) -> int:
        """How often a sequencer's connection has gone to delete what it had placed."""
        count: int = await self.connection.fetchval("SELECT count(*) FROM settled WHERE pid = $1", pid)
        return count

    async def faults(self) -> dict[str, list[tuple[object, ...]]]:
        """What is wrong with a feed in which all is placed, and ever was since the gates are there."""
        found = {name: [tuple(row) for row in await self.connection.fetch(_FAULTS[name])] for name in _FAULTS}
        return {name: rows for name, rows in found.items() if rows}

    async def forgive(self) -> None:
        """What is in the feed by now is right, whatever it was that brought it there."""
        await self.connection.execute("TRUNCATE placed")
        await self.connection.execute(
            "DELETE FROM purged p USING feed f WHERE (f.user_id, f.item) = (p.user_id, p.item)"
        )


async def install(connection: asyncpg.Connection, dsn: str, names: list[str]) -> list[str]:
    """Puts gates into a database, and makes roles that may do everything; gives the URL for each of them."""
    await connection.execute(_SETUP)
    urls = []
    for name in names:
        password = secrets.token_hex()
        await connection.execute(f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD '{password}'")
        _credentials, _, place = dsn.rpartition("@")
        urls.append(f"postgresql://{name}:{quote(password)}@{place}")
    return urls


async def until(found: Callable[[], Awaitable[_T]], *, deadline_s: float = DEADLINE_S) -> _T:
    """What `found` gives, once that is true. Raises TimeoutError."""
    async with asyncio.timeout(deadline_s):
        while not (result := await found()):
            await asyncio.sleep(0.005)
    return result
