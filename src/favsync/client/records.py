"""Records and receipts as programs have them, and as the wire does."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import orjson

from favsync.client.errors import Unsendable
from favsync.client.texts import printable
from favsync.client.turns import in_turns
from favsync.core import timestamp
from favsync.core.errors import Fault
from favsync.core.fields import BYTES_MAX, NotCanonical, canonical, digest, pointer_to
from favsync.core.merge import Outcome
from favsync.core.record import ITEM_LENGTH_MAX, SUBJECT_LENGTH_MAX, Action, Version
from favsync.core.text import check_text

Json = Any
_SETTLED = frozenset(outcome.value for outcome in Outcome if outcome.settled)


@dataclass(frozen=True)
class Record:
    """A version of one item. `action_us`: microseconds since 1970-01-01T00:00:00Z.

    `fields`: what an ADD carries, JSON as Python has it; None: none. `user`, `namespace`: whose it is, where a token
    with `sync:any` writes for several, and in feeds.
    """

    item: str
    action_us: int
    deleted: bool = False
    fields: Mapping[str, Json] | None = None
    user: str | None = None
    namespace: str | None = None

    @cached_property
    def version(self) -> Version:
        """What decides who wins. Raises NotCanonical where `fields` are no JSON that every service can keep."""
        if self.deleted or self.fields is None:
            return Version(self.action_us, self.deleted)
        return Version(self.action_us, deleted=False, digest=digest(canonical(self.fields)))

    @property
    def action(self) -> Action:
        return Action.DELETE if self.deleted else Action.ADD


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """One record of an answer that is not used: its place in the list, and why, in a sentence.

    `item`: which it is of; None where that cannot be read.
    """

    index: int
    reason: str
    item: str | None = None


class Receipt(NamedTuple):
    """What became of one record. `action_us`, `deleted`: of what stands now; None where the service told none.

    `outcome`: the word of the service. A newer one may have others than `Outcome`: send such a record again later.
    """

    item: str | None
    outcome: str
    action_us: int | None = None
    deleted: bool | None = None
    detail: str | None = None
    user: str | None = None
    namespace: str | None = None

    @property
    def settled(self) -> bool:
        """The service has taken the record into account: its sender may forget it."""
        return self.outcome in _SETTLED


class NotARecord(ValueError):
    """`path` leads to what is wrong with it; `detail` is a sentence without its subject."""

    def __init__(self, detail: str, *path: str | int) -> None:
        self.detail = detail
        self.path = path
        super().__init__(printable(f"{pointer_to(*path)[1:]} {detail}").strip())


def check(record: Record) -> None:
    """NotARecord for one that no service may take."""
    _check_name(record.item, ITEM_LENGTH_MAX, "item")
    if type(record.action_us) is not int:
        raise NotARecord("is not a whole number of microseconds", "actionDate")
    if not timestamp.EARLIEST_US <= record.action_us <= timestamp.LATEST_US:
        raise NotARecord("is outside the years 1970 to 2100", "actionDate")
    if record.fields is not None and not isinstance(record.fields, Mapping):
        raise NotARecord("is not an object", "fields")
    if record.fields is not None:
        if _is_too_large(record.fields):
            raise NotARecord(f"has more than {BYTES_MAX} bytes", "fields")
        try:
            _ = record.version
        except NotCanonical as error:
            raise NotARecord(error.detail, "fields", *error.path) from None
    for name, value in (("user", record.user), ("namespace", record.namespace)):
        if value is not None:
            _check_name(value, SUBJECT_LENGTH_MAX, name)
    if record.namespace is not None and record.user is None:
        raise NotARecord("needs a user", "namespace")


def _is_too_large(fields: Mapping[str, Json]) -> bool:
    """Whether it cannot be within BYTES_MAX: told in a moment, where its canonical form may take seconds."""
    try:
        written = orjson.dumps(fields)
    except TypeError:  # no dict, half a surrogate pair, a number beyond 64 bits: told of when that form is made
        return False
    # The canonical form is nowhere shorter but in 1.0, which it writes as 1, and -0.0.
    return len(written) - 3 * written.count(b".0") > BYTES_MAX


def _check_name(value: object, length_max: int, name: str) -> None:
    if not isinstance(value, str):
        raise NotARecord("is not text", name)
    if not 1 <= len(value) <= length_max:
        raise NotARecord(f"does not have 1 to {length_max} characters", name)
    try:
        check_text(value)
    except ValueError as error:
        raise NotARecord(str(error), name) from None


def write(record: Record) -> bytes:
    """JSON for a request."""
    return orjson.dumps(content(record))


def content(record: Record) -> dict[str, Json]:
    """As the wire has it. The date as every service writes it, the fields as they were given."""
    written: dict[str, Json] = {} if record.user is None else {"user": record.user}
    if record.namespace is not None:
        written["namespace"] = record.namespace
    written |= {
        "item": record.item, "actionDate": timestamp.render(record.action_us), "action": str(record.action),
    }  # fmt: skip
    if record.fields is not None and not record.deleted:
        written["fields"] = _plain(record.fields)
    return written


def _plain(value: Json) -> Json:
    """The same of dicts and lists, which is all that orjson knows; `check` has bounded how deep it is."""
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items()}
    return [_plain(element) for element in value] if isinstance(value, list | tuple) else value


async def batches(records: Iterable[Record], *, size: int, bytes_max: int) -> list[list[bytes]]:
    """Written records, up to `size` of them and `bytes_max` together; one that is larger goes alone.

    Raises Unsendable for the first that is not valid.
    """
    made: list[list[bytes]] = []
    total = 0
    async for index, record in in_turns(enumerate(records)):
        try:
            check(record)
        except NotARecord as error:
            raise Unsendable(Fault(index, pointer_to(index, *error.path), error.detail)) from None
        written = write(record)
        if not made or len(made[-1]) == size or total + len(written) + 1 > bytes_max:
            made.append([])
            total = 1  # a bracket; then each has a comma, or the other bracket, behind it
        made[-1].append(written)
        total += len(written) + 1
    return made


def read(content: Json, *, named: bool = False) -> Record:
    """A record of an answer; NotARecord where it is none. `named`: whether what it says of whose it is counts."""
    if not isinstance(content, dict):
        raise NotARecord("is not an object")
    date, action = content.get("actionDate"), content.get("action")
    if not isinstance(date, str):
        raise NotARecord("is not text", "actionDate")
    try:
        action_us = timestamp.parse(date)
    except ValueError as error:
        raise NotARecord(str(error), "actionDate") from None
    if action not in ("ADD", "DELETE"):
        raise NotARecord("is neither ADD nor DELETE", "action")
    deleted = action == "DELETE"
    fields = None if deleted else content.get("fields")
    item: Json = content.get("item")
    owner = (content.get("user"), content.get("namespace")) if named else (None, None)
    record = Record(item, action_us, deleted, fields, *owner)
    check(record)
    return record


class Listing:
    """What a list comes to that arrives in pages: of each item the greatest version, by the law.

    Where one page holds an item twice, the lesser of the two is refused. That a later page has it again is as it should
    be: it has changed meanwhile.
    """

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._indexes: dict[str, int] = {}
        self._page_begins = 0
        self.count = 0  # of what was in the pages, refused ones included
        self.refused: list[RefusedRecord] = []

    @property
    def records(self) -> list[Record]:
        return list(self._records.values())

    def begin_page(self) -> None:
        self._page_begins = self.count

    def add(self, content: Json) -> None:
        index = self.count
        self.count += 1
        try:
            record = read(content)
        except NotARecord as error:
            self.refused.append(RefusedRecord(index, str(error), _item(content)))
            return
        other = self._records.get(record.item)
        greater = other is None or record.version > other.version
        if other is not None and self._indexes[record.item] >= self._page_begins:
            lesser = self._indexes[record.item] if greater else index
            reason = "item is there twice, and the other version is not the lesser"
            self.refused.append(RefusedRecord(lesser, reason, record.item))
        if greater:
            self._records[record.item], self._indexes[record.item] = record, index


def _item(content: Json) -> str | None:
    try:
        _check_name(content["item"], ITEM_LENGTH_MAX, "item")
    except (NotARecord, LookupError, TypeError):
        return None
    item: str = content["item"]
    return item


def receipts(content: Json, count: int) -> list[Receipt] | None:
    """Those of an answer to `count` records; None where it has none, or not one for each."""
    told = content.get("receipts") if isinstance(content, dict) else None
    if not isinstance(told, list) or len(told) != count:
        return None
    read_ = [_receipt(one) for one in told]
    return None if None in read_ else [one for one in read_ if one is not None]


def _receipt(content: Json) -> Receipt | None:
    if not isinstance(content, dict) or not isinstance(content.get("outcome"), str):
        return None
    texts = {name: content.get(name) for name in ("item", "actionDate", "action", "detail", "user", "namespace")}
    item, date, action, detail, user, namespace = (one if isinstance(one, str) else None for one in texts.values())
    try:
        action_us = None if date is None else timestamp.parse(date)
    except ValueError:
        action_us = None
    deleted = action == "DELETE" if action in ("ADD", "DELETE") else None
    return Receipt(item, content["outcome"], action_us, deleted, detail, user, namespace)
