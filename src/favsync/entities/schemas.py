"""The wire form: `item`, `actionDate`, `action` as seed 003 has them, `fields` as the entity declares them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import marshmallow
from marshmallow import fields, validate

from favsync.catalog.entity import Entity, Scope, Unknown
from favsync.catalog.kinds import Object
from favsync.catalog.ranges import HOUR, MONTHS_AND_DAYS
from favsync.catalog.types import checked_text
from favsync.core import timestamp
from favsync.core.merge import Outcome
from favsync.core.record import ITEM_LENGTH_MAX, SUBJECT_LENGTH_MAX, Action
from favsync.http.wire import dump_version
from favsync.store.records import Row
from favsync.sync import Receipt

_COMMON: dict[str, Any] = {"required": "is missing", "null": "is null"}
_NOT_TEXT = _COMMON | {"invalid": "is not text"}


_LEAP_DAY = "(?:19(?:7[26]|8[048]|9[26])|20(?:0[048]|[2468][048]|[13579][26]))-02-29"
_DAY = f"(?:{_LEAP_DAY}|(?:19[7-9][0-9]|20[0-9]{{2}}|2100)-{MONTHS_AND_DAYS})"
# What timestamp.parse takes, but for the edges of the range, which a zone may shift.
DATE_PATTERN = f"^{_DAY}[Tt ]{HOUR}:[0-5][0-9]:(?:[0-5][0-9]|60)(?:\\.[0-9]{{1,38}})?(?:[Zz]|[+-]{HOUR}:[0-5][0-9])?$"


ITEM_EXAMPLE = "session_21982"
DATE_EXAMPLE = "2017-05-02T10:45:12.798Z"


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
        validate=[validate.Length(1, length_max, error="must have {min} to {max} characters"), checked_text],
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
        metadata={"examples": [ITEM_EXAMPLE]},
    )
    actionDate = ActionDate(  # noqa: N815 -- the protocol's name
        metadata={
            "type": "string",
            "description": "When the person did it: RFC 3339, years 1970 to 2100; without a zone it is GMT",
            "pattern": DATE_PATTERN,
            "examples": [DATE_EXAMPLE],
        },
        required=True,
        error_messages=_COMMON,
    )


class Writing(NamedTuple):
    """The schemas of what may be written; one and the same for ADD and DELETE where no `fields` are looked at."""

    add: type[marshmallow.Schema]
    delete: type[marshmallow.Schema]

    @property
    def takes_fields(self) -> bool:
        return self.add is not self.delete

    @property
    def either(self) -> Any:  # noqa: ANN401 -- a schema as doors know them
        return {"oneOf": list(self)} if self.takes_fields else self.add


def writing(entity: Entity, *, named: bool) -> Writing:
    """`named`: each record may say whose it is."""
    owner: dict[str, fields.Field[Any]] = {}
    if named and entity.scope is Scope.USER:
        owner = {
            "user": _name(
                SUBJECT_LENGTH_MAX, "Whose it is, for a token with `sync:any`; ignored of others at the seed's paths"
            ),
            "namespace": _name(SUBJECT_LENGTH_MAX, "Of that user; without it, the caller's own"),
        }
    # The names of components in the OpenAPI document: with a full stop, which no entity's name has.
    if not entity.has_fields and entity.unknown is not Unknown.REFUSE:
        both = _Record.from_dict({"action": _action(*Action), **owner}, name=f"{entity.name}.record")
        return Writing(both, both)
    inner = _Fields(entity.fields, required=entity.needs_fields, error_messages=_COMMON)
    add = {"action": _action(Action.ADD), "fields": inner, **owner}
    delete = {"action": _action(Action.DELETE), **owner}
    return Writing(
        _Record.from_dict(add, name=f"{entity.name}.add"),
        _Record.from_dict(delete, name=f"{entity.name}.delete"),
    )


def example(entity: Entity) -> dict[str, Any] | None:
    """An ADD as anybody may send it, for the OpenAPI document; None where its fields have no simple example."""
    record = {"item": ITEM_EXAMPLE, "actionDate": DATE_EXAMPLE, "action": Action.ADD.value}
    if not entity.has_fields:
        return record
    inner = Object(members=entity.fields(), unknown=entity.unknown).example()
    if inner is None:
        return None
    return record | ({"fields": inner} if inner else {})


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


def dump_record(row: Row) -> dict[str, Any]:
    return dump_version(row.item, row.action_us, row.deleted, row.fields)


def dump_receipt(item: str, receipt: Receipt) -> dict[str, Any]:
    """`action` and `actionDate` are what stands now; where nothing was stored, what was offered."""
    outcome, (action_us, deleted, _), detail = receipt
    dumped = {
        "item": item,
        "outcome": outcome,
        "action": "DELETE" if deleted else "ADD",
        "actionDate": timestamp.render(action_us),
    }
    return dumped | {"detail": detail} if detail else dumped


def dump_refused(echo: Mapping[str, Any], detail: str) -> dict[str, Any]:
    """The receipt, on a lenient call, of a record that is not valid.

    `echo`: what of it is; null for the rest. `detail`: all that is wrong.
    """
    action_us = echo.get("actionDate")
    owner = {name: echo[name] for name in ("user", "namespace") if name in echo}
    return owner | {
        "item": echo.get("item"),
        "outcome": Outcome.INVALID.value,
        "action": echo.get("action"),
        "actionDate": None if action_us is None else timestamp.render(action_us),
        "detail": detail,
    }
