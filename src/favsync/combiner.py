"""Write combining: what is offered while a statement is under way goes into the next one, with everybody else's.

A statement and its commit cost about the same for one record as for thirty. An offer that meets nobody goes at once, so
that a quiet service waits for nothing.
"""

import asyncio
import copy
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import stamina

from favsync.core.errors import LockTimeout, Unavailable
from favsync.core.record import Key, Record
from favsync.lanes import Lanes
from favsync.store.records import Seen

FLIGHTS = 1  # statements under way at once, but for those of users who are held up
RECORDS_MAX = 1000  # in a statement of several offers
BYTES_MAX = 4 * 2**20  # likewise, of what is in them
WAITING_BYTES_MAX = 64 * 2**20  # of offers that wait for their statement
RECORD_BYTES = 500  # what a record takes beside its fields, about
PATIENCE_S = 10.0
LOCK_WAIT_S = 5.0

Push = Callable[[Sequence[Record], Sequence[int | None]], Awaitable[list[Seen]]]


@dataclass(frozen=True, slots=True, eq=False)
class _Offer:
    """`records`: at most one a key. `answer`: what stood before each, in order."""

    records: Sequence[Record]
    limits: Sequence[int | None]
    bytes: int
    began: float
    answer: asyncio.Future[list[Seen]]


class Combiner:
    """`push`: offers records, at most one a key, each with the item limit of its user; commits; what stood before each.

    An offer is in one statement, as a whole. Where that statement is refused, each of its offers is tried again by
    itself, so that nobody answers for a neighbour.
    """

    def __init__(self, push: Push) -> None:
        self._push = push
        self._waiting: deque[_Offer] = deque()
        self._waiting_bytes = 0
        self._flights: set[asyncio.Task[None]] = set()
        self._lanes = Lanes()

    async def offer(self, records: Sequence[Record], limits: Sequence[int | None]) -> list[Seen]:
        """What stood before each record, as if no other offer were in the same statement; committed.

        Raises Unavailable: perhaps committed. LockTimeout: not committed.
        """
        if self._lanes.any_of(record.key.user for record in records):
            return await self._alone(records, limits)
        size = sum(RECORD_BYTES + len(record.fields or b"") for record in records)
        if self._waiting and self._waiting_bytes + size > WAITING_BYTES_MAX:
            raise Unavailable("Too much waits to be written. This was not stored; send it again.")
        answer: asyncio.Future[list[Seen]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Offer(records, limits, size, time.monotonic(), answer))
        self._waiting_bytes += size
        self._go()
        try:
            return await answer
        except _Alone:
            return await self._alone(records, limits)

    def _go(self) -> None:
        while len(self._flights) < FLIGHTS and (batch := self._take()):
            flight = asyncio.create_task(self._fly(batch))
            self._flights.add(flight)
            flight.add_done_callback(self._land)

    def _land(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        self._go()

    def _take(self) -> list[_Offer]:
        """The offers of the next statement, in the order in which they came; not those that nobody waits for."""
        batch: list[_Offer] = []
        count, size, too_late = 0, 0, time.monotonic() - PATIENCE_S
        while self._waiting:
            offer = self._waiting[0]
            if batch and (count + len(offer.records) > RECORDS_MAX or size + offer.bytes > BYTES_MAX):
                break
            self._waiting.popleft()
            self._waiting_bytes -= offer.bytes
            if offer.answer.done():
                continue
            if offer.began < too_late:
                offer.answer.set_exception(Unavailable())
                continue
            if self._lanes.any_of(record.key.user for record in offer.records):
                offer.answer.set_exception(_Alone())
                continue
            batch.append(offer)
            count += len(offer.records)
            size += offer.bytes
        return batch

    async def _fly(self, batch: list[_Offer]) -> None:
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

    async def _together(self, batch: list[_Offer]) -> list[list[Seen]]:
        if len(batch) == 1:
            return [await self._push(batch[0].records, batch[0].limits)]
        best: dict[Key, tuple[Record, int | None]] = {}
        for offer in batch:
            for record, limit in zip(offer.records, offer.limits, strict=True):
                rival = best.get(record.key)
                if rival is None or record.version > rival[0].version:
                    best[record.key] = (record, limit)
        records, limits = zip(*best.values(), strict=True)
        standing = dict(zip(best, await self._push(records, limits), strict=True))
        return [[_meet(record, standing) for record in offer.records] for offer in batch]

    async def _alone(self, records: Sequence[Record], limits: Sequence[int | None]) -> list[Seen]:
        """In a statement of its own, for as long as somebody holds its users' rows; and after what else is of them.

        Between the attempts no connection is held, and no turn: whoever blocks one user of an offer blocks neither
        strangers nor the others of that offer.
        """
        give_up = time.monotonic() + LOCK_WAIT_S
        with self._lanes.join({record.key.user for record in records}) as queue:
            async for attempt in stamina.retry_context(
                on=LockTimeout, attempts=None, timeout=LOCK_WAIT_S, wait_initial=0.05, wait_max=0.5
            ):
                async with queue.turn(wait_s=give_up - time.monotonic()):
                    with attempt:
                        return await self._push(records, limits)
        raise AssertionError  # the last attempt returned or raised


class _Alone(Exception):
    """The statement was refused, perhaps for another's sake."""


def _told(error: BaseException, *, alone: bool) -> BaseException:
    """What an offer hears whose statement failed: the truth, where that is known to be about itself."""
    if isinstance(error, LockTimeout):
        return _Alone()
    if isinstance(error, Unavailable):
        return copy.copy(error)
    if isinstance(error, asyncio.CancelledError):
        return Unavailable()
    return error if alone else _Alone()


def _meet(record: Record, standing: dict[Key, Seen]) -> Seen:
    """What this record meets; and what stands afterwards."""
    seen = standing[record.key]
    if not seen.refused and (seen.version is None or record.version > seen.version):
        standing[record.key] = Seen(record.version, refused=False)
    return seen
