"""Two services on a database with gates, among a crowd; and how a sequencer comes to stand between two of its steps."""

import signal
from collections.abc import Awaitable, Callable
from itertools import count
from typing import NamedTuple

import aiohttp
import asyncpg

from favsync.core.record import owner_key
from tests.simulation.copies import Copy
from tests.simulation.crowd import KEY, Change, Crowd, Side, connected
from tests.simulation.gates import LOOK, PATIENT, Gates

USERS = count()
ATTEMPTS_MAX = 10

_HEAD = f"SELECT FROM feed_head WHERE entity = '{KEY}' FOR UPDATE"
_WAIT = "SELECT count(*) FROM feed_pending, unnest(seqs) AS one (seq) WHERE user_id = $1 AND one.seq = ANY ($2)"
_PURGED = "SELECT count(*) FROM purged WHERE user_id = $1 AND seq = ANY ($2)"


class Stage(NamedTuple):
    dsn: str
    a: Side
    b: Side


class World:
    """The stage with its crowd. The faults are those of `a`; the copies are kept through `b`, or both."""

    def __init__(self, stage: Stage, gates: Gates, session: aiohttp.ClientSession, seed: str) -> None:
        self.a, self.b, self.dsn = stage.a, stage.b, stage.dsn
        self.gates = gates
        self.crowd = Crowd(stage.dsn, gates, session, seed)
        self.holder: asyncpg.Connection | None = None  # of the lock of the feed
        self.copies = [Copy(session, [stage.b.service], f"{seed} {number}") for number in range(3)]

    def begin(self) -> None:
        slow, quick, live = self.copies
        self.crowd.begin(
            self.crowd.write_by_sql("sql"),
            self.crowd.write_through(self.a.service, "through-a"),
            self.crowd.write_through(self.b.service, "through-b"),
            self.crowd.purge_again_and_again(),
            slow.keep_by_pages(limit=3, wait_s=0),
            quick.keep_by_pages(limit=100, wait_s=1),
            live.keep_by_events(),
        )

    async def mend(self) -> None:
        """Whatever a test has left behind."""
        await self.gates.open(self.a.role, self.b.role)
        if self.holder is not None:
            self.holder.terminate()
        for side in (self.a, self.b):
            if side.service.process.poll() is None:
                side.signal(signal.SIGCONT)
            else:
                await side.start()

    async def wait(self, user: str, seqs: list[int]) -> int:
        """How many of a user's changes wait to be placed or settled."""
        number: int = await self.gates.connection.fetchval(_WAIT, owner_key(user), seqs)
        return number

    async def settled(self, user: str, seqs: list[int]) -> bool:
        return not await self.wait(user, seqs)

    async def make_patient(self, side: Side) -> None:
        """So that the side's sequencer waits for a lock until the test has seen it wait."""
        await self.gates.close(PATIENT, side.role)
        pid = await self.crowd.until(lambda: self.gates.session(side.role))
        before = await self.gates.settlements(pid)

        async def passed() -> bool:
            await self.crowd.post(side.service, "patient", [Change("one", False)])
            return await self.gates.settlements(pid) > before

        await self.crowd.until(passed)


class Held(NamedTuple):
    """What a sequencer has in hand while it stands at a gate: the changes of `user`, of ITEMS, with these `seqs`.

    `pid`: of its connection, as PostgreSQL has it. `settlements`: how often that had settled anything before.
    """

    user: str
    seqs: list[int]
    pid: int
    settlements: int
    release: Callable[[], Awaitable[None]]


# Deleted and left so, deleted and then added, added and then deleted, added and left so.
HELD = [Change("one", True), Change("two", True), Change("three", False), Change("four", False)]
LATER = [Change("two", False), Change("three", True)]


async def hold(world: World, gate: str) -> Held:
    """Lets the sequencer of `a` come as far as a gate, with changes of its own in hand; all others then go on."""
    for _attempt in range(ATTEMPTS_MAX):
        user = f"held-{next(USERS)}"
        if gate == LOOK:
            await world.make_patient(world.a)
        async with world.crowd.resting():
            await world.crowd.post(world.b.service, user, [Change(change.item, not change.deleted) for change in HELD])
            await world.crowd.until(world.crowd.quiet)
            release = await close(world, gate)
            await world.crowd.post(world.a.service, user, HELD)
            seqs = await world.crowd.seqs(user, [change.item for change in HELD])

            async def came(user: str = user, seqs: list[int] = seqs) -> int | bool:
                """It stands there; or the other sequencer was faster."""
                return await world.gates.stands(world.a.role, at_lock=gate == LOOK) or await world.settled(user, seqs)

            pid = await world.crowd.until(came)
            if pid is not True and await world.wait(user, seqs) == len(HELD):
                return Held(user, seqs, pid, await world.gates.settlements(pid), release)
            await release()
    raise AssertionError(f"the other sequencer was faster {ATTEMPTS_MAX} times")


async def close(world: World, gate: str) -> Callable[[], Awaitable[None]]:
    """Closes a gate to `a`; gives what opens it."""
    if gate == LOOK:
        world.holder = await asyncpg.connect(world.dsn)
        await world.holder.execute("BEGIN")
        await world.holder.execute(_HEAD)
        return world.holder.close
    await world.gates.close(gate, world.a.role)
    return lambda: world.gates.open(world.a.role)


class Later(NamedTuple):
    """Versions that were written while others of the same records were held, and which deletions there are by then."""

    seqs: list[int]
    deletions: list[int]


async def write_later(world: World, held: Held) -> Later:
    async with connected(world.dsn) as connection:
        await world.crowd.push(connection, held.user, LATER)
    seqs = await world.crowd.seqs(held.user, [change.item for change in LATER])
    return Later(seqs, [held.seqs[0], seqs[1]])


async def is_overtaken(world: World, held: Held, later: Later) -> bool:
    """Whether all that was held, and is newer, is placed and settled, and its deletions are purged."""
    purged = await world.gates.connection.fetchval(_PURGED, owner_key(held.user), later.deletions)
    return purged == len(later.deletions) and await world.settled(held.user, [*held.seqs, *later.seqs])
