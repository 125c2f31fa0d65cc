"""Keeps links in step: takes those that are due, has their cycles run, and keeps what these found."""

import asyncio
import contextlib
import functools
import random
import time
import uuid
from collections.abc import AsyncIterator

import structlog

from favsync.client import Session, Timeouts
from favsync.core.errors import Unavailable
from favsync.peering import Peer
from favsync.peers.attempt import Attempts, Parts, patiently
from favsync.peers.patience import Breaker
from favsync.store import links
from favsync.store.links import Claim

_log = structlog.get_logger(__name__)

LEASE_S = 60.0  # after which the link of a process that died is somebody else's
RENEW_S = LEASE_S / 4
LOOK_S = 1.0  # for what is due
FAILED_S = 5.0
CLAIMED_MAX = 50  # in one statement
RELEASE_S = 1.0  # at the end, for giving up what is not done


class Worker:
    """The links with one peer, in this process. Whatever goes wrong with them is nobody else's concern."""

    def __init__(self, peer: Peer, parts: Parts) -> None:
        self._peer = peer
        self._parts = parts
        self._lease = uuid.uuid4()
        self._breaker = Breaker()
        self._attempts = Attempts(peer, parts, self._breaker)
        self._running: dict[str, tuple[Claim, asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # with those of links that have been taken anew meanwhile
        self._room = asyncio.Event()
        self.hurried = asyncio.Event()  # something may be due before its time

    async def run(self) -> None:
        """Goes on until it is cancelled."""
        await self._parts.database.opened.wait()
        peer = self._peer
        times = Timeouts(total=peer.timeout_s, connect=peer.timeout_s, read=peer.timeout_s)
        http = peer.url.startswith("http://")
        networks = None if http else peer.networks
        session = Session(allowed_networks=networks, allow_http=http, connections=peer.at_once + 1, timeouts=times)
        async with session, self._leases_kept():
            while True:
                try:
                    took = await self._take(session)
                except Unavailable:
                    took = 0
                except Exception:  # noqa: BLE001 -- whatever it was, the links have to go on
                    _log.exception("links cannot be looked at", peer=peer.name)
                    await asyncio.sleep(FAILED_S)
                    continue
                await self._pause(took)

    def left(self, user: str) -> None:
        """The link has ended, or has another secret: what goes on with the one before ends, here at once."""
        _, task = self._running.get(user, (None, None))
        if task is not None:
            task.cancel()

    async def _take(self, session: Session) -> int:
        """Begins cycles of links that are due, as many as there is room for."""
        room = self._breaker.room(min(self._peer.at_once - len(self._running), CLAIMED_MAX), time.monotonic())
        if room <= 0:
            return 0
        database, peer = self._parts.database, self._peer.name
        claimed = await links.claim(database, peer, self._lease, most=room, lease_s=LEASE_S)
        for one in claimed:
            # A link that has been given another token meanwhile, or was left for so long that its lease ran out.
            _, before = self._running.pop(one.user_id, (None, None))
            if before is not None:
                before.cancel()
            task = asyncio.create_task(self._work(one, session, before, probe=self._breaker.began()))
            self._running[one.user_id] = one, task
            self._tasks.add(task)
            task.add_done_callback(functools.partial(self._ended, one.user_id))
        return len(claimed)

    def _ended(self, user: str, done: asyncio.Task[None]) -> None:
        self._tasks.discard(done)
        _, standing = self._running.get(user, (None, None))
        if standing is done:
            del self._running[user]
        self._room.set()

    async def _pause(self, took: int) -> None:
        """Until there may be something to take: at once where there was, and there is room."""
        full = len(self._running) >= self._peer.at_once
        if took and not full:
            return
        self._room.clear()
        wanted = self._room if full else self.hurried
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S * random.uniform(0.8, 1.2)):  # noqa: S311 -- processes look in turn
                await wanted.wait()
        self.hurried.clear()

    @contextlib.asynccontextmanager
    async def _leases_kept(self) -> AsyncIterator[None]:
        keeping = asyncio.create_task(self._keep_leases())
        try:
            yield
        finally:
            held = [claimed for claimed, _ in self._running.values()]
            tasks = [keeping, *self._tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(Unavailable, TimeoutError):  # then they run out
                async with asyncio.timeout(RELEASE_S):
                    await self._release(held, wait_s=0.0)

    async def _keep_leases(self) -> None:
        """A cycle whose link has become another's ends: that one begins anew."""
        while True:
            await asyncio.sleep(RENEW_S)
            held = list(self._running.values())
            claims = [claimed for claimed, _ in held]
            try:
                ours = await links.renew(self._parts.database, self._peer.name, claims, self._lease, lease_s=LEASE_S)
            except Unavailable:
                continue  # then they run out, perhaps
            except Exception:  # noqa: BLE001 -- whatever it was, cycles have to be kept from being done twice
                _log.exception("leases cannot be kept", peer=self._peer.name)
                continue
            for claimed, task in held:
                if (claimed.user_id, claimed.revision) not in ours:
                    task.cancel()

    async def _work(self, claimed: Claim, session: Session, before: asyncio.Task[None] | None, *, probe: bool) -> None:
        """One cycle, and what it leaves behind. Where that cannot be kept, the lease runs out."""
        database, peer = self._parts.database, self._peer.name
        try:
            if before is not None:
                await asyncio.wait([before])
            found = await self._attempts.attempt(claimed, session, probe=probe)
            await patiently(lambda: links.finish(database, peer, claimed, self._lease, found))
        except Unavailable:  # our own database, which the log and /readyz tell of
            with contextlib.suppress(Unavailable):
                await self._release([claimed], wait_s=FAILED_S)
        except Exception:  # noqa: BLE001 -- nobody awaits this task
            _log.exception("what a cycle found cannot be kept", peer=peer)
        finally:
            self._breaker.ended(probe=probe)

    async def _release(self, claims: list[Claim], *, wait_s: float) -> None:
        if claims:
            await links.release(self._parts.database, self._peer.name, claims, self._lease, wait_s=wait_s)
