"""One attempt at a cycle: as whom, within which bounds, and whose fault it is where it fails."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple, TypeVar

import structlog

from favsync.client import (
    BadAnswer,
    Busy,
    Client,
    ClientError,
    ForbiddenAddress,
    Paths,
    ServerFault,
    Session,
    Unauthorized,
    Unreachable,
)
from favsync.core.errors import Unavailable
from favsync.identity.vault import Credentials, Unreadable, Vault
from favsync.metrics import Metrics
from favsync.peering import ANSWER_BYTES_MAX, LIST_BYTES_MAX, LIST_RECORDS_MAX, Peer, named
from favsync.peers import findings, memory
from favsync.peers.caller import Caller, Pace, Unrenewed
from favsync.peers.cycle import Cycle, Done, Judge, Push
from favsync.peers.patience import PROBE_MAX_S, Breaker
from favsync.store import links
from favsync.store.database import Database
from favsync.store.links import Claim, Found

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

TOLD_EVERY_S = 600.0  # of one kind of trouble with a peer
_AWAY = "a peer fails again and again, and is tried by one link at a time"
KEPT_TIMES, KEPT_PAUSE_S = 10, 1.0  # for our database to come back, where something would be lost


class Outdated(Exception):
    """The link is of a time when the settings had it otherwise how this peer is asked."""

    def __init__(self) -> None:
        super().__init__("the link was made when this peer was asked in another way, and has to be made anew")


class Parts(NamedTuple):
    """What cycles are made with. `judges`: by entity."""

    database: Database
    sync: Push
    vault: Vault
    metrics: Metrics
    judges: Mapping[str, Judge]
    now_us: Callable[[], int]


class Attempts:
    """At the links with one peer, in this process."""

    def __init__(self, peer: Peer, parts: Parts, breaker: Breaker) -> None:
        self._peer = peer
        self._parts = parts
        self._breaker = breaker
        self._pace = Pace(peer.per_s)
        self._warned = False
        self._told: dict[str, float] = {}  # what the log was told, and when

    async def attempt(self, claimed: Claim, session: Session, *, probe: bool) -> Found:
        """Raises Unavailable where our own database is away."""
        began = time.perf_counter()
        try:
            found = await self._judged(claimed, session, probe=probe)
        except Unavailable:
            raise
        except Unreadable:
            self._warn()
            found = findings.keyless(claimed, self._parts.now_us())
        except Outdated as error:
            self._tell("a link needs a new token", error)
            found = findings.stopped(claimed, str(error), self._parts.now_us())
        except Exception:  # noqa: BLE001 -- a fault of ours, which the link is not to repeat at once
            _log.exception("a cycle failed", peer=self._peer.name)
            found = findings.failed(claimed, "internal error", self._parts.now_us())
        outcome = "needs_login" if found.needs_login else "failed" if found.failures else "done"
        self._parts.metrics.cycle(self._peer.name, outcome, time.perf_counter() - began)
        return found

    async def _judged(self, claimed: Claim, session: Session, *, probe: bool) -> Found:
        """What fails of the peer counts for all of its links; what it says of one user or request, does not.

        Raises Unreadable and Outdated, before the peer was asked anything.
        """
        least_s = 0.0
        try:
            credentials = self._parts.vault.open(claimed.user_id, self._peer.name, claimed.secret)
            done = await self._run(claimed, credentials, session)
            if done.failure is not None:
                remembered = await memory.keep(done.memory, self._peer)
                claimed = claimed._replace(memory=remembered, etag=None, seq=done.seq)
                raise done.failure
        except Unauthorized as error:
            self._breaker.succeeded()
            if self._peer.by_token:
                self._tell("a link needs a new token", error)
                return findings.stopped(claimed, str(error), self._parts.now_us())
            reason = f"our header is refused: {error}"  # and no user has a better one
            self._tell("a peer refuses our header", error)
        except Busy as error:
            reason, least_s = str(error), error.retry_after_s or 0.0
            self._failed(error, probe=probe)
            if error.status == HTTPStatus.SERVICE_UNAVAILABLE:  # 429 is of this user, unless others get it, too
                self._breaker.pause(time.monotonic() + min(least_s, PROBE_MAX_S))
        except (ServerFault, Unreachable, BadAnswer, ForbiddenAddress) as error:
            reason = str(error)
            self._failed(error, probe=probe)
        except ClientError as error:
            reason, least_s = str(error), (error.retry_after_s or 0.0) if isinstance(error, Unrenewed) else 0.0
            self._breaker.succeeded()
            what = "no token is given for a peer" if isinstance(error, Unrenewed) else "a peer refuses what it is asked"
            self._tell(what, error)
        else:
            self._succeeded()
            return await findings.ended_well(self._peer, claimed, done, self._parts.now_us())
        return findings.failed(claimed, reason, self._parts.now_us(), least_s=least_s)

    async def _run(self, claimed: Claim, credentials: Credentials, session: Session) -> Done:
        """Raises Outdated. A 401 has the token renewed within the cycle, a request; a 403 may mean the same: once."""
        if (credentials.token is not None) != self._peer.by_token:
            # An account that came with a token is the user's own word: with a header of ours it would open whatever
            # list they named.
            raise Outdated
        caller = self._caller(claimed, credentials, session)
        try:
            return await self._cycle(claimed, credentials, caller, session)
        except Unauthorized as error:
            if error.status != HTTPStatus.FORBIDDEN or not await caller.renew():
                raise
        return await self._cycle(claimed, credentials, caller, session)

    async def _cycle(self, claimed: Claim, credentials: Credentials, caller: Caller, session: Session) -> Done:
        parts, peer = self._parts, self._peer
        paths = Paths(named(peer.get, credentials.account), named(peer.post, credentials.account))
        client = Client(
            peer.url, caller, entity=peer.entity, paths=paths, session=session, retry=None,
            bytes_max=ANSWER_BYTES_MAX, list_bytes_max=LIST_BYTES_MAX, list_records_max=LIST_RECORDS_MAX,
        )  # fmt: skip
        judge, recall = parts.judges[peer.entity], functools.partial(memory.recall, claimed.memory, peer)
        cycle = Cycle(parts.database, parts.sync, judge, peer, claimed.user_id, client, recall)
        return await cycle.run(memory.untagged(peer, claimed.etag), claimed.seq)

    def _caller(self, claimed: Claim, credentials: Credentials, session: Session) -> Caller:
        async def kept(renewed: Credentials) -> None:
            secret = self._parts.vault.seal(claimed.user_id, self._peer.name, renewed)
            await patiently(lambda: links.renewed(self._parts.database, self._peer.name, claimed, secret))

        return Caller(self._peer, credentials, session, self._pace, kept)

    def _succeeded(self) -> None:
        self._breaker.succeeded()
        if self._told.pop(_AWAY, None) is not None:
            _log.info("a peer is there again", peer=self._peer.name)

    def _failed(self, error: ClientError, *, probe: bool) -> None:
        self._breaker.failed(time.monotonic(), probe=probe)
        if self._breaker.is_open:
            self._tell(_AWAY, error)

    def _tell(self, what: str, error: Exception) -> None:
        """In the log, now and then, however many links it is about.

        Not in the peer's own words, which may name people.
        """
        now_s = time.monotonic()
        if now_s < self._told.get(what, -TOLD_EVERY_S) + TOLD_EVERY_S:
            return
        self._told[what] = now_s
        why = {"detail": str(error)} if isinstance(error, Unreachable) else {"status": getattr(error, "status", None)}
        _log.warning(what, peer=self._peer.name, error=type(error).__name__, **why)

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            _log.error("links cannot be opened: the key that sealed them is not among link_keys", peer=self._peer.name)


async def patiently(step: Callable[[], Awaitable[_T]]) -> _T:
    """What it gives, tried again while our database is away for a moment. Raises Unavailable."""
    for _ in range(KEPT_TIMES - 1):
        try:
            return await step()
        except Unavailable:
            await asyncio.sleep(KEPT_PAUSE_S)
    return await step()
