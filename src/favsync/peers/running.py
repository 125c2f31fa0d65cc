"""All links of this process: a worker a peer, and whoever tells them that records have changed here."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import structlog

from favsync.core.errors import Unavailable
from favsync.core.record import entity_key
from favsync.hub import Hub, Topic
from favsync.peering import Peer
from favsync.peers.attempt import Parts
from favsync.peers.findings import HURRIED_S
from favsync.peers.worker import Worker
from favsync.store import links

_log = structlog.get_logger(__name__)

CHANGES_MAX = 1000  # that are looked through at a time
GATHER_S = 0.2
LOOK_S = 5.0  # for changes that nobody has told of
FAILED_S = 5.0


class Workers:
    """`parts`: what cycles are made with."""

    def __init__(self, peers: Sequence[Peer], parts: Parts, hub: Hub) -> None:
        self._workers = {peer.name: Worker(peer, parts) for peer in peers}
        self._database = parts.database
        self._hub = hub
        self._by_entity: dict[str, list[str]] = {}
        for peer in peers:
            self._by_entity.setdefault(entity_key(peer.entity, tenant=peer.tenant), []).append(peer.name)

    def made(self, peer: str, user: str) -> None:
        """There is a new link with a peer, or one with a new secret: a cycle is due."""
        self.ended(peer, user)
        self._workers[peer].hurried.set()

    def ended(self, peer: str, user: str) -> None:
        """There is none any more. Other processes see that when they keep their leases."""
        self._workers[peer].left(user)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(worker.run()) for worker in self._workers.values()]
        tasks += [asyncio.create_task(self._follow(entity, peers)) for entity, peers in self._by_entity.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, entity: str, peers: Sequence[str]) -> None:
        """Has the cycles of those begin soon whose records change here.

        From where the feed is when this begins: what changed before is found by the cycles, at their interval.
        """
        await self._database.opened.wait()
        at: int | None = None
        with self._hub.follow(Topic(entity)) as board:
            number = board.number
            while True:
                await board.beyond(number, wait_s=LOOK_S)
                number = board.number
                try:
                    at = await links.head(self._database, entity) if at is None else await self._tell(entity, peers, at)
                except Unavailable:
                    await asyncio.sleep(FAILED_S)
                except Exception:  # noqa: BLE001 -- whatever it was, links have to hear of changes again
                    _log.exception("links cannot be told of changes", entity=entity)
                    await asyncio.sleep(FAILED_S)
                await asyncio.sleep(GATHER_S)

    async def _tell(self, entity: str, peers: Sequence[str], after: int) -> int:
        """Of all changes behind a position; where the last of them is."""
        while True:
            changed, last = await links.changed(self._database, entity, after, CHANGES_MAX)
            if not changed:
                return after
            for peer in peers:
                await links.hurry(self._database, peer, changed, wait_s=HURRIED_S)
                self._workers[peer].hurried.set()
            after = last
