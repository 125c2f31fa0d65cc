"""A sequencer is killed or stopped between each two of its steps, while others write, purge and read along.

Nothing is lost, nothing comes twice, nothing that was purged comes back. The same tests find it where that is not so.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
import asyncpg
import pytest

from favsync.store import purging
from favsync.store.database import COMMAND_TIMEOUT_S
from tests.e2e.service import Service
from tests.postgres import Server
from tests.simulation.crowd import KEY, Change, Side, connected, purge
from tests.simulation.gates import GATES, LOOK, READ, SETTLE, SLUGGISH, Gates, install
from tests.simulation.stage import USERS, Held, Stage, World, close, hold, is_overtaken, write_later

ROUNDS = int(os.environ.get("TEST_SEQUENCER_ROUNDS", "8"))
SEED = os.environ.get("TEST_SEQUENCER_SEED", "20170502")

COMMITS = "killed, and what it had begun commits"
ABORTS = "killed, and what it had begun is undone"
STOPS = "stopped, but what it had begun commits, and it goes on late"
STOPS_WHOLE = "stopped with what it had begun, and both go on late"
KILLS = [COMMITS, ABORTS]
FAULTS = [(gate, what) for gate in GATES for what in (COMMITS, ABORTS, STOPS)] + [
    (gate, STOPS_WHOLE) for gate in GATES if gate != LOOK
]


@pytest.fixture(scope="module")
def stage(postgres: Server) -> Iterator[Stage]:
    """Two services on a database with gates; one for all tests here, since starting them takes longer than most."""
    name = asyncio.run(postgres.create_database())
    dsn = postgres.dsn(name)
    roles = [f"{name}_a", f"{name}_b"]
    urls = asyncio.run(_prepare(dsn, roles))
    with Service(database_url=urls[0]) as a, Service(database_url=urls[1]) as b:
        yield Stage(dsn, Side(a, roles[0]), Side(b, roles[1]))
    asyncio.run(postgres.drop_database(name))
    asyncio.run(_drop(postgres.dsn("postgres"), roles))


async def _prepare(dsn: str, roles: list[str]) -> list[str]:
    async with connected(dsn) as connection:
        return await install(connection, dsn, roles)


async def _drop(dsn: str, roles: list[str]) -> None:
    async with connected(dsn) as connection:
        await connection.execute(f"DROP ROLE {', '.join(roles)}")


@pytest.fixture
async def world(stage: Stage, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    timeout = aiohttp.ClientTimeout(60)
    async with connected(stage.dsn) as connection, aiohttp.ClientSession(timeout=timeout) as session:
        world = World(stage, Gates(connection), session, f"{SEED} {request.node.name}")
        yield world
        await world.crowd.leave()
        await world.mend()


async def fault(world: World, gate: str, what: str) -> None:
    """One at `gate`, and what follows it, to the end."""
    world.begin()
    held = await hold(world, gate)
    began = time.monotonic()
    if what in KILLS:
        world.a.service.kill()
    else:
        world.a.signal(signal.SIGSTOP)
    if what == ABORTS:
        await world.gates.terminate(held.pid)
    if what != STOPS_WHOLE:
        await held.release()
    later = await write_later(world, held)

    async def overtaken() -> bool:
        return await is_overtaken(world, held, later)

    async def overtaken_or_behind() -> bool:
        return await overtaken() or await world.gates.is_behind(world.b.role, held.pid)

    if what == STOPS_WHOLE:
        await world.crowd.until(overtaken if gate == SETTLE else overtaken_or_behind)
        await held.release()
    await world.crowd.until(overtaken)
    if what in KILLS:
        await world.a.start()
    else:
        world.a.signal(signal.SIGCONT)
        # Where it had not sent its DELETE yet, or that was not let through, it deletes now what is long gone.
        hurried = time.monotonic() - began < COMMAND_TIMEOUT_S / 2
        await world.crowd.until(lambda: _goes_on(world, held, hurried=hurried))
    await world.crowd.finish(world.copies)


async def _goes_on(world: World, held: Held, *, hurried: bool) -> bool:
    """Its very connection has settled; or, since it was stopped for so long that it took that for dead, another."""
    pid = await world.gates.session(world.a.role)
    if pid != held.pid:
        assert not hurried
        return pid is not None
    return await world.gates.settlements(pid) > held.settlements


@pytest.mark.parametrize(("gate", "what"), FAULTS)
async def test_a_fault_between_two_steps(world: World, gate: str, what: str) -> None:
    """Whatever of its steps a sequencer has done, another does the rest, and its own late doings change nothing."""
    await fault(world, gate, what)


async def meet(world: World, gate: str) -> None:
    """Both sequencers have one deletion in hand, one behind placing it, the other before, while it is purged.

    The other has locked, and read it (READ), or is about to (LOOK), when the one settles, and the purge asks for the
    lock.
    """
    world.begin()
    crowd, gates, user, a, b = world.crowd, world.gates, f"met-{next(USERS)}", world.a, world.b
    if gate == LOOK:
        await world.make_patient(a)
    async with crowd.resting(), connected(world.dsn) as purger:
        await crowd.post(b.service, user, [Change("one", False)])
        await crowd.until(crowd.quiet)
        a.signal(signal.SIGSTOP)
        await gates.close(SETTLE, b.role)
        await crowd.post(b.service, user, [Change("one", True)])
        seqs = await crowd.seqs(user, ["one"])
        await crowd.until(lambda: gates.stands(b.role))
        await purge(purger, older_than_s=0)  # raises the horizon, and leaves alone what waits
        now = await purger.fetchval("SELECT clock_timestamp()")
        release = await close(world, gate)

        async def come() -> tuple[int, int]:
            a.signal(signal.SIGCONT)
            pid = await crowd.until(lambda: gates.stands(a.role, at_lock=gate == LOOK))
            return pid, await gates.settlements(pid)

        async def settle() -> None:
            await gates.open(b.role)
            await crowd.until(lambda: world.settled(user, seqs))

        async def purge_on() -> asyncio.Task[list[asyncpg.Record]]:
            pid = purger.get_server_pid()
            task = asyncio.create_task(purger.fetch(purging._PURGE, KEY, now, 0, purging.TOMBSTONES_AT_ONCE))

            async def waits() -> bool:
                return task.done() or await gates.waits_for_lock(pid)

            await crowd.until(waits)
            return task

        if gate == READ:
            pid, before = await come()
            await settle()
            purging_on = await purge_on()
        else:
            purging_on = await purge_on()
            pid, before = await come()
            await settle()
        await release()
        await purging_on

        async def goes_on() -> bool:
            if gate == LOOK:  # it finds that nothing is left to do
                return not await gates.waits_for_lock(pid)
            return await gates.settlements(pid) > before

        await crowd.until(goes_on)
    await crowd.finish(world.copies)


@pytest.mark.parametrize("gate", [READ, LOOK])
async def test_two_sequencers_and_a_purge_meet_at_one_deletion(world: World, gate: str) -> None:
    """It is purged once it is settled, and whoever has it in hand still does not bring it back."""
    await meet(world, gate)


@pytest.mark.timeout(60 + 30 * ROUNDS)
async def test_faults_at_random(world: World) -> None:
    """Killed or stopped at any moment, one sequencer or both, over and over."""
    chance = random.Random(SEED)
    sides = [world.a, world.b]
    for copy in world.copies:
        copy.services = [side.service for side in sides]
    for side in sides:
        await world.gates.close(SLUGGISH, side.role)
    world.begin()
    for _round in range(ROUNDS):
        await asyncio.sleep(chance.uniform(0.05, 0.5))
        await _strike(world, chance.choice([sides[:1], sides[1:], sides]), chance)
    await world.crowd.finish(world.copies)


async def _strike(world: World, victims: list[Side], chance: random.Random) -> None:
    kills = chance.random() < 0.4
    for side in victims:
        if kills:
            side.service.kill()
        else:
            side.signal(signal.SIGSTOP)
    if chance.random() < 0.5:
        for side in victims:
            if pid := await world.gates.session(side.role):
                await world.gates.terminate(pid)
    await asyncio.sleep(chance.uniform(0, 1))
    for side in victims:
        if kills:
            await side.start()
        else:
            side.signal(signal.SIGCONT)


def _reads_before_it_locks(place: str) -> str:
    lock, read = place.index("  SELECT h.position"), place.index("  -- Read under the lock")
    end = place.index("  v_now :=")
    return place[:lock] + place[read:end] + place[lock:read] + place[end:]


@pytest.mark.parametrize(
    ("function", "breaks", "gate"),
    [
        ("purge", lambda purge: purge.replace("AND i.position <> ALL (v_waiting)", ""), READ),
        ("purge", lambda purge: purge.replace("FOR UPDATE", ""), READ),
        ("place", _reads_before_it_locks, LOOK),
    ],
    ids=[
        "a purge that does not look at what waits",
        "a purge without the lock",
        "placing what was read before the lock",
    ],
)
async def test_a_feed_that_is_less_careful_is_found_out(
    world: World, function: str, breaks: Callable[[str], str], gate: str
) -> None:
    """What the tests above say of ours they would not say of any."""
    connection = world.gates.connection
    right = await connection.fetchval("SELECT pg_get_functiondef($1::regproc)", function)
    wrong = breaks(right)
    assert wrong != right
    await connection.execute(wrong)
    try:
        with pytest.raises(AssertionError, match=r"placed twice|was told of"):
            await meet(world, gate)
    finally:
        await connection.execute(right)
        await world.crowd.leave()
        await world.mend()
        async with world.crowd.resting():
            await world.gates.forgive()
