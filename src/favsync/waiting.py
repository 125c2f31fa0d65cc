"""What waits for a statement: in lines, one a caller, who take turns; small offers apart from large ones."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from favsync.core.errors import Overloaded
from favsync.core.record import Record
from favsync.store.records import Seen
from favsync.turns import Lines

RECORDS_MAX = 1000  # in a statement of several offers
BYTES_MAX = 4 * 2**20  # likewise, of what is in them
SMALL_RECORDS = 20  # that a small offer has at most,
SMALL_BYTES = 64 * 2**10  # and of what is in it
WAITING_BYTES_MAX = 64 * 2**20  # of all offers that wait,
CALLER_BYTES_MAX = 16 * 2**20  # and of those of one caller,
CALLER_OFFERS_MAX = 1000  # of which there may be so many
LARGE_BYTES_MAX = 56 * 2**20  # of all, up to which large ones are taken, so that small ones have the rest
RECORD_BYTES = 500  # what a record takes beside its fields, about
PATIENCE_S = 10.0

_TOO_MUCH = "Too much waits to be written. This was not stored; send it again."
_TOO_MUCH_OF_ONE = "Too many writes of this caller are waiting. This one was not stored; send it again."


@dataclass(slots=True, eq=False)
class Offer:
    """`number`: in the order of arrival. `records`: at most one a key. `answer`: what stood before each, in order."""

    number: int
    caller: str
    records: Sequence[Record]
    limits: Sequence[int | None]
    owners: frozenset[str]
    bytes: int
    began: float
    answer: asyncio.Future[list[Seen]]


@dataclass(slots=True)
class _Share:
    """What waits of one caller."""

    offers: int = 0
    bytes: int = 0


class Waiting:
    """Offers that wait. One of each caller is taken in turn, and small and large ones in turn, statement by statement.

    So whoever sends much delays the others by one statement of large offers, and nobody's small one waits behind large
    ones of many.
    """

    def __init__(self) -> None:
        self._small: Lines[Offer] = Lines()
        self._large: Lines[Offer] = Lines()
        self._turns = deque([self._small, self._large])
        self._shares: dict[str, _Share] = {}
        self._bytes = 0

    def put(self, offer: Offer) -> None:
        """Raises Overloaded where too much waits already."""
        share = self._shares.get(offer.caller)
        if share and (share.offers >= CALLER_OFFERS_MAX or share.bytes + offer.bytes > CALLER_BYTES_MAX):
            raise Overloaded(_TOO_MUCH_OF_ONE)
        small = len(offer.records) <= SMALL_RECORDS and offer.bytes <= SMALL_BYTES
        if self._bytes and self._bytes + offer.bytes > (WAITING_BYTES_MAX if small else LARGE_BYTES_MAX):
            raise Overloaded(_TOO_MUCH)
        if share is None:
            share = self._shares[offer.caller] = _Share()
        share.offers += 1
        share.bytes += offer.bytes
        self._bytes += offer.bytes
        (self._small if small else self._large).put(offer.caller, offer)

    def take(self, refuses: Callable[[Offer], BaseException | None]) -> list[Offer]:
        """The offers of the next statement, in the order in which they came; empty where none waits.

        But not those that nobody waits for, nor those for which `refuses` gives what they are to hear instead.
        """
        for _ in range(len(self._turns)):
            lines = self._turns[0]
            self._turns.rotate()
            if batch := self._take(lines, refuses):
                return sorted(batch, key=attrgetter("number"))
        return []

    def _take(self, lines: Lines[Offer], refuses: Callable[[Offer], BaseException | None]) -> list[Offer]:
        batch: list[Offer] = []
        count, size, too_late = 0, 0, time.monotonic() - PATIENCE_S
        while offer := lines.first():
            if batch and (count + len(offer.records) > RECORDS_MAX or size + offer.bytes > BYTES_MAX):
                break
            waits = not offer.answer.done()
            lines.drop_first(served=waits)
            self._forget(offer)
            if not waits:
                continue
            told = Overloaded(_TOO_MUCH) if offer.began < too_late else refuses(offer)
            if told:
                offer.answer.set_exception(told)
                continue
            batch.append(offer)
            count += len(offer.records)
            size += offer.bytes
        return batch

    def _forget(self, offer: Offer) -> None:
        share = self._shares[offer.caller]
        share.offers -= 1
        share.bytes -= offer.bytes
        self._bytes -= offer.bytes
        if not share.offers:
            del self._shares[offer.caller]
