"""How records are read: what a body holds, place by place, and every fault in it."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any

import marshmallow
import orjson

from favsync.catalog.entity import Entity
from favsync.core import timestamp
from favsync.core.errors import FAULTS_MAX, Fault, InvalidRecords
from favsync.core.fields import BYTES_MAX, NotCanonical, canonical, digest, pointer_to
from favsync.core.record import ITEM_LENGTH_MAX, Action, Key, Record, Version, each
from favsync.core.text import check_text
from favsync.entities import schemas

_ACTIONS = frozenset(action.value for action in Action)
_STRETCH = 200  # records that are read together: so that one which is not plain makes no more go one by one
_AT_A_STRETCH_S = 0.002  # that records are judged before others have their turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a list of records does not say itself. `owner`, `entity`: whose they are, and of what, as a Key has them.

    `owner_of`: the owner that a `user` and a `namespace` in a record name, the latter one of `namespaces`, or None.
    `offset_us` is added to each date.
    """

    owner: str
    entity: str
    owner_of: Callable[[str, str | None], str]
    namespaces: AbstractSet[str]
    offset_us: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that is not valid. `echo`: as much of it as is; `detail`: all that is wrong, in one sentence."""

    echo: Mapping[str, Any]
    detail: str


class _NotValid(Exception):
    def __init__(self, faults: Sequence[tuple[str, str]], valid: object = None) -> None:
        self.faults = faults
        self.echo = valid if isinstance(valid, dict) else {}


class Form:
    """How the records of one entity are written.

    `named`: each may say whose it is; otherwise that is left out, as other members are. `rich`: they have fields.
    """

    def __init__(self, entity: Entity, *, named: bool) -> None:
        self.entity = entity
        self.named = named
        self.schemas = schemas.writing(entity, named=named)
        self._add, self._delete = self.schemas.add(), self.schemas.delete()
        self.rich = self.schemas.takes_fields

    async def read(
        self, body: Sequence[object], terms: Terms, *, prefix: str
    ) -> tuple[list[Record | Refused], list[Fault]]:
        """What `body` holds, place by place, and what is wrong: of each record, up to FAULTS_MAX faults.

        Others are served meanwhile. `prefix`: the pointer that leads to `body`.
        """
        candidates: list[Record | Refused] = []
        faults: list[Fault] = []
        pause_at = time.monotonic() + _AT_A_STRETCH_S
        for judged in self._judge(body, terms, prefix, faults):
            candidates += judged
            if time.monotonic() > pause_at:
                await asyncio.sleep(0)
                pause_at = time.monotonic() + _AT_A_STRETCH_S
        return candidates, faults

    def _judge(
        self, body: Sequence[object], terms: Terms, prefix: str, faults: list[Fault]
    ) -> Iterator[Sequence[Record | Refused]]:
        """What `body` holds, a stretch or one at a time; adds to `faults`."""
        for start in range(0, len(body), _STRETCH):
            stretch = body[start : start + _STRETCH]
            if plain := self._load_plain(stretch, terms):
                yield plain
                continue
            for index, candidate in enumerate(stretch, start):
                try:
                    yield self._load_plain([candidate], terms) or [self._load(candidate, terms)]
                except _NotValid as error:
                    place = prefix + pointer_to(index)
                    faults += [Fault(index, place + pointer, detail) for pointer, detail in error.faults]
                    said = "; ".join(f"{pointer[1:]} {detail}".strip() for pointer, detail in error.faults)
                    yield [Refused(error.echo, said)]

    def _load_plain(self, body: Sequence[Any], terms: Terms) -> list[Record] | None:
        """As `_load` would, of records that all have the shape which nearly all have; None: only that can say.

        Column by column, which takes half the time.
        """
        if self.rich or {*map(type, body)} != {dict}:
            return None
        if self.named and any("user" in candidate or "namespace" in candidate for candidate in body):
            return None
        try:
            items = [candidate["item"] for candidate in body]
            dates = [candidate["actionDate"] for candidate in body]
            actions = [candidate["action"] for candidate in body]
            if {*map(type, items), *map(type, dates)} != {str} or not _ACTIONS.issuperset(actions):
                return None
            check_text("".join(items))
            instants = [timestamp.parse(date) for date in dates]
            if terms.offset_us:
                instants = [timestamp.within_range(instant_us + terms.offset_us) for instant_us in instants]
        except (KeyError, TypeError, ValueError):
            return None
        if not 0 < len(min(items, key=len)) <= len(max(items, key=len)) <= ITEM_LENGTH_MAX:
            return None
        keys = each(Key, repeat(terms.owner), repeat(terms.entity), items)
        versions = each(Version, instants, [action == "DELETE" for action in actions], repeat(b""))
        return list(each(Record, keys, versions, repeat(None)))

    def _load(self, candidate: object, terms: Terms) -> Record:
        if not isinstance(candidate, dict):
            raise _NotValid([("", "is not an object")])
        deleted = candidate.get("action") == Action.DELETE
        if self.schemas.takes_fields and not deleted and _is_too_large(candidate.get("fields")):
            raise _NotValid([("/fields", f"has more than {BYTES_MAX} bytes")], self._without_fields(candidate))
        if self.schemas.takes_fields and not deleted and "fields" not in candidate:
            candidate = {**candidate, "fields": {}}  # so that what is missing in it has its place
        try:
            loaded: dict[str, Any] = (self._delete if deleted else self._add).load(candidate)
        except marshmallow.ValidationError as error:
            error.__traceback__ = None  # its frames hold it, and what they were to load
            raise _NotValid(list(islice(_flat(error.messages), FAULTS_MAX)), error.valid_data) from None
        user, namespace = loaded.get("user"), loaded.get("namespace")
        if namespace is not None and (user is None or namespace not in terms.namespaces):
            detail = "needs a user" if user is None else "is not one in which this tenant has users"
            raise _NotValid([("/namespace", detail)], loaded)
        try:
            action_us = timestamp.within_range(loaded["actionDate"] + terms.offset_us)
        except ValueError as error:
            detail = f"{error}, with the Sync-Clock-Offset added"
            echo = {name: value for name, value in loaded.items() if name != "actionDate"}
            raise _NotValid([("/actionDate", detail)], echo) from None
        written = None
        if self.entity.has_fields and not deleted:
            try:
                written = canonical(loaded["fields"])
            except NotCanonical as error:
                raise _NotValid([(pointer_to("fields", *error.path), error.detail)], loaded) from None
        version = Version(action_us, deleted, b"" if written is None else digest(written))
        owner = terms.owner if user is None else terms.owner_of(user, namespace)
        return Record(Key(owner, terms.entity, loaded["item"]), version, written)

    def _without_fields(self, candidate: dict[str, Any]) -> object:
        """What of the rest is valid."""
        try:
            return self._delete.load(candidate)
        except marshmallow.ValidationError as error:
            return error.valid_data


def _is_too_large(content: object) -> bool:
    """Whether it cannot be within BYTES_MAX: told in a moment, and then not worth the time that judging it takes."""
    try:
        written = orjson.dumps(content)
    except TypeError:  # half a surrogate pair, a number beyond 64 bits: those have their own faults
        return False
    # The canonical form is nowhere shorter but in 1.0, which it writes as 1, and -0.0.
    return len(written) - 3 * written.count(b".0") > BYTES_MAX


def _flat(messages: Any, *path: str | int) -> Iterator[tuple[str, str]]:  # noqa: ANN401 -- as marshmallow nests them
    """Each message with the pointer that leads to its place."""
    if isinstance(messages, Mapping):
        for name, inner in messages.items():
            yield from _flat(inner, *path, name)
    else:
        for message in messages:
            yield pointer_to(*path), message


def read_one(body: object, forms: Mapping[str, Form]) -> list[tuple[str, Form, list[object]]]:
    """The one list that a body is, in the shape of `read_several`: InvalidRecords where it is none."""
    if not isinstance(body, list):
        raise InvalidRecords([Fault(None, "", "is not an array")], "The body must be an array of records.")
    [(name, form)] = forms.items()
    return [(name, form, body)]


def read_several(body: object, forms: Mapping[str, Form]) -> list[tuple[str, Form, list[object]]]:
    """The lists of a body that holds one for each entity: InvalidRecords where it is not that."""
    if not isinstance(body, dict):
        raise InvalidRecords([Fault(None, "", "is not an object")], "The body must be an object of arrays of records.")
    faults = []
    for name, content in body.items():
        if name not in forms:
            faults.append(Fault(None, pointer_to(name), "is not an entity"))
        elif not isinstance(content, list):
            faults.append(Fault(None, pointer_to(name), "is not an array"))
    if faults:
        raise InvalidRecords(faults[:FAULTS_MAX])
    return [(name, forms[name], content) for name, content in body.items()]


def check_size(count: int, max_batch: int) -> None:
    """InvalidRecords where `count` records are too many."""
    if count > max_batch:
        detail = f"The body has {count} records; {max_batch} may come in one request."
        raise InvalidRecords([Fault(None, "", f"has more than {max_batch} records")], detail)
