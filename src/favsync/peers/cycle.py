"""One cycle of one link: read the peer's list, learn from it, send what it lacks, and remember what was found."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, Protocol, TypeVar

from favsync import client
from favsync.client import Client, ClientError, Pulled
from favsync.client.turns import aside, in_turns
from favsync.core.fields import digest
from favsync.core.merge import Outcome
from favsync.core.reconcile import Lesson, Listed, Memory, Sent, behind, learn, outbid, remember
from favsync.core.record import ITEM_LENGTH_MAX, Key, Record, Version, entity_key
from favsync.peering import Direction, Peer
from favsync.peers.offering import offer
from favsync.store import records as store
from favsync.store.database import Database
from favsync.sync import Receipt

_T = TypeVar("_T")

PAGE = 1000  # records of ours that are read at once
LEARNT_AT_ONCE = 500  # records that are stored at once


class Judged(NamedTuple):
    """A record of a peer that may be stored here."""

    version: Version
    fields: bytes | None


# What the doors would say of each of these records: the version as it would be stored, or why it would be refused.
Judge = Callable[[Sequence[client.Record]], Awaitable[list[Judged | str]]]


class Push(Protocol):
    async def push(self, records: Sequence[Record], *, caller: str) -> list[Receipt]: ...


@dataclass(slots=True)
class Counts:
    """Of one cycle, for whoever asks how the link does."""

    received: int = 0
    refused: int = 0  # records of the peer that are not valid here
    future: int = 0
    beyond_limit: int = 0
    learnt: int = 0
    sent: int = 0
    parked: int = 0  # records of ours that the peer was offered in vain
    held_back: int = 0  # deletions by absence that would be too many


@dataclass(slots=True)
class Done:
    """What a cycle has found. `etag`: for the next one; None where that has to see the list in any case.

    `counts`: None where it has seen no list, since nothing has changed: what was remembered still holds. `failure`: of
    sending, after some of it, or of the look at what the peer made of that; what was sent counts all the same, or a
    peer could have it sent for ever.
    """

    memory: Memory
    etag: str | None
    seq: int
    counts: Counts | None
    failure: ClientError | None = None


@dataclass(slots=True)
class _Ours:
    seq: int
    rows: dict[str, store.Row]

    @property
    def versions(self) -> dict[str, Version]:
        return {item: _version(row) for item, row in self.rows.items()}


@dataclass(slots=True)
class _Theirs:
    listed: Listed
    fields: Mapping[str, bytes | None]
    etag: str | None


@dataclass(slots=True)
class Cycle:
    """`user`: the owner's key. `wire`: a client that speaks to the peer as this user. `recall`: what is remembered."""

    database: Database
    sync: Push
    judge: Judge
    peer: Peer
    user: str
    wire: Client
    recall: Callable[[], Awaitable[Memory]]
    memory: Memory = field(default_factory=Memory)
    counts: Counts = field(default_factory=Counts)

    async def run(self, etag: str | None, seq: int | None) -> Done:
        """`etag`, `seq`: of the cycle before, where both sides were equal at its end.

        Raises ClientError, Unavailable: then nothing is to be remembered; whatever was written stays written, and the
        next cycle finds it so.
        """
        known = await self._seq()
        pulled = await self.wire.pull(etag=etag) if etag is not None and seq == known else None
        if pulled is not None and pulled.not_modified:
            return Done(self.memory, etag, known, None)
        self.memory, ours = await self.recall(), await self._ours()
        if pulled is None or ours.seq != known:
            # The list is read after ours: what has come from the peer is in it then, and is not sent back.
            pulled = await self.wire.pull()
        before = ours.rows
        theirs, ours, restamped = await self._learn(pulled, ours, write=self._writes)
        sent, failure = await self._send(ours, theirs, restamped, before) if self._writes else (Sent(), None)
        await self._remember(ours, theirs, sent)
        if failure is not None:
            return Done(self.memory, None, ours.seq, self.counts, failure)
        if sent.accepted:  # what the peer made of it; and what changed there meanwhile
            try:
                pulled = await self.wire.pull()
            except ClientError as error:
                return Done(self.memory, None, ours.seq, self.counts, error)
            theirs, ours, _ = await self._learn(pulled, ours, write=False)
            await self._remember(ours, theirs, Sent())
        lacking, tied = await self._aside(behind, ours, theirs), await self._aside(outbid, ours, theirs)
        unequal = self._writes and (lacking or tied)
        self.counts.parked = sum(offer.parked for offer in self.memory.offers.values())
        equal = not (unequal or self.counts.future or self.counts.beyond_limit or self.counts.held_back)
        return Done(self.memory, theirs.etag if equal else None, ours.seq, self.counts)

    @property
    def _writes(self) -> bool:
        return self.peer.direction is Direction.BOTH

    @property
    def _entity(self) -> str:
        return entity_key(self.peer.entity, tenant=self.peer.tenant)

    async def _seq(self) -> int:
        """What tells whether anything changed here: in most cycles nothing has, and no record need be read."""
        return (await store.latest_seqs(self.database, [self.user]))[self.user]

    async def _ours(self) -> _Ours:
        """What stands here of the items that are this peer's, by what they are called there."""
        prefix, found = self.peer.prefix, _Ours(-1, {})
        behind_item, more = prefix, True
        while more:
            listing = await store.read(self.database, self.user, [self._entity], [behind_item], PAGE)
            if found.seq < 0:
                found.seq = listing.seq  # of the first: what changed since is another cycle's
            more = listing.more
            for row in listing.rows:
                if not row.item.startswith(prefix):
                    return found
                found.rows[row.item.removeprefix(prefix)] = row
                behind_item = row.item
        return found

    async def _learn(self, pulled: Pulled, ours: _Ours, *, write: bool) -> tuple[_Theirs, _Ours, AbstractSet[str]]:
        """Stores what is news here; what stands now; and which of ours were given a later date."""
        theirs = await self._judged(pulled)
        lesson = await self._aside(learn, ours, theirs)
        self.counts.held_back = lesson.held_back
        restamped = lesson.restamped if write else {}
        if not (lesson.theirs or lesson.gone or restamped):
            return theirs, ours, frozenset()
        news, outcomes = self._news(lesson, restamped, theirs, ours), []
        while part := list(islice(news, LEARNT_AT_ONCE)):
            outcomes += [receipt.outcome for receipt in await self.sync.push(part, caller=self.user)]
        self.counts.learnt += outcomes.count(Outcome.APPLIED)
        self.counts.future = outcomes.count(Outcome.FUTURE)
        self.counts.beyond_limit = outcomes.count(Outcome.LIMIT)
        return theirs, await self._ours(), frozenset(restamped)

    async def _judged(self, pulled: Pulled) -> _Theirs:
        records = [record async for record in in_turns(pulled.records) if self._fits(record)]
        judged = await self.judge(records)
        versions: dict[str, Version] = {}
        fields: dict[str, bytes | None] = {}
        unclear = {record.item async for record in in_turns(pulled.records) if not self._fits(record)}
        async for record, one in in_turns(zip(records, judged, strict=True)):
            if isinstance(one, Judged):
                versions[record.item], fields[record.item] = one
            else:
                unclear.add(record.item)
        unclear |= {one.item for one in pulled.refused if one.item is not None} - versions.keys()
        whole = all(one.item is not None for one in pulled.refused)
        self.counts.received = len(pulled.records) + len(pulled.refused)
        self.counts.refused = len(pulled.refused) + len(pulled.records) - len(versions)
        return _Theirs(Listed(versions, frozenset(unclear), whole), fields, pulled.etag)

    def _fits(self, record: client.Record) -> bool:
        return len(self.peer.prefix) + len(record.item) <= ITEM_LENGTH_MAX

    def _news(self, lesson: Lesson, restamped: Mapping[str, Version], theirs: _Theirs, ours: _Ours) -> Iterator[Record]:
        for item, version in lesson.theirs.items():
            yield self._record(item, version, theirs.fields[item])
        for item, version in lesson.gone.items():
            yield self._record(item, version, None)
        for item, version in restamped.items():
            written = ours.rows[item].fields
            yield self._record(item, version, None if written is None else written.encode())

    def _record(self, item: str, version: Version, fields: bytes | None) -> Record:
        return Record(Key(self.user, self._entity, self.peer.prefix + item), version, fields)

    async def _send(
        self, ours: _Ours, theirs: _Theirs, restamped: AbstractSet[str], before: Mapping[str, store.Row]
    ) -> tuple[Sent, ClientError | None]:
        """Sends what the peer lacks; and what ended that early.

        What stands since the list was read may have come from the peer: the next cycle sees whether it lacks that.
        """
        lacking = await self._aside(behind, ours, theirs)
        fresh = [item for item in lacking if item in restamped or ours.rows[item] == before.get(item)]
        items = [item for item in fresh if not self._is_early(item, ours.rows[item])]
        offered = await offer(self.wire, self.peer, {item: ours.rows[item] for item in items})
        self.counts.sent += len(offered.accepted)
        return Sent(offered.accepted, offered.refused, restamped), offered.failure

    def _is_early(self, item: str, row: store.Row) -> bool:
        """Ahead of the peer's clock, for which it may have been refused: it is tried again when its time has come."""
        before = self.memory.offers.get(item)
        return before is not None and before.version == _version(row) and row.action_us > self.wire.clock.now_us()

    async def _remember(self, ours: _Ours, theirs: _Theirs, sent: Sent) -> None:
        self.memory = await self._aside(remember, ours, theirs, sent)

    async def _aside(self, compare: Callable[..., _T], ours: _Ours, theirs: _Theirs, *more: Sent) -> _T:
        """What a function of the law says: users do not wait for 100,000 records to be compared."""
        records = max(len(ours.rows), len(theirs.listed.versions), len(self.memory.shadow))
        state = theirs.listed, self.memory, self.peer.rules, *more
        return await aside(lambda: compare(ours.versions, *state), records=records)


def _version(row: store.Row) -> Version:
    return Version(row.action_us, row.deleted, b"" if row.fields is None else digest(row.fields.encode()))
