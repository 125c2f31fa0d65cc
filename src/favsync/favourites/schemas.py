"""The wire form of seed 003: `item`, `actionDate`, `action`, in a bare array."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import marshmallow
from marshmallow import fields, validate

from favsync.core import timestamp
from favsync.core.errors import Fault, InvalidRecords
from favsync.core.merge import Outcome
from favsync.core.record import ITEM_LENGTH_MAX, Action, Version
from favsync.core.text import check_text
from favsync.sync import Receipt

_COMMON: dict[str, Any] = {"required": "is missing", "null": "is null"}


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


class FavouriteSchema(marshmallow.Schema):
    """One favourite. What else an object holds is not ours, and left out."""

    class Meta:
        unknown = marshmallow.EXCLUDE

    error_messages = {"type": "is not an object"}  # noqa: RUF012 -- marshmallow reads it off the class

    item = fields.String(
        metadata={
            "description": "Which item, in the words of whoever runs the programme",
            "pattern": "^[^\\x00]*$",
            "examples": ["session_21982"],
        },
        required=True,
        validate=[
            validate.Length(1, ITEM_LENGTH_MAX, error="must have {min} to {max} characters"),
            _storable,
        ],
        error_messages=_COMMON | {"invalid": "is not text"},
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
    action = fields.String(
        required=True,
        validate=validate.OneOf([action.value for action in Action], error="must be one of: {choices}"),
        error_messages=_COMMON | {"invalid": "is not text"},
    )


_SCHEMA = FavouriteSchema()

# What dump_receipt and dump_refused make.
RECEIPTS: dict[str, Any] = {
    "type": "object",
    "required": ["receipts"],
    "properties": {
        "receipts": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["item", "outcome", "action", "actionDate"],
                "properties": {
                    "item": {"type": ["string", "null"]},
                    "outcome": {"type": "string", "enum": list(Outcome)},
                    "action": {"type": ["string", "null"], "enum": [*Action, None]},
                    "actionDate": {"type": ["string", "null"]},
                    "detail": {"type": "string"},
                },
            },
        }
    },
}


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that is not valid. `echo`: as much of it as is; `detail`: all that is wrong, in one sentence."""

    echo: Mapping[str, Any]
    detail: str


def read(body: object, *, max_batch: int, offset_us: int) -> tuple[list[tuple[str, Version] | Refused], list[Fault]]:
    """What a body holds, place by place, and every fault in it.

    `offset_us` is added to each date. Raises InvalidRecords where the body is not an array of up to `max_batch`.
    """
    if not isinstance(body, list):
        raise InvalidRecords([Fault(None, "", "is not an array")], "The body must be an array of records.")
    if len(body) > max_batch:
        detail = f"The body has {len(body)} records; {max_batch} may come in one request."
        raise InvalidRecords([Fault(None, "", f"has more than {max_batch} records")], detail)
    read_records: list[tuple[str, Version] | Refused] = []
    faults: list[Fault] = []
    for index, candidate in enumerate(body):
        try:
            loaded = _load(candidate, offset_us)
            read_records.append((loaded["item"], Version(loaded["actionDate"], loaded["action"] == Action.DELETE)))
        except marshmallow.ValidationError as error:
            found = _faults(index, error)
            faults += found
            said = "; ".join(f"{fault.pointer.removeprefix(f'/{index}')[1:]} {fault.detail}".strip() for fault in found)
            valid = error.valid_data if isinstance(error.valid_data, dict) else {}
            read_records.append(Refused(valid, said))
    return read_records, faults


def _load(candidate: object, offset_us: int) -> dict[str, Any]:
    if not isinstance(candidate, dict):
        raise marshmallow.ValidationError("is not an object")
    loaded: dict[str, Any] = _SCHEMA.load(candidate)
    if offset_us:
        try:
            loaded["actionDate"] = timestamp.within_range(loaded["actionDate"] + offset_us)
        except ValueError as error:
            message = f"{error}, with the Sync-Clock-Offset added"
            raise marshmallow.ValidationError({"actionDate": [message]}) from None
    return loaded


def _faults(index: int, error: marshmallow.ValidationError) -> list[Fault]:
    if not isinstance(error.messages, dict) or "_schema" in error.messages:
        return [Fault(index, f"/{index}", "is not an object")]
    return [
        Fault(index, f"/{index}/{name}", message) for name, messages in error.messages.items() for message in messages
    ]


def dump_record(item: str, version: Version) -> dict[str, str]:
    return {"item": item, "actionDate": timestamp.render(version.action_us), "action": version.action.value}


def dump_receipt(receipt: Receipt) -> dict[str, Any]:
    """`action` and `actionDate` are what stands now; where nothing was stored, what was offered."""
    dumped = {
        "item": receipt.item,
        "outcome": receipt.outcome.value,
        "action": receipt.version.action.value,
        "actionDate": timestamp.render(receipt.version.action_us),
    }
    return dumped | ({"detail": receipt.detail} if receipt.detail else {})


def dump_refused(refused: Refused) -> dict[str, Any]:
    """The receipt, on a lenient call, of a record that is not valid: null for what cannot be repeated."""
    action_us = refused.echo.get("actionDate")
    return {
        "item": refused.echo.get("item"),
        "outcome": Outcome.INVALID.value,
        "action": refused.echo.get("action"),
        "actionDate": None if action_us is None else timestamp.render(action_us),
        "detail": refused.detail,
    }
