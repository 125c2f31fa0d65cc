"""How records are read: what a body holds, place by place, and every fault in it."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import marshmallow
import orjson

from favsync.catalog.entity import Entity
from favsync.core import timestamp
from favsync.core.errors import FAULTS_MAX, Fault, InvalidRecords
from favsync.core.fields import BYTES_MAX, NotCanonical, canonical, digest, pointer_to
from favsync.core.record import ITEM_LENGTH_MAX, Action, Version
from favsync.core.text import check_text
from favsync.entities import schemas

_ACTIONS = tuple(action.value for action in Action)
_AT_A_STRETCH_S = 0.002  # that records are judged before others have their turn


class Valid(NamedTuple):
    """A record that may be stored. `user`, `namespace`: whose it is to be, where it says so."""

    item: str
    version: Version
    fields: bytes | None = None
    user: str | None = None
    namespace: str | None = None

    @property
    def owner(self) -> dict[str, str]:
        """What it says of whose it is."""
        if self.user is None:
            return {}
        return {"user": self.user} if self.namespace is None else {"user": self.user, "namespace": self.namespace}


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

    `named`: each may say whose it is; otherwise that is left out, as other members are.
    """

    def __init__(self, entity: Entity, *, named: bool) -> None:
        self.entity = entity
        self.named = named
        self.schemas = schemas.writing(entity, named=named)
        self._add, self._delete = self.schemas.add(), self.schemas.delete()
        self._plain = not self.schemas.takes_fields

    async def read(
        self, body: Sequence[object], *, offset_us: int, namespaces: AbstractSet[str], prefix: str
    ) -> tuple[list[Valid | Refused], list[Fault]]:
        """What `body` holds, place by place, and what is wrong: of each record, up to FAULTS_MAX faults.

        Others are served meanwhile. `offset_us` is added to each date. `namespaces`: those that a record may name.
        `prefix`: the pointer that leads to `body`.
        """
        candidates: list[Valid | Refused] = []
        faults: list[Fault] = []
        pause_at = time.monotonic() + _AT_A_STRETCH_S
        for index, candidate in enumerate(body):
            if time.monotonic() > pause_at:
                await asyncio.sleep(0)
                pause_at = time.monotonic() + _AT_A_STRETCH_S
            try:
                quick = self._plain and self._load_plain(candidate, offset_us)
                candidates.append(quick or self._load(candidate, offset_us, namespaces))
            except _NotValid as error:
                place = prefix + pointer_to(index)
                faults += [Fault(index, place + pointer, detail) for pointer, detail in error.faults]
                said = "; ".join(f"{pointer[1:]} {detail}".strip() for pointer, detail in error.faults)
                candidates.append(Refused(error.echo, said))
        return candidates, faults

    def _load_plain(self, candidate: object, offset_us: int) -> Valid | None:
        """As `_load` would, of a record of the shape that nearly all have; None: only that can say."""
        if type(candidate) is not dict or (self.named and ("user" in candidate or "namespace" in candidate)):
            return None
        item, date, action = candidate.get("item"), candidate.get("actionDate"), candidate.get("action")
        if type(item) is not str or type(date) is not str or action not in _ACTIONS:
            return None
        try:
            check_text(item)
            action_us = timestamp.within_range(timestamp.parse(date) + offset_us)
        except ValueError:
            return None
        return Valid(item, Version(action_us, action == Action.DELETE)) if 0 < len(item) <= ITEM_LENGTH_MAX else None

    def _load(self, candidate: object, offset_us: int, namespaces: AbstractSet[str]) -> Valid:
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
            raise _NotValid(list(islice(_flat(error.messages), FAULTS_MAX)), error.valid_data) from None
        user, namespace = loaded.get("user"), loaded.get("namespace")
        if namespace is not None and (user is None or namespace not in namespaces):
            detail = "needs a user" if user is None else "is not one in which this tenant has users"
            raise _NotValid([("/namespace", detail)], loaded)
        try:
            action_us = timestamp.within_range(loaded["actionDate"] + offset_us)
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
        return Valid(loaded["item"], version, written, user, namespace)

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
