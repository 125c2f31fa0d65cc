"""The one room where all writes meet: whatever door a record came through, `Sync.push` answers for it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from favsync.combiner import Combiner, met
from favsync.core import timestamp
from favsync.core.errors import LockTimeout, Unavailable
from favsync.core.merge import Outcome, merge
from favsync.core.record import Key, Record, Version, entity_name
from favsync.hub import Hub, Topic
from favsync.metrics import Metrics
from favsync.store import records as store
from favsync.store.database import Database


class Receipt(NamedTuple):
    """What became of one record that was sent.

    `version`: what stands now for applied, duplicate and superseded; else the version that was offered.
    """

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
        self._combiner = Combiner(self._store)

    async def push(self, records: Sequence[Record], *, caller: str) -> list[Receipt]:
        """One receipt a record, in order, as if the records had come one by one; what they tell is committed.

        `caller`: who sends them. Callers take turns where many do.
        A record more than the allowed skew ahead of the server's clock is not stored: a phone set to 2035 would
        freeze an item for years. Raises Unavailable: then some may have been committed, and sending all again is safe.
        """
        now_us = self._now_us()
        horizon_us = now_us + self._max_clock_skew_us
        in_time = [record for record in records if record.version.action_us <= horizon_us]
        stood = iter(await self._offer(in_time, caller) if in_time else [])
        receipts = []
        for key, version, _ in records:
            if version.action_us > horizon_us:
                receipts.append(Receipt(Outcome.FUTURE, version, self._too_early(now_us)))
                continue
            known, refused = next(stood)
            if refused:
                detail = f"there may be {self._max_items_of(key.entity)} items, and this would be one more"
                receipts.append(Receipt(Outcome.LIMIT, version, detail))
            else:
                receipts.append(Receipt(*merge(known, version)))
        outcomes = [receipt.outcome for receipt in receipts]
        for outcome in Outcome:
            if count := outcomes.count(outcome):
                self._metrics.receipt(outcome, count)
        return receipts

    async def _offer(self, records: Sequence[Record], caller: str) -> list[store.Seen]:
        """What each meets, in order, as if they had come one by one."""
        keys = [record.key for record in records]
        entities = [key.entity for key in keys]
        limits = {entity: self._max_items_of(entity) for entity in {*entities}}
        if len({*keys}) == len(keys):  # as nearly always
            return await self._combiner.offer(records, [limits[entity] for entity in entities], caller=caller)
        best: dict[Key, Record] = {}
        for record in records:
            rival = best.get(record.key)
            if rival is None or record.version > rival.version:
                best[record.key] = record
        stood = await self._combiner.offer([*best.values()], [limits[key.entity] for key in best], caller=caller)
        return met(records, dict(zip(best, stood, strict=True)))

    def _max_items_of(self, entity: str) -> int | None:
        """By its key."""
        return self._max_items[entity_name(entity)]

    async def _store(self, records: Sequence[Record], limits: Sequence[int | None]) -> list[store.Seen]:
        try:
            seen = await store.push(self._database, records, limits)
        except LockTimeout:
            raise
        except (Unavailable, asyncio.CancelledError):
            self._hub.wrote([])  # perhaps
            raise
        changed = {
            (key.entity, key.user)
            for (key, version, _), (known, refused) in zip(records, seen, strict=True)
            if not refused and (known is None or version > known)
        }
        if changed:
            self._hub.wrote(Topic(*one) for one in changed)
        return seen

    def _too_early(self, now_us: int) -> str:
        skew_s = self._max_clock_skew_us // timestamp.US_PER_S
        return f"more than {skew_s} s ahead of the server, where it is {timestamp.render(now_us)}"
