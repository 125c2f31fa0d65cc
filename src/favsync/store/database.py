"""The connection to PostgreSQL: opened when it can be, reported while it cannot, healed without a restart."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import asyncpg
import structlog

from favsync.core.errors import CursorExpired, OperatorError, SettingsError, Unavailable
from favsync.store import entities, epoch, migrate, sql
from favsync.store.epoch import Place
from favsync.store.faults import AWAY, translated

_log = structlog.get_logger(__name__)

IDENTITY = sql.query("database/identity")
_PING = sql.query("database/ping")
_LACKING = sql.query("database/lacking")

CONNECT_TIMEOUT_S = 5.0
ACQUIRE_TIMEOUT_S = 3.0
COMMAND_TIMEOUT_S = 8.0
FOREVER_S = 10.0**6
PING_TIMEOUT_S = 2.0
RETRY_MAX_S = 2.0
OLDEST_SERVER = 150000

_NONE_FREE = (
    f"No connection to the database was to be had within {ACQUIRE_TIMEOUT_S:.0f} s. Nothing was acknowledged; send the "
    "same request again."
)

SESSION = {
    "application_name": "favsync",
    "default_transaction_isolation": "read committed",  # `push` looks again under its lock
    "lock_timeout": "250ms",
    "idle_in_transaction_session_timeout": "30s",
    # A page of a set that a tenant shares is read in the order of an index. A plan for any user expects as few records
    # as most users have, and would rather read the whole million and sort it.
    "enable_sort": "off",
    "enable_bitmapscan": "off",
    "timezone": "UTC",
}


class Database:
    """A pool of connections to one PostgreSQL.

    Statements raise Unavailable while the database cannot be reached, and LockTimeout where another transaction holds
    the rows for longer than 250 ms. `opened` is set when it was reached for the first time; `obstacle` says, until
    then, what it is waiting for. `declared`: stored entities and their scopes; None where nothing is to be served.
    `synchronous_failover`: whether a promoted database has all that was acknowledged, so that its epoch goes on.
    """

    def __init__(
        self,
        *,
        pool_size: int,
        migrate_first: bool = True,
        declared: Mapping[str, str] | None = None,
        synchronous_failover: bool = False,
    ) -> None:
        self._target: dict[str, Any] = {}
        self._pool_size = pool_size
        self._migrate_first = migrate_first
        self._declared = declared
        self._synchronous_failover = synchronous_failover
        self._migrations = migrate.known()
        self._pool: asyncpg.Pool | None = None
        self._epoch: epoch.Epoch | None = None
        self._standby = False
        self._warned = False
        self._pinging: asyncio.Task[str | None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self.opened = asyncio.Event()
        self.obstacle: str | None = "the database has not answered yet"

    @property
    def epoch(self) -> epoch.Epoch:
        """The epoch as of the latest look at it; Unavailable before the first."""
        if self._epoch is None:
            raise Unavailable
        return self._epoch

    def lacks(self, what: str | None = None) -> CursorExpired | Unavailable:
        """The error for a cursor that is ahead of the database: on a standby it may only not have come yet.

        `what`: the detail of a CursorExpired.
        """
        return Unavailable("This standby has not caught up yet.") if self._standby else CursorExpired(what)

    async def open(self, target: Mapping[str, Any], *, patience_s: float = math.inf) -> None:
        """Returns when the database was reached, migrated and found usable; tries until then, or for `patience_s`.

        `target`: keyword arguments of `asyncpg.connect` (dsn, or host, user, ...). Raises OperatorError for what
        waiting cannot mend: a wrong password, a migration that fails.
        """
        self._target = dict(target)
        give_up = time.monotonic() + patience_s
        wait_s = 0.1
        while True:
            try:
                await self._open_once()
            except (Unavailable, *AWAY) as error:
                self._wait_for(error.detail if isinstance(error, Unavailable) else _describe(error))
                if time.monotonic() > give_up:
                    raise OperatorError(f"gave up after {patience_s:.0f} s: {self.obstacle}") from error
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 1.5, RETRY_MAX_S)
            except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                raise SettingsError(f"database_url: {error}") from error
            else:
                self.obstacle = None
                self.opened.set()
                return

    def _wait_for(self, obstacle: str) -> None:
        if obstacle != self.obstacle:
            _log.info("waiting for the database", reason=obstacle)
        self.obstacle = obstacle

    async def close(self, *, timeout_s: float = 1.0) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), timeout_s)
            except (TimeoutError, OSError):
                self._pool.terminate()

    async def ping(self) -> str | None:
        """None when the database answers, else what stands in the way. It is asked once for all who ask at once."""
        if self.obstacle:
            return self.obstacle
        if self._pinging is None or self._pinging.done():
            self._pinging = asyncio.create_task(self._ping())
        return await asyncio.shield(self._pinging)

    async def _ping(self) -> str | None:
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await self.fetch(_PING)
        except TimeoutError:
            return "the database does not answer"
        except Unavailable as error:
            return error.detail
        return None

    def pool_use(self) -> tuple[int, int]:
        """Connections that are in use, and that are idle."""
        if self._pool is None:
            return 0, 0
        idle = self._pool.get_idle_size()
        return self._pool.get_size() - idle, idle

    async def write(self, query: str, *args: object) -> Sequence[asyncpg.Record]:
        """As `fetch`, for a statement that commits.

        It is given up by leaving, and not by cancelling: a commit that waits for a standby would be ended by that, and
        be seen, while the standby has not got it.
        """
        async with self.connection() as connection:
            with leaving(connection):
                rows: list[asyncpg.Record] = await connection.fetch(query, *args, timeout=FOREVER_S)
                return rows

    async def fetch(self, query: str, *args: object) -> Sequence[asyncpg.Record]:
        async with self.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(query, *args)
            return rows

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        """A connection of the pool's, with the driver's errors turned into ours."""
        if self._pool is None:
            raise Unavailable
        with translated():
            try:
                connection = await self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
            except TimeoutError:
                raise Unavailable(_NONE_FREE) from None
            try:
                yield connection
            finally:
                await self._pool.release(connection)

    @contextlib.asynccontextmanager
    async def dedicated(self, name: str) -> AsyncIterator[asyncpg.Connection]:
        """A connection beside the pool, for one who keeps it, `leaving` it where something takes too long.

        `name`: what PostgreSQL shows of whose it is.

        What is raised by the driver itself, in the block, is turned into ours.
        """
        with translated():
            connection = await asyncpg.connect(
                **self._target,
                timeout=CONNECT_TIMEOUT_S,
                server_settings=SESSION | {"application_name": name},
            )
            try:
                await self._inspect(connection)
                yield connection
            finally:
                connection.terminate()

    async def check_epoch(self, connection: asyncpg.Connection) -> None:
        """Sees that the epoch we know is the one that holds, and where another must begin, that it does.

        Raises Unavailable.
        """
        with translated():
            [identity] = await connection.fetch(IDENTITY)
            await self._know_epoch(connection, Place.of(identity))

    async def _open_once(self) -> None:
        await self._prepare()
        pool: asyncpg.Pool = await asyncpg.create_pool(
            **self._target,
            min_size=1,
            max_size=self._pool_size,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings=SESSION,
            init=self._inspect,
            reset=_leave,
        )
        self._pool = pool

    async def _prepare(self) -> None:
        """Applies what is pending, and sees that all that is stored is declared; without the limits of the pool's."""
        async with self._unlimited() as connection:
            if self._migrate_first:
                await migrate.migrate(connection, self._migrations)
            await self._check_schema(connection)
            if self._declared is not None:
                if lacking := await connection.fetchval(_LACKING):
                    raise SettingsError(f"database_url: the account there lacks {lacking}: GRANT it")
                await entities.register(connection, self._declared)

    @contextlib.asynccontextmanager
    async def _unlimited(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection for what may take long."""
        connection = await asyncpg.connect(**self._target, timeout=CONNECT_TIMEOUT_S)
        try:
            yield connection
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_S)

    async def _check_schema(self, connection: asyncpg.Connection) -> None:
        if todo := await migrate.pending(connection, self._migrations):
            raise Unavailable(f"The schema is behind this release: run `favsync migrate` ({todo[0].file} is missing).")

    async def _inspect(self, connection: asyncpg.Connection) -> None:
        """Each new connection: is it the database we know, on the schema we need, and durable?"""
        [identity] = await connection.fetch(IDENTITY)
        if identity["version"] < OLDEST_SERVER:
            raise SettingsError("database_url: PostgreSQL 15 or newer is needed")
        await self._check_schema(connection)
        await self._know_epoch(connection, Place.of(identity))
        lax = [name for name in ("fsync", "synchronous_commit") if identity[name] == "off"]
        if lax and not self._warned:
            self._warned = True
            _log.warning("the database does not keep what it acknowledges when it crashes", off=lax)

    async def _know_epoch(self, connection: asyncpg.Connection, here: Place) -> None:
        met = self._epoch.begun if self._epoch else here
        if met.database == here.database and (met.timeline or 0) > (here.timeline or met.timeline or 0):
            # Its own row would say so only where it had been promoted itself.
            raise Unavailable(
                f"The database is on timeline {here.timeline}, behind {met.timeline}, where it was before."
            )
        stands = await epoch.standing(connection, here, synchronous_failover=self._synchronous_failover)
        if stands is None:
            # In a task and on a connection of its own, for it may take longer than whoever needs it may wait.
            if self._renewing is None or self._renewing.done():
                self._renewing = asyncio.create_task(self._renew())
                self._renewing.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.shield(self._renewing)
            stands = await epoch.standing(connection, here, synchronous_failover=self._synchronous_failover)
        if stands is None:
            raise Unavailable  # somebody emptied the table meanwhile
        self._epoch, self._standby = stands, here.timeline is None

    async def _renew(self) -> None:
        if not self.opened.is_set():
            self._wait_for("a new epoch begins, and the feeds are brought in line with the records")
        async with self._unlimited() as connection:
            [identity] = await connection.fetch(IDENTITY)
            await epoch.begin(connection, Place.of(identity))


@contextlib.contextmanager
def leaving(connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy) -> Iterator[None]:
    """Breaks the connection off where the block takes too long: what is under way fails, and PostgreSQL ends alone."""
    timer = asyncio.get_running_loop().call_later(COMMAND_TIMEOUT_S, connection.terminate)
    try:
        yield
    finally:
        timer.cancel()


async def _leave(_connection: asyncpg.Connection) -> None:
    """Given back as it is: no statement of ours changes a session, and a reset costs a round trip each."""


def _describe(error: BaseException) -> str:
    """A sentence for logs and /readyz: the driver's own may hold addresses, so only its kind is shown."""
    if isinstance(error, asyncpg.CannotConnectNowError):
        return "the database is starting up or recovering"
    return f"the database cannot be reached ({type(error).__name__})"
