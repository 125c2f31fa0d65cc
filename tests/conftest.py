"""What every test may use: Hypothesis profiles, a real PostgreSQL, and no silent skips in CI."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from favsync.store.database import Database
from tests.identity.fake import FakeIssuer
from tests.postgres import Server

settings.register_profile("dev", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), max_examples=200, derandomize=True)
settings.register_profile("night", parent=settings.get_profile("dev"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session")
def session_dir() -> Iterator[Path]:
    """A folder that any account may pass through, as an embedded PostgreSQL under root needs."""
    folder = Path(tempfile.mkdtemp(prefix="favsync-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def data_dir(session_dir: Path) -> Iterator[Path]:
    """A data directory that is not there yet."""
    parent = Path(tempfile.mkdtemp(dir=session_dir))
    parent.chmod(0o755)
    yield parent / "data"
    shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(session_dir: Path) -> Iterator[Server]:
    """One PostgreSQL for the whole run, with a migrated template; it keeps what it acknowledges, as real ones do."""
    with Server(session_dir / "postgres") as server:
        asyncio.run(server.make_template())
        yield server


@pytest.fixture
def dsn(postgres: Server) -> Iterator[str]:
    """A migrated database of this test's own."""
    name = asyncio.run(postgres.create_database())
    yield postgres.dsn(name)
    asyncio.run(postgres.drop_database(name))


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    opened = Database(pool_size=10)
    await opened.open({"dsn": dsn})
    yield opened
    await opened.close()


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A bare connection to the same database, behind the service's back."""
    opened = await asyncpg.connect(dsn)
    yield opened
    await opened.close()


@pytest.fixture
async def fake() -> AsyncIterator[FakeIssuer]:
    """An issuer of tokens, on a port of its own."""
    issuer = FakeIssuer()
    await issuer.start()
    yield issuer
    await issuer.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """In CI a skipped test is a failure, unless `.ci/run` lists it."""
    if not os.environ.get("CI"):
        return
    allowed = os.environ.get("TESTS_MAY_SKIP", "").split()
    skipped = [report.nodeid for report in terminalreporter.stats.get("skipped", [])]
    if stray := [nodeid for nodeid in skipped if nodeid not in allowed]:
        pytest.exit(f"skipped, and not listed in .ci/run: {', '.join(stray)}", returncode=1)
