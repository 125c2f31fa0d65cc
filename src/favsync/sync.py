"""The one room where all writes meet: whatever door a record came through, `Sync.push` answers for it."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import stamina

from favsync.core import timestamp
from favsync.core.errors import LockTimeout, Unavailable
from favsync.core.merge import Outcome, merge
from favsync.core.record import Key, Record, Version, entity_name
from favsync.hub import Hub, Topic
from favsync.lanes import Lanes
from favsync.metrics import Metrics
from favsync.store import records as store
from favsync.store.database import Database

LOCK_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one record that was sent.

    `version`: what stands now for applied, duplicate and superseded; else the version that was offered.
    """

    item: str
    outcome: Outcome
    version: Version
    detail: str | None = None


class Sync:
    """`now_us`: the server's clock, in microseconds since the epoch.

    `max_items`: how many a user may have, by stored entity; None: any number. KeyError for an entity that is not there.
    """

    def __init__(  # noqa: PLR0913 -- whatever a write has to do with
        self,
        database: Database,
        metrics: Metrics,
        hub: Hub,
        *,
        now_us: Callable[[], int],
        max_clock_skew_s: float,
        max_items: Mapping[str, int | None],
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._hub = hub
        self._now_us = now_us
        self._max_clock_skew_us = int(max_clock_skew_s * timestamp.US_PER_S)
        self._max_items = max_items
        self._lanes = Lanes()

    async def push(self, records: Sequence[Record]) -> list[Receipt]:
        """One receipt a record, in order, as if the records had come one by one; what they tell is committed.

        A record more than the allowed skew ahead of the server's clock is not stored: a phone set to 2035 would
        freeze an item for years. Raises Unavailable: then some may have been committed, and sending all again is safe.
        """
        now_us = self._now_us()
        horizon_us = now_us + self._max_clock_skew_us
        best: dict[Key, Record] = {}
        for record in records:
            rival = best.get(record.key)
            if record.version.action_us <= horizon_us and (rival is None or record.version > rival.version):
                best[record.key] = record
        seen = dict(zip(best, await self._offer(list(best.values())), strict=True))

        standing = {key: known.version for key, known in seen.items()}
        receipts = []
        for record in records:
            item, version = record.key.item, record.version
            if version.action_us > horizon_us:
                receipts.append(Receipt(item, Outcome.FUTURE, version, self._too_early(now_us)))
            elif seen[record.key].refused:
                detail = f"there may be {self._limit(record)} items, and this would be one more"
                receipts.append(Receipt(item, Outcome.LIMIT, version, detail))
            else:
                outcome, winner = merge(standing[record.key], version)
                standing[record.key] = winner
                receipts.append(Receipt(item, outcome, winner))
            self._metrics.receipt(receipts[-1].outcome)
        return receipts

    async def _offer(self, records: list[Record]) -> list[store.Seen]:
        if not records:
            return []
        limits = [self._limit(record) for record in records]
        users = {record.key.user for record in records}
        give_up = time.monotonic() + LOCK_WAIT_S
        with self._lanes.join(users) as queue:
            # Between the attempts no connection is held, and no turn: whoever blocks one user of a batch blocks neither
            # strangers nor the others of that batch.
            async for attempt in stamina.retry_context(
                on=LockTimeout, attempts=None, timeout=LOCK_WAIT_S, wait_initial=0.05, wait_max=0.5
            ):
                async with queue.turn(wait_s=give_up - time.monotonic()):
                    with attempt:
                        return await self._store(records, limits)
        raise AssertionError  # the last attempt returned or raised

    async def _store(self, records: list[Record], limits: list[int | None]) -> list[store.Seen]:
        try:
            seen = await store.push(self._database, records, limits)
        except LockTimeout:
            raise
        except (Unavailable, asyncio.CancelledError):
            self._hub.wrote([])  # perhaps
            raise
        changed = {
            Topic(record.key.entity, record.key.user)
            for record, known in zip(records, seen, strict=True)
            if not known.refused and (known.version is None or record.version > known.version)
        }
        if changed:
            self._hub.wrote(changed)
        return seen

    def _limit(self, record: Record) -> int | None:
        return self._max_items[entity_name(record.key.entity)]

    def _too_early(self, now_us: int) -> str:
        skew_s = self._max_clock_skew_us // timestamp.US_PER_S
        return f"more than {skew_s} s ahead of the server, where it is {timestamp.render(now_us)}"
