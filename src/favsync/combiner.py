"""Write combining: what is offered while a statement is under way goes into the next one, with everybody else's.

A statement and its commit cost about the same for one record as for thirty. An offer that meets nobody goes at once, so
that a quiet service waits for nothing.
"""

import asyncio
import contextlib
import contextvars
import copy
import itertools
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import stamina

from favsync.core.errors import LockTimeout, Unavailable
from favsync.core.record import Key, Record
from favsync.lanes import Lanes
from favsync.store.records import Seen
from favsync.waiting import RECORD_BYTES, Offer, Waiting

LOCK_WAIT_S = 5.0
HELD_S = 30.0  # for which it is taken for likely that rows which were locked still are
HELD_MAX = 10_000
APART = 4  # statements at once of those whose common statement was refused; as many of those whose rows are locked

Push = Callable[[Sequence[Record], Sequence[int | None]], Awaitable[list[Seen]]]


class Combiner:
    """`push`: offers records, at most one a key, each with the item limit of its user; commits; what stood before each.

    An offer is in one statement, as a whole; `Waiting` says whose turn it is. Where a statement is refused, each of its
    offers is tried again by itself, so that nobody answers for a neighbour.
    """

    def __init__(self, push: Push) -> None:
        self._push = push
        self._waiting = Waiting()
        self._numbers = itertools.count()
        self._flight: asyncio.Task[None] | None = None
        self._lanes = Lanes()
        self._held: OrderedDict[str, float] = OrderedDict()  # owners whose rows were locked, and until when to think so
        self._apart, self._blocked = asyncio.Semaphore(APART), asyncio.Semaphore(APART)

    async def offer(self, records: Sequence[Record], limits: Sequence[int | None], *, caller: str) -> list[Seen]:
        """What stood before each record, as if no other offer were in the same statement; committed.

        `caller`: who sends them, be they of others, whose turn it is among all who do.
        Raises Unavailable: perhaps committed. LockTimeout, Overloaded: not committed.
        """
        owners = frozenset([key.user for key, _, _ in records])
        size = RECORD_BYTES * len(records) + sum([len(fields) for _, _, fields in records if fields])
        answer: asyncio.Future[list[Seen]] = asyncio.get_running_loop().create_future()
        offer = Offer(next(self._numbers), caller, records, limits, owners, size, time.monotonic(), answer)
        if self._is_held(offer):
            return await self._wait_for_lock(offer)
        self._waiting.put(offer)
        self._go()
        try:
            return await answer
        except _Refused:
            if self._is_held(offer):
                return await self._wait_for_lock(offer)
        try:
            async with _place(self._apart, LOCK_WAIT_S):
                return await self._try(offer)
        except LockTimeout:
            return await self._wait_for_lock(offer)

    def _go(self) -> None:
        if self._flight is None and (batch := self._waiting.take(self._refuses)):
            # Not in the context of who happens to come first, whose request's id would stand in the log.
            self._flight = asyncio.create_task(self._fly(batch), context=contextvars.Context())
            self._flight.add_done_callback(self._land)

    def _land(self, _flight: asyncio.Task[None]) -> None:
        self._flight = None
        self._go()

    def _refuses(self, offer: Offer) -> "_Refused | None":
        return _Refused() if self._is_held(offer) else None

    async def _fly(self, batch: list[Offer]) -> None:
        try:
            answers = await self._together(batch)
        except BaseException as error:  # noqa: BLE001 -- whatever it was, everybody who waits hears of it
            for offer in batch:
                if not offer.answer.done():
                    offer.answer.set_exception(_told(error, alone=len(batch) == 1))
        else:
            for offer, answer in zip(batch, answers, strict=True):
                if not offer.answer.done():
                    offer.answer.set_result(answer)

    async def _together(self, batch: list[Offer]) -> list[list[Seen]]:
        owners = [owner for offer in batch for owner in offer.owners]
        if len(owners) == len({*owners}):  # as nearly always: then no two offers have a key in common
            everything = [record for offer in batch for record in offer.records]
            seen = iter(await self._push(everything, [limit for offer in batch for limit in offer.limits]))
            return [[*itertools.islice(seen, len(offer.records))] for offer in batch]
        best: dict[Key, tuple[Record, int | None]] = {}
        for offer in batch:
            for record, limit in zip(offer.records, offer.limits, strict=True):
                rival = best.get(record.key)
                if rival is None or record.version > rival[0].version:
                    best[record.key] = (record, limit)
        records, limits = zip(*best.values(), strict=True)
        standing = dict(zip(best, await self._push(records, limits), strict=True))
        return [met(offer.records, standing) for offer in batch]

    async def _wait_for_lock(self, offer: Offer) -> list[Seen]:
        """In a statement of its own, for as long as somebody holds its owners' rows; and after what else is of them.

        Between the attempts no connection is held, and no turn: whoever blocks one owner of an offer blocks neither
        strangers nor the others of that offer.
        """
        give_up = time.monotonic() + LOCK_WAIT_S
        with self._lanes.join(offer.owners) as queue:
            async for attempt in stamina.retry_context(
                on=LockTimeout, attempts=None, timeout=LOCK_WAIT_S, wait_initial=0.05, wait_max=0.5
            ):
                async with queue.turn(wait_s=give_up - time.monotonic()):
                    with attempt:
                        async with _place(self._blocked, give_up - time.monotonic()):
                            return await self._try(offer)
        raise AssertionError  # the last attempt returned or raised

    async def _try(self, offer: Offer) -> list[Seen]:
        """By itself; and remembers whether somebody held the rows."""
        try:
            seen = await self._push(offer.records, offer.limits)
        except LockTimeout:
            until = time.monotonic() + HELD_S
            for owner in offer.owners:
                self._held[owner] = until
                self._held.move_to_end(owner)
            while len(self._held) > HELD_MAX:
                self._held.popitem(last=False)
            raise
        for owner in offer.owners:
            self._held.pop(owner, None)
        return seen

    def _is_held(self, offer: Offer) -> bool:
        """Whether the rows of one of its owners were locked a moment ago."""
        now = time.monotonic()
        while self._held and next(iter(self._held.values())) < now:
            self._held.popitem(last=False)
        return not self._held.keys().isdisjoint(offer.owners)


class _Refused(Exception):
    """The statement was refused, perhaps for another's sake."""


@contextlib.asynccontextmanager
async def _place(places: asyncio.Semaphore, wait_s: float) -> AsyncIterator[None]:
    """LockTimeout where there is none within `wait_s`."""
    try:
        async with asyncio.timeout(wait_s):
            await places.acquire()
    except TimeoutError:
        raise LockTimeout from None
    try:
        yield
    finally:
        places.release()


def _told(error: BaseException, *, alone: bool) -> BaseException:
    """What an offer hears whose statement failed: the truth, where that is known to be about itself."""
    if isinstance(error, LockTimeout):
        return _Refused()
    if isinstance(error, Unavailable):
        return copy.copy(error)
    if isinstance(error, asyncio.CancelledError):
        return Unavailable()
    return error if alone else _Refused()


def met(records: Sequence[Record], standing: dict[Key, Seen]) -> list[Seen]:
    """What each record meets where they come one by one; `standing`, what stood before them, is then what stands."""
    all_seen = []
    for record in records:
        seen = standing[record.key]
        if not seen.refused and (seen.version is None or record.version > seen.version):
            standing[record.key] = Seen(record.version, refused=False)
        all_seen.append(seen)
    return all_seen
