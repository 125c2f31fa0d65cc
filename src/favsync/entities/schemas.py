"""The wire form: `item`, `actionDate`, `action` as seed 003 has them, `fields` as the entity declares them."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from typing import Any

import marshmallow
import orjson
from marshmallow import fields, validate

from favsync.catalog.entity import Entity, Scope, Unknown
from favsync.core import timestamp
from favsync.core.errors import FAULTS_MAX, Fault, InvalidRecords
from favsync.core.fields import NotCanonical, canonical, digest, pointer_to
from favsync.core.merge import Outcome
from favsync.core.record import ITEM_LENGTH_MAX, SUBJECT_LENGTH_MAX, Action, Version
from favsync.core.text import check_text
from favsync.store.records import Row
from favsync.sync import Receipt

_COMMON: dict[str, Any] = {"required": "is missing", "null": "is null"}
_NOT_TEXT = _COMMON | {"invalid": "is not text"}


def _storable(value: str) -> None:
    try:
        check_text(value)
    except ValueError as error:
        raise marshmallow.ValidationError(str(error)) from None


_LEAP_DAY = "(?:19(?:7[26]|8[048]|9[26])|20(?:0[048]|[2468][048]|[13579][26]))-02-29"
_DAY = (
    f"(?:{_LEAP_DAY}|(?:19[7-9][0-9]|20[0-9]{{2}}|2100)-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8])))"
)
_HOUR = "(?:[01][0-9]|2[0-3])"
# What timestamp.parse takes, but for the edges of the range, which a zone may shift.
DATE_PATTERN = f"^{_DAY}[Tt ]{_HOUR}:[0-5][0-9]:(?:[0-5][0-9]|60)(?:\\.[0-9]{{1,38}})?(?:[Zz]|[+-]{_HOUR}:[0-5][0-9])?$"


class ActionDate(fields.Field[int]):
    """RFC 3339 on the wire, microseconds since the epoch inside."""

    def _deserialize(self, value: object, *_args: object, **_kwargs: object) -> int:
        if not isinstance(value, str):
            raise marshmallow.ValidationError("is not text")
        try:
            return timestamp.parse(value)
        except ValueError as error:
            raise marshmallow.ValidationError(str(error)) from None


def _name(length_max: int, description: str, **options: Any) -> fields.String:  # noqa: ANN401 -- as marshmallow's own
    return fields.String(
        metadata={"description": description, "pattern": "^[^\\x00]*$", **options.pop("metadata", {})},
        validate=[validate.Length(1, length_max, error="must have {min} to {max} characters"), _storable],
        error_messages=_NOT_TEXT,
        **options,
    )


class _Fields(fields.Nested):
    """As marshmallow's own, but that what is no object has its message where it stands, and not at a name below."""

    def _deserialize(self, value: object, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as marshmallow's own
        if not isinstance(value, dict):
            raise marshmallow.ValidationError("is not an object")
        return super()._deserialize(value, *args, **kwargs)


def _action(*actions: Action) -> fields.String:
    return fields.String(
        required=True,
        metadata={"enum": [action.value for action in actions]},
        validate=validate.OneOf([action.value for action in Action], error="must be one of: {choices}"),
        error_messages=_NOT_TEXT,
    )


class _Record(marshmallow.Schema):
    """What each record has. What else an object holds is not ours, and left out."""

    class Meta:
        unknown = marshmallow.EXCLUDE

    error_messages = {"type": "is not an object"}  # noqa: RUF012 -- marshmallow reads it off the class

    item = _name(
        ITEM_LENGTH_MAX,
        "Which item, in the words of whoever runs the programme",
        required=True,
        metadata={"examples": ["session_21982"]},
    )
    actionDate = ActionDate(  # noqa: N815 -- the protocol's name
        metadata={
            "type": "string",
            "description": "When the person did it: RFC 3339, years 1970 to 2100; without a zone it is GMT",
            "pattern": DATE_PATTERN,
            "examples": ["2017-05-02T10:45:12.798Z"],
        },
        required=True,
        error_messages=_COMMON,
    )


# A record as it is shown, whatever its entity.
RecordSchema = _Record.from_dict(
    {
        "action": _action(*Action),
        "fields": fields.Dict(
            metadata={"description": "Of an ADD, as it was written: what is declared now may differ from what was then"}
        ),
    },
    name="RecordSchema",
)


class ReceiptSchema(marshmallow.Schema):
    """What dump_receipt and dump_refused make."""

    class Meta:
        unknown = marshmallow.EXCLUDE

    user = fields.String(metadata={"description": "As the record said it"})
    namespace = fields.String(metadata={"description": "As the record said it"})
    item = fields.String(required=True, allow_none=True)
    outcome = fields.String(required=True, metadata={"enum": list(Outcome)})
    action = fields.String(required=True, allow_none=True, metadata={"enum": [*Action, None]})
    actionDate = fields.String(required=True, allow_none=True)  # noqa: N815 -- the protocol's name
    detail = fields.String(metadata={"description": "Why it was not stored"})


@dataclass(frozen=True, slots=True)
class Valid:
    """A record that may be stored. `user`, `namespace`: whose it is to be, where it says so."""

    item: str
    version: Version
    fields: bytes | None = None
    user: str | None = None
    namespace: str | None = None


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
        owner: dict[str, fields.Field[Any]] = {}
        if named and entity.scope is Scope.USER:
            owner = {
                "user": _name(SUBJECT_LENGTH_MAX, "Whose it is; a token with `sync:any` may say so"),
                "namespace": _name(SUBJECT_LENGTH_MAX, "Of that user; without it, the caller's own"),
            }
        self._takes_fields = entity.has_fields or entity.unknown is Unknown.REFUSE
        # The names of components in the OpenAPI document: with a full stop, which no entity's name has.
        suffix = "" if named else ".plain"
        if self._takes_fields:
            inner = _Fields(entity.fields, required=entity.needs_fields, error_messages=_COMMON)
            add = _Record.from_dict(
                {"action": _action(Action.ADD), "fields": inner, **owner}, name=f"{entity.name}.add{suffix}"
            )
            delete = _Record.from_dict(
                {"action": _action(Action.DELETE), **owner}, name=f"{entity.name}.delete{suffix}"
            )
            self.schema: Any = {"oneOf": [add, delete]}
            self._add, self._delete = add(), delete()
        else:
            self.schema = _Record.from_dict({"action": _action(*Action), **owner}, name=f"{entity.name}.record{suffix}")
            self._add = self._delete = self.schema()

    def read(
        self, body: Sequence[object], *, offset_us: int, namespaces: AbstractSet[str], prefix: str
    ) -> tuple[list[Valid | Refused], list[Fault]]:
        """What `body` holds, place by place, and what is wrong: of each record, up to FAULTS_MAX faults.

        `offset_us` is added to each date.

        `namespaces`: those that a record may name. `prefix`: the pointer that leads to `body`.
        """
        candidates: list[Valid | Refused] = []
        faults: list[Fault] = []
        for index, candidate in enumerate(body):
            try:
                candidates.append(self._load(candidate, offset_us, namespaces))
            except _NotValid as error:
                place = prefix + pointer_to(index)
                faults += [Fault(index, place + pointer, detail) for pointer, detail in error.faults]
                said = "; ".join(f"{pointer[1:]} {detail}".strip() for pointer, detail in error.faults)
                candidates.append(Refused(error.echo, said))
        return candidates, faults

    def _load(self, candidate: object, offset_us: int, namespaces: AbstractSet[str]) -> Valid:
        if not isinstance(candidate, dict):
            raise _NotValid([("", "is not an object")])
        deleted = candidate.get("action") == Action.DELETE
        if self._takes_fields and not deleted and "fields" not in candidate:
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
                raise _NotValid([(f"/fields{error.pointer}", error.detail)], loaded) from None
        version = Version(action_us, deleted, b"" if written is None else digest(written))
        return Valid(loaded["item"], version, written, user, namespace)


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


def dump_record(row: Row) -> dict[str, Any]:
    dumped: dict[str, Any] = {
        "item": row.item,
        "actionDate": timestamp.render(row.action_us),
        "action": (Action.DELETE if row.deleted else Action.ADD).value,
    }
    if row.fields is not None:
        dumped["fields"] = orjson.Fragment(row.fields)  # the very bytes that were hashed
    return dumped


def dump_receipt(receipt: Receipt, sent: Valid) -> dict[str, Any]:
    """`action` and `actionDate` are what stands now; where nothing was stored, what was offered."""
    dumped = {
        "item": receipt.item,
        "outcome": receipt.outcome.value,
        "action": receipt.version.action.value,
        "actionDate": timestamp.render(receipt.version.action_us),
    }
    owner = {"user": sent.user, "namespace": sent.namespace}
    dumped = {name: value for name, value in owner.items() if value is not None} | dumped
    return dumped | ({"detail": receipt.detail} if receipt.detail else {})


def dump_refused(refused: Refused) -> dict[str, Any]:
    """The receipt, on a lenient call, of a record that is not valid: null for what cannot be repeated."""
    action_us = refused.echo.get("actionDate")
    owner = {name: refused.echo[name] for name in ("user", "namespace") if name in refused.echo}
    return owner | {
        "item": refused.echo.get("item"),
        "outcome": Outcome.INVALID.value,
        "action": refused.echo.get("action"),
        "actionDate": None if action_us is None else timestamp.render(action_us),
        "detail": refused.detail,
    }
