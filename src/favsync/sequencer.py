"""The sequencer: gives changes that were committed their positions in the feeds, and tells who waits for them.

One runs in each process, and none of them leads: whatever one has placed, another meets as placed (docs/adr/0008).
"""

import asyncio
import contextlib
import math
import time
import uuid
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import structlog

from favsync.core.errors import LockTimeout, Unavailable
from favsync.hub import Hub, Topic
from favsync.metrics import Metrics
from favsync.store import placing
from favsync.store.database import Database, leaving
from favsync.store.placing import Connection, Placed

_log = structlog.get_logger(__name__)

GATHER_S = 0.01  # between two ticks under load: what is written meanwhile shares the second
ANSWER_S = 0.002  # after a quiet time, for the answer to whoever wrote to go out first, and for neighbours to come
HELP_S = 0.1  # within which another process is expected to have placed what it was told of
POLL_S = 0.5  # what nobody told of is found within this
POLL_ALONE_S = 0.1  # where no process can tell another
EPOCH_S = 1.0
RETRY_S = 1.0
FAILED_S = 5.0
OWNERS_MAX = 1000  # that are looked up by name; of more, all are told who wait


class Sequencer:
    """`listen`: whether the database takes LISTEN, which a pooler in transaction mode does not.

    `helps`: another process is there to place what this one has written, and is told of it; later this one looks, too.
    Where each of several placed, they would wait for each other's locks.
    """

    def __init__(self, database: Database, hub: Hub, metrics: Metrics, *, listen: bool, helps: bool = False) -> None:
        self._database = database
        self._hub = hub
        self._metrics = metrics
        self._listen = listen
        self._helps = helps and listen
        self._poll_s = POLL_S if listen else POLL_ALONE_S
        self._heard = False  # another process has said that it has placed something
        self._heads: dict[str, int] = {}  # that were told of
        self._blocked: set[str] = set()  # entities that another transaction held at the latest tick
        self._failing: set[str] = set()  # entities whose fault was said
        self._obstacle: str | None = None
        self._checked_at = 0.0
        self._epoch: uuid.UUID | None = None  # that was told of

    async def run(self) -> None:
        """Goes on until it is cancelled, whatever happens to the database."""
        await self._database.opened.wait()
        while True:
            try:
                async with self._database.dedicated("favsync sequencer") as connection:
                    await self._work(connection)
            except Unavailable as error:
                self._note(error.detail)
                await asyncio.sleep(RETRY_S)
            except Exception:  # noqa: BLE001 -- whatever it was, the feeds have to go on
                _log.exception("the sequencer failed, and begins again")
                await asyncio.sleep(FAILED_S)

    def _note(self, obstacle: str | None) -> None:
        """Says once what is in the way, and once that nothing is any more."""
        if obstacle == self._obstacle:
            return
        self._obstacle = obstacle
        if obstacle:
            _log.warning("the feeds stand still", reason=obstacle)
        else:
            _log.info("the feeds go on")

    async def _work(self, connection: Connection) -> None:
        if self._listen:
            await placing.listen(connection, self._hear)
        look_at = -math.inf
        while True:
            began = time.monotonic()
            self._hub.woken.clear()
            heard, self._heard = self._heard, False
            written, self._hub.written = self._hub.written, set()
            look = began >= look_at or written is None
            if look:
                look_at = began + self._poll_s
            with leaving(connection):
                if began >= self._checked_at + EPOCH_S:
                    await self._check_epoch(connection)
                    self._checked_at = began
                if self._helps and written and not look:
                    look_at = min(look_at, began + HELP_S)
                    with contextlib.suppress(LockTimeout):  # then this one looks, a moment later
                        for entity in written:
                            await placing.hint(connection, entity)
                elif await self._place(connection, None if look else written):
                    look_at = -math.inf
                if look or heard:  # else nobody but this one has placed anything that it could know of
                    await self._tell(connection, await placing.heads(connection))
            self._note(None)
            if look_at > began:
                await asyncio.sleep(began + GATHER_S - time.monotonic())
                await self._woken(look_at - time.monotonic())

    def _hear(self, entity: str) -> None:
        """Another process has placed something, or leaves something of an entity to be placed by us."""
        if not entity:
            self._heard = True
        elif self._helps:
            return
        elif self._hub.written is not None:
            self._hub.written.add(entity)
        self._hub.woken.set()

    async def _check_epoch(self, connection: Connection) -> None:
        """Whoever follows something in an epoch that is over has to hear that."""
        await self._database.check_epoch(connection)
        known, self._epoch = self._epoch, self._database.epoch.id
        if known not in (None, self._epoch):
            self._hub.post_all()

    async def _woken(self, wait_s: float) -> None:
        """Waits for something to do, or until it is time to look."""
        if self._hub.woken.is_set():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._hub.woken.wait()
            if not self._heard:
                await asyncio.sleep(ANSWER_S)

    async def _place(self, connection: Connection, written: AbstractSet[str] | None) -> bool:
        """Places what waits, or a part of it; says whether to look again at once.

        `written`: the entities of which something waits; None: they are looked for.
        """
        if written is None or self._blocked:
            found = await placing.waiting(connection, sorted(self._blocked))
        else:
            found = [placing.Waiting(entity, placing.WHENEVER, 0) for entity in written]
        was_blocked, self._blocked = self._blocked, set()
        done: list[Placed] = []
        for entity, until, _ in found:
            try:
                done.append(await placing.place(connection, entity, until))
                self._failing.discard(entity)
            except LockTimeout:
                self._blocked.add(entity)
            except Unavailable:
                raise
            except Exception:  # noqa: BLE001 -- whatever it was, the other feeds go on
                self._blocked.add(entity)
                if entity not in self._failing:
                    self._failing.add(entity)
                    _log.exception("nothing can be placed in a feed", entity=entity)
        news = {placed.entity: placed.head for placed in done if placed.gained}
        await self._tell(connection, news)
        hinting = bool(news) and self._listen
        for placed in done:
            self._metrics.placed(placed.gained)
            if placed.users:
                with contextlib.suppress(LockTimeout):  # another sequencer settles the same
                    await placing.settle(connection, placed, hinting=hinting)
                    hinting = False
        if hinting:
            with contextlib.suppress(LockTimeout):  # then they find out later
                await placing.hint(connection)
        more = sum(one.number for one in found) >= placing.CHANGES_MAX or any(placed.more for placed in done)
        return bool(done and more) or bool(was_blocked or (self._blocked and done))

    async def _tell(self, connection: Connection, heads: Mapping[str, int]) -> None:
        """Tells those who follow a feed that has grown, or records that have a new place in it."""
        for entity, head in heads.items():
            before = self._heads.get(entity)
            if before == head:
                continue
            changed = followed = self._hub.owners(entity)
            if followed and before is not None and before < head:
                moved = await placing.owners(connection, entity, before, most=OWNERS_MAX)
                changed = followed if moved is None else followed & moved
            self._heads[entity] = head  # not before: had the database gone, this would be told when it is back
            self._hub.post(Topic(entity))
            for owner in changed:
                self._hub.post(Topic(entity, owner))
