"""A PostgreSQL for tests: the embedded one, run by the same code that the service runs it with."""

import asyncio
import subprocess
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import asyncpg

from favsync.store.cluster import Cluster
from favsync.store.database import Database

TEMPLATE = "template_migrated"


class Server:
    def __init__(self, data_dir: Path) -> None:
        self.cluster = Cluster(data_dir)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.cluster.acquire()
        self.cluster.prepare()
        self._process = self.cluster.spawn()
        asyncio.run(self._wait())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self.cluster.stop(self._process, timeout_s=5)
        self.cluster.release()

    def dsn(self, name: str) -> str:
        target = self.cluster.target()
        return f"postgresql://{target['user']}:{quote(target['password'])}@/{name}?host={target['host']}"

    async def make_template(self) -> None:
        await self._execute(f"CREATE DATABASE {TEMPLATE}")
        database = Database(pool_size=1)
        await database.open({"dsn": self.dsn(TEMPLATE)})
        async with database.connection() as connection:
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                assert await connection.fetchval("SELECT current_setting($1)", name) == "on", f"{name} is off"
        await database.close()

    async def create_database(self, template: str = TEMPLATE) -> str:
        name = f"t{uuid.uuid4().hex}"
        await self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    async def drop_database(self, name: str) -> None:
        await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.dsn("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def _wait(self) -> None:
        for _attempt in range(200):
            try:
                await (await asyncpg.connect(self.dsn("postgres"))).close()
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.1)
            else:
                return
        raise AssertionError(self.cluster.last_words())
