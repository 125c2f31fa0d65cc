"""A process is killed or stopped between each two steps of a cycle, and another that shares its database goes on.

Nothing is lost, and nothing is done twice: on both sides each version is stored once, in order, and no other ever is.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from favsync.peers.worker import LEASE_S, LOOK_S
from tests.e2e.service import Service
from tests.postgres import Server
from tests.simulation import links as steps
from tests.simulation.chain import SETTINGS
from tests.simulation.crowd import connected
from tests.simulation.gates import install, until
from tests.simulation.links import BATCH, Edit, Gate, Links, Side, come, latest, stands, write

KILLED = "killed"
UNDONE = "killed, and what the database was about to do for it is undone"
STOPPED = "stopped, and goes on late"
FAULTS = [
    *[(gate, KILLED) for gate in steps.GATES],
    *[(gate, UNDONE) for gate in steps.IN_DATABASE],
    *[(gate, STOPPED) for gate in (steps.ASKED, steps.SEND, steps.ALL_SENT, steps.LOOKED)],
]
USERS = count()
T_US = 1_750_000_000_000_000
HERE = [Edit("a1", T_US), Edit("a2", T_US), Edit("a3", T_US), Edit("tie", T_US, deleted=True)]
HERE_TOO = [Edit("tie2", T_US), Edit("both", T_US)]
THERE = [Edit("t1", T_US), Edit("t2", T_US, deleted=True), Edit("tie", T_US), Edit("tie2", T_US, deleted=True)]
THERE_TOO = [Edit("both", T_US)]
LATER_HERE, LATER_THERE = (
    [Edit("a1", T_US + 1000), Edit("both", T_US + 1000, deleted=True)],
    [Edit("t1", T_US + 2000, deleted=True)],
)


class Stage(NamedTuple):
    """`a` and `b` share a database, `there` has one of its own."""

    a: Side
    b: Side
    there: Service
    dsns: tuple[str, str]


@pytest.fixture(scope="module")
def stage(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    names = [asyncio.run(postgres.create_database()) for _ in range(2)]
    dsns = postgres.dsn(names[0]), postgres.dsn(names[1])
    roles = [f"{names[0]}_a", f"{names[0]}_b"]
    urls = asyncio.run(_prepare(*dsns, roles))
    folder = tmp_path_factory.mktemp("config")
    with Service(database_url=urls[2], **SETTINGS) as there, Gate(there.url) as way_a, Gate(there.url) as way_b:
        a, b = _service(urls[0], folder / "a.toml", way_a), _service(urls[1], folder / "b.toml", way_b)
        with a, b:
            yield Stage(Side(a, roles[0], way_a), Side(b, roles[1], way_b), there, dsns)
            b.process.send_signal(signal.SIGCONT)
            way_a.open()
    for name in names:
        asyncio.run(postgres.drop_database(name))
    asyncio.run(_drop(postgres.dsn("postgres"), [*roles, f"{names[1]}_there"]))


async def _prepare(here: str, there: str, roles: list[str]) -> list[str]:
    async with connected(here) as one, connected(there) as other:
        urls = await install(one, here, roles)
        await Links(one).install()
        name = there.partition("@/")[2].partition("?")[0]
        urls += await install(other, there, [f"{name}_there"])
        await Links(other).install()
        return urls


async def _drop(dsn: str, roles: list[str]) -> None:
    async with connected(dsn) as connection:
        await connection.execute(f"DROP ROLE {', '.join(roles)}")


def _service(dsn: str, config: Path, way: Gate) -> Service:
    config.write_text(f'[[peers]]\nname = "next"\nurl = "{way.url}"\ninterval = "1s"\nbatch = {BATCH}\n')
    return Service(database_url=dsn, config=config, **SETTINGS)


@pytest.fixture
async def links(stage: Stage) -> AsyncIterator[tuple[Links, Links]]:
    """Of both databases. Whatever a test has left behind is mended."""
    async with connected(stage.dsns[0]) as one, connected(stage.dsns[1]) as other:
        yield Links(one), Links(other)
        await one.execute("DELETE FROM links")
        stage.a.way.open()
        await Links(one).gates.open(stage.a.role)
        for side in (stage.a, stage.b):
            if side.service.process.poll() is None:
                side.signal(signal.SIGCONT)
            else:
                await asyncio.to_thread(side.service.start)


@pytest.mark.parametrize(("gate", "what"), FAULTS)
async def test_a_fault_between_two_steps_of_a_cycle(
    stage: Stage, links: tuple[Links, Links], gate: str, what: str
) -> None:
    here, there = links
    user, a, b = f"user-{next(USERS)}", stage.a, stage.b
    write(b.service, user, [*HERE, *HERE_TOO])
    write(stage.there, user, [*THERE, *THERE_TOO])
    await until(lambda: _quiet(here))
    b.signal(signal.SIGSTOP)
    pid = await come(here, a, user, gate)
    if what == STOPPED:
        a.signal(signal.SIGSTOP)
    else:
        a.service.kill()
    if what == UNDONE:
        assert pid is not None
        await here.gates.terminate(pid)
    if what != STOPPED:
        a.way.open()
        await here.gates.open(a.role)
        if pid is not None:
            await here.gates.ended(pid)
    b.signal(signal.SIGCONT)
    write(b.service, user, LATER_HERE)
    write(stage.there, user, LATER_THERE)
    await _taken_over(here, b, user, released=_released(gate, what))
    edits = {"here": [*HERE, *HERE_TOO, *LATER_HERE], "there": [*THERE, *THERE_TOO, *LATER_THERE]}
    expected = latest([*edits["here"], *edits["there"]])

    async def equal() -> bool:
        return stands(b.service, user) == stands(stage.there, user) == expected and (await here.of(user))["equal"]

    await until(equal)
    if what == STOPPED:
        await _goes_on(here, a, user)
        await until(equal)
    await _silent(a, b)
    await _check(here, user, edits["here"], edits["there"])
    await _check(there, user, edits["there"], edits["here"])


def _released(gate: str, what: str) -> bool:
    """Whether what the cycle found was kept in the end, by the database alone perhaps."""
    return gate == steps.REST or (gate in (steps.KEEP, steps.KEPT) and what == KILLED)


async def _quiet(links: Links) -> bool:
    return not await links.gates.busy()


async def _taken_over(links: Links, side: Side, user: str, *, released: bool) -> None:
    """Not before the lease has run out; then at once."""
    link = await links.of(user)
    assert link["claimed"] is not released
    if released:
        return
    assert 0 < link["left_s"] <= LEASE_S
    before = len(side.way.passed)
    await asyncio.sleep(1.5 * LOOK_S)
    assert len(side.way.passed) == before
    await links.let_pass(user, LEASE_S)

    async def asks() -> bool:
        return len(side.way.passed) > before

    await until(asks, deadline_s=10 * LOOK_S)


async def _goes_on(links: Links, side: Side, user: str) -> None:
    """What it had begun with is no longer its own: of what it does now, nothing may be kept."""
    before = await links.put_off(user, 3600)
    side.signal(signal.SIGCONT)
    side.way.open()
    await links.gates.open(side.role)
    await asyncio.sleep(1)
    assert side.service.process.poll() is None
    assert await links.row(user) == before
    await links.put_off(user, 0)


async def _silent(*sides: Side) -> None:
    """Over the next cycles nothing is written."""
    before = [len(side.way.passed) for side in sides]
    give_up = time.monotonic() + 20

    def crossed() -> list[tuple[str, int]]:
        return [(one.method, one.status) for side, n in zip(sides, before, strict=True) for one in side.way.passed[n:]]

    while len(crossed()) < 3:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.05)
    assert {method for method, _status in crossed()} == {"GET"}


async def _check(links: Links, user: str, own: list[Edit], others: list[Edit]) -> None:
    """What was stored on one side: its clients' writes, what wins of the others', each once and in order."""
    await until(lambda: _quiet(links))
    written = await links.written(user)
    assert len({*written}) == len(written), "a version is stored twice"
    assert {*own} <= {*written} <= {*own, *others}
    for item in {edit.item for edit in written}:
        of_item = [edit for edit in written if edit.item == item]
        assert of_item == sorted(of_item), "an older version is stored after a later one"
    assert latest(written) == latest([*own, *others])
    assert await links.gates.faults() == {}, "the feed"
