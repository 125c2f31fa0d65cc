"""What a body of records is answered: what its records would be answered if they came one by one."""

import math
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from favsync.core.merge import Outcome, merge
from favsync.core.record import Key, Record, Version
from favsync.hub import Hub
from favsync.metrics import Metrics
from favsync.store.records import Seen
from favsync.sync import Sync
from tests.core.strategies import versions

NOW_US = 2  # so that what is of 3 comes too early
LIMITS = {"free": None, "few": 2}
entities = st.sampled_from([f"main/{entity}" for entity in LIMITS])
keys = st.builds(Key, st.sampled_from("ab"), entities, st.sampled_from("xyz"))
bodies = st.lists(st.lists(st.builds(Record, keys, versions), max_size=8), max_size=6)


class Shelf:
    """A database: what stands in it, by key."""

    def __init__(self) -> None:
        self.stands: dict[Key, Version] = {}

    async def push(self, records: Sequence[Record], limits: Sequence[int | None]) -> list[Seen]:
        assert len({one.key for one in records}) == len(records) == len(limits) > 0
        return [self._one(*each) for each in zip(records, limits, strict=True)]

    def _one(self, record: Record, limit: int | None) -> Seen:
        known = self.stands.get(record.key)
        held = sum(key[:2] == record.key[:2] for key in self.stands)
        if known is None and held >= (math.inf if limit is None else limit):
            return Seen(None, refused=True)
        self.stands[record.key] = merge(known, record.version)[1]
        return Seen(known, refused=False)


def sync_on(shelf: Shelf) -> Sync:
    nothing: Any = None
    sync = Sync(nothing, Metrics(), Hub(), now_us=lambda: NOW_US, max_clock_skew_s=0, max_items=LIMITS)
    sync._combiner._push = shelf.push
    return sync


@given(bodies)
async def test_a_body_is_answered_as_its_records_would_be(offered: list[list[Record]]) -> None:
    """Whether each is of a key of its own or not; those that come too early, or are too many, among them."""
    together, alone = Shelf(), Shelf()
    sync, one_by_one = sync_on(together), sync_on(alone)
    for body in offered:
        receipts = await sync.push(body, caller="ann")
        assert receipts == [receipt for record in body for receipt in await one_by_one.push([record], caller="ann")]
        assert together.stands == alone.stands
        early = [record.version.action_us > NOW_US for record in body]
        assert [receipt.outcome is Outcome.FUTURE for receipt in receipts] == early
