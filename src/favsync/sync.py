"""The one room where all writes meet: whatever door a record came through, `Sync.push` answers for it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from favsync.combiner import Combiner
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
        self._combiner = Combiner(self._store)

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
        offered = list(best.values())
        limits = {entity: self._max_items[entity_name(entity)] for entity in {key.entity for key in best}}
        stood = await self._combiner.offer(offered, [limits[key.entity] for key in best]) if offered else []
        seen = dict(zip(best, stood, strict=True))

        standing = {key: known.version for key, known in seen.items()}
        receipts = []
        for record in records:
            item, version = record.key.item, record.version
            if version.action_us > horizon_us:
                receipts.append(Receipt(item, Outcome.FUTURE, version, self._too_early(now_us)))
            elif seen[record.key].refused:
                detail = f"there may be {limits[record.key.entity]} items, and this would be one more"
                receipts.append(Receipt(item, Outcome.LIMIT, version, detail))
            else:
                outcome, winner = merge(standing[record.key], version)
                standing[record.key] = winner
                receipts.append(Receipt(item, outcome, winner))
        outcomes = [receipt.outcome for receipt in receipts]
        for outcome in set(outcomes):
            self._metrics.receipt(outcome, outcomes.count(outcome))
        return receipts

    async def _store(self, records: Sequence[Record], limits: Sequence[int | None]) -> list[store.Seen]:
        try:
            seen = await store.push(self._database, records, limits)
        except LockTimeout:
            raise
        except (Unavailable, asyncio.CancelledError):
            self._hub.wrote([])  # perhaps
            raise
        changed = {
            (record.key.entity, record.key.user)
            for record, known in zip(records, seen, strict=True)
            if not known.refused and (known.version is None or record.version > known.version)
        }
        if changed:
            self._hub.wrote(Topic(*one) for one in changed)
        return seen

    def _too_early(self, now_us: int) -> str:
        skew_s = self._max_clock_skew_us // timestamp.US_PER_S
        return f"more than {skew_s} s ahead of the server, where it is {timestamp.render(now_us)}"
