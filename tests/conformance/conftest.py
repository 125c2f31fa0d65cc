"""Backends to examine, and the examination as the command does it."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from favsync.client import Session, Timeouts
from favsync.conformance import Probe, Report, Target, examine
from tests.conformance.backend import Backend

Start = Callable[..., Awaitable[Backend]]


@pytest.fixture
async def backend() -> AsyncIterator[Start]:
    started: list[Backend] = []

    async def start(fault: str = "", **ways: str) -> Backend:
        started.append(await Backend(fault, **ways).start())
        return started[-1]

    yield start
    for one in started:
        await one.stop()


async def examined(
    url: str, token: str, *, read_only: bool = False, header: str | None = None, timeout_s: float = 10.0
) -> Report:
    """`header`: with it, as it has to be, the paths name the account."""
    async with Session(timeouts=Timeouts(connect=timeout_s, read=timeout_s, total=timeout_s)) as session:
        base = session.check(url)
        report = Report(str(base))
        target = Target(base, token)
        if header is not None:
            target = Target(base, token, "/mine/{user}/list", "/mine/{user}/changes", header, "ann")
        await examine(Probe(session, target), report.findings.append, read_only=read_only)
    return report


def marks(report: Report) -> dict[str, str]:
    """What is not ok, by check."""
    return {finding.check: f"{finding.mark}: {finding.says}" for finding in report.findings if finding.mark != "ok"}
