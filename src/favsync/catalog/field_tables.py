"""The tables below `[entities.NAME.fields]`: from a field's declaration to the field that judges."""

import functools
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import marshmallow
from marshmallow import ValidationError
from marshmallow.exceptions import SCHEMA

from favsync.catalog.entity import Unknown, object_schema
from favsync.catalog.kinds import Boolean, Email, List, Object, Text, Url
from favsync.catalog.lines import Path
from favsync.catalog.mistakes import Mistakes, table_of
from favsync.catalog.ordered import Day, Decimal, Integer, Moment, Number, Ordered, WrittenInteger
from favsync.catalog.patterns import Pattern
from favsync.catalog.types import ANY_LENGTH, Anything, Judged, Length, Type
from favsync.core.fields import DEPTH_MAX
from favsync.core.text import check_text, did_you_mean

FIELDS_MAX = 500
CHOICES_MAX = 1000
LENGTH_MAX = 1_000_000
NAME_LENGTH_MAX = 63

_EXAMPLE = 'is not a table such as { type = "string" }'

_COMMON = ("type", "description", "required", "allow_null")
_KEYS: dict[str, Type] = {
    "type": Anything(),
    "description": Text(length=Length(1, 2000)),
    "required": Boolean(),
    "allow_null": Boolean(),
    "min": Anything(),
    "max": Anything(),
    "min_length": WrittenInteger(low=0, high=LENGTH_MAX),
    "max_length": WrittenInteger(low=0, high=LENGTH_MAX),
    "choices": Anything(),
    "pattern": Text(length=Length(1, 1000)),
    "item": Anything(),
    "fields": Anything(),
    "unknown": Text(length=ANY_LENGTH, choices=tuple(Unknown)),
}


def read_fields(value: object, path: Path, mistakes: Mistakes, *, level: int = 1) -> dict[str, Judged]:
    """The fields of a table that are right. `level`: how deep in a record's `fields` they lie."""
    if not isinstance(value, dict):
        mistakes.note(path, "is not a table")
        return {}
    if len(value) > FIELDS_MAX:
        mistakes.note(path, f"has more than {FIELDS_MAX} fields")
        return {}
    found = {}
    for name, table in value.items():
        place = (*path, name)
        if fault := _name_fault(name):
            mistakes.note(place, fault)
        if field := _field(table, place, mistakes, level=level):
            found[name] = field
    return found


def _name_fault(name: object) -> str | None:
    if not isinstance(name, str) or not 1 <= len(name) <= NAME_LENGTH_MAX:
        return f"must have 1 to {NAME_LENGTH_MAX} characters"
    if name == SCHEMA:
        return "is a name that is taken"  # by marshmallow, for what is wrong with an object as a whole
    try:
        check_text(name)
    except ValueError as error:
        return str(error)
    return None


def _field(table: object, path: Path, mistakes: Mistakes, *, level: int, item: bool = False) -> Judged | None:
    if not isinstance(table, dict):
        mistakes.note(path, _EXAMPLE)
        return None
    if level > DEPTH_MAX:
        mistakes.note(path, f"is nested deeper than {DEPTH_MAX} levels")
        return None
    before = len(mistakes)
    name = table.get("type")
    build = _nothing
    if isinstance(name, str) and name in _TYPES:
        build = _TYPES[name][1]
    else:
        name = None
        mistakes.note((*path, "type"), _type_fault(table))
    others = {
        key: "means nothing for an item" if key == "required" else f"means nothing for type {name}" for key in _KEYS
    }
    given = mistakes.read(path, table, _table(name, item=item), others)
    kind = build(given, path, mistakes, level)
    if len(mistakes) > before:
        return None
    return Judged(
        kind,
        required=given.get("required", False),
        allow_null=given.get("allow_null", False),
        description=given.get("description", ""),
    )


@functools.cache
def _table(name: str | None, *, item: bool) -> marshmallow.Schema:
    """The keys that a field of this type may have; all there are where the type is not known."""
    own = _KEYS if name is None else (*_COMMON, *_TYPES[name][0])
    return table_of({key: Judged(_KEYS[key]) for key in own if not (item and key == "required")})


def _type_fault(table: dict[Any, Any]) -> str:
    known = f"one of: {', '.join(_TYPES)}"
    if "type" not in table:
        return f"is missing: {known}"
    return f"must be {known}{did_you_mean(table['type'], _TYPES) if isinstance(table['type'], str) else ''}"


# -- what is built of each type: from the keys that are right, noting what is wrong with them together ----------------


def _nothing(_given: dict[str, Any], _path: Path, _mistakes: Mistakes, _level: int) -> Type:
    return Anything()


def _boolean(_given: dict[str, Any], _path: Path, _mistakes: Mistakes, _level: int) -> Type:
    return Boolean()


def _text(kind: type[Text]) -> Callable[..., Type]:
    def build(given: dict[str, Any], path: Path, mistakes: Mistakes, _level: int) -> Type:
        length = _length(given, path, mistakes, ("character", "characters"))
        pattern = None
        try:
            pattern = Pattern(given["pattern"]) if "pattern" in given else None
        except ValueError as error:
            mistakes.note((*path, "pattern"), str(error))
        bare = kind(length=length, pattern=pattern)
        return kind(length=length, pattern=pattern, choices=_choices(given, bare, path, mistakes))

    return build


def _ordered(kind: type[Ordered]) -> Callable[..., Type]:
    written = WrittenInteger if kind is Integer else kind

    def build(given: dict[str, Any], path: Path, mistakes: Mistakes, _level: int) -> Type:
        ends: dict[str, Any] = {}
        for key in ("min", "max"):
            if key in given:
                value = _as_sent(given[key], written)
                try:
                    written().order(value)
                    ends[key] = value
                except ValidationError as error:
                    mistakes.note((*path, key), str(error.messages[0]))
        low, high = ends.get("min"), ends.get("max")
        if low is not None and high is not None and kind().order(low) > kind().order(high):
            mistakes.note((*path, "max"), "is less than min")
            low = high = None
        bare = written(low=low, high=high)
        return kind(low=low, high=high, choices=_choices(given, bare, path, mistakes))

    return build


def _list(given: dict[str, Any], path: Path, mistakes: Mistakes, level: int) -> Type:
    length = _length(given, path, mistakes, ("element", "elements"))
    if "item" not in given:
        return List(length=length)
    return List(length=length, item=_field(given["item"], (*path, "item"), mistakes, level=level + 1, item=True))


def _object(given: dict[str, Any], path: Path, mistakes: Mistakes, level: int) -> Type:
    if "fields" not in given:
        if "unknown" in given:
            mistakes.note((*path, "unknown"), "means something beside fields only")
        return Object()
    unknown = Unknown(given.get("unknown", Unknown.REFUSE))
    members = read_fields(given["fields"], (*path, "fields"), mistakes, level=level + 1)
    return Object(members=object_schema("Members", members, unknown)(), unknown=unknown)


def _length(given: dict[str, Any], path: Path, mistakes: Mistakes, noun: tuple[str, str]) -> Length:
    low, high = (int(given[key]) if key in given else None for key in ("min_length", "max_length"))
    if low is not None and high is not None and low > high:
        mistakes.note((*path, "max_length"), "is less than min_length")
        return ANY_LENGTH
    return Length(low, high, noun)


def _choices(given: dict[str, Any], kind: Type, path: Path, mistakes: Mistakes) -> tuple[object, ...]:
    """`kind`: the type with all its other rules, which a choice must follow, or it could never be made."""
    if "choices" not in given:
        return ()
    path = (*path, "choices")
    written = given["choices"]
    if not isinstance(written, list) or not 1 <= len(written) <= CHOICES_MAX:
        mistakes.note(path, f"is not a list of 1 to {CHOICES_MAX}")
        return ()
    found: list[object] = []
    for index, value in enumerate(written):
        sent = _as_sent(value, type(kind))
        try:
            kind.judge(sent)
        except ValidationError as error:
            mistakes.note((*path, index), str(error.messages[0]))
            continue
        if sent in found:
            mistakes.note((*path, index), "is there twice")
        found.append(sent)
    return tuple(found)


def _as_sent(value: object, kind: type[Type]) -> object:
    """What TOML writes in a way of its own, as JSON has it: a date, and an integer that JSON would not carry."""
    if isinstance(value, datetime) and value.tzinfo is UTC:
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):  # or a datetime, which is one
        return value.isoformat()
    return WrittenInteger.as_sent(value) if kind is WrittenInteger else value


_LENGTHS = ("min_length", "max_length")
_BOUNDS = ("min", "max", "choices")
_OF_TEXT: tuple[type[Text], ...] = (Url, Email)
_WITH_ORDER: tuple[type[Ordered], ...] = (Integer, Number, Decimal, Moment, Day)
# The keys that mean something, and what is built of them.
_TYPES: dict[str, tuple[tuple[str, ...], Callable[..., Type]]] = {
    Text.name: ((*_LENGTHS, "choices", "pattern"), _text(Text)),
    **{kind.name: (_BOUNDS, _ordered(kind)) for kind in _WITH_ORDER},
    Boolean.name: ((), _boolean),
    **{kind.name: ((*_LENGTHS, "choices"), _text(kind)) for kind in _OF_TEXT},
    List.name: ((*_LENGTHS, "item"), _list),
    Object.name: (("fields", "unknown"), _object),
}
