"""The types that a field may be declared of: each judges a value, and says in JSON Schema what it takes.

None rewrites: what `judge` gives back is what it was given, but for members that an object drops. What is free, a
member that is kept undeclared or an object without `fields`, is not looked into: `core.fields.canonical` does that.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import marshmallow
from marshmallow import ValidationError, fields

from favsync.catalog.entity import unknown_of
from favsync.catalog.patterns import Pattern
from favsync.core.errors import FAULTS_MAX
from favsync.core.text import check_text

JsonSchema = dict[str, Any]

_CHOICES_NAMED_MAX = 20
_NO_NUL = "^[^\\x00]*$"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_URL = Pattern(
    r"^[Hh][Tt][Tt][Pp][Ss]?://(?:[^\x00-\x20\x7f-\xa0\"#%/:<>?@\[\\\]^`{|}]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
    r"(?:[/?#][^\x00-\x20\x7f-\xa0\"<>\\^`{|}]*)?$"
)
# As HTML has it: what a browser takes in a form.
_EMAIL = Pattern(rf"^[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*$")


class Type(ABC):
    """What a value may be. `name`: what a declaration calls it."""

    name: ClassVar[str]

    @abstractmethod
    def judge(self, value: object) -> object:
        """The value. Raises ValidationError; its messages are nested as the value is."""

    @abstractmethod
    def schema(self) -> JsonSchema:
        """JSON Schema that allows what `judge` does."""

    @abstractmethod
    def rules(self) -> list[str]:
        """What there is to know beyond the name of the type, in words."""


class Judged(fields.Field[Any]):
    """A field of a type. Its metadata is JSON Schema, null included, so that marshmallow's `allow_none` stays off."""

    def __init__(self, kind: Type, *, required: bool = False, allow_null: bool = False, description: str = "") -> None:
        schema = kind.schema()
        if allow_null:
            types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            schema["type"] = [*types, "null"]
            if "enum" in schema:
                schema["enum"] = [*schema["enum"], None]
        if description:
            schema["description"] = description
        super().__init__(
            required=required, metadata=schema, error_messages={"required": "is missing", "null": "is null"}
        )
        self.kind, self.allow_null = kind, allow_null

    def deserialize(
        self, value: object, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: object
    ) -> object:  # fmt: skip
        if value is None and self.allow_null:
            return None
        return super().deserialize(value, attr, data, **kwargs)

    def _deserialize(self, value: object, *_args: object, **_kwargs: object) -> object:
        return self.kind.judge(value)


@dataclass(frozen=True)
class Length:
    """How many there may be of something, in its singular and its plural."""

    low: int | None
    high: int | None
    of: tuple[str, str] = ("character", "characters")

    def check(self, length: int) -> None:
        if (self.low is not None and length < self.low) or (self.high is not None and length > self.high):
            raise ValidationError(f"must have {self.rules()[0]}")

    def schema(self, low: str, high: str) -> JsonSchema:
        found = {} if self.low is None else {low: self.low}
        return found | ({} if self.high is None else {high: self.high})

    def rules(self) -> list[str]:
        if self.low is None and self.high is None:
            return []
        noun = self.of[(self.low if self.high is None else self.high) != 1]
        if self.high is None:
            return [f"at least {self.low} {noun}"]
        if self.low is None:
            return [f"at most {self.high} {noun}"]
        return [f"{self.low} {noun}" if self.low == self.high else f"{self.low} to {self.high} {noun}"]


class Anything(Type):
    """What is looked into elsewhere."""

    name = "any"

    def judge(self, value: object) -> object:
        return value

    def schema(self) -> JsonSchema:
        return {}

    def rules(self) -> list[str]:
        return []


@dataclass(frozen=True, kw_only=True)
class Boolean(Type):
    name = "boolean"

    def judge(self, value: object) -> object:
        if not isinstance(value, bool):
            raise ValidationError("is not true or false")
        return value

    def schema(self) -> JsonSchema:
        return {"type": "boolean"}

    def rules(self) -> list[str]:
        return []


@dataclass(frozen=True, kw_only=True)
class Text(Type):
    """`length`: of characters, either end may be open."""

    length: Length
    choices: tuple[object, ...] = ()
    pattern: Pattern | None = None
    form: ClassVar[tuple[Pattern, str] | None] = None
    name = "string"

    def judge(self, value: object) -> object:
        text = checked_text(value)
        if self.form and not self.form[0].found_in(text):
            raise ValidationError(self.form[1])
        self.length.check(len(text))
        if self.pattern and not self.pattern.found_in(text):
            raise ValidationError(f"does not match {self.pattern.source}")
        return chosen(value, self.choices)

    def schema(self) -> JsonSchema:
        if self.choices:
            return {"type": "string", "enum": list(self.choices)}
        needed = self.form[0].published if self.form else _NO_NUL
        bounds = self.length.schema("minLength", "maxLength")
        if self.pattern is None:
            return {"type": "string", "pattern": needed, **bounds}
        return {"type": "string", "pattern": self.pattern.published, "allOf": [{"pattern": needed}], **bounds}

    def rules(self) -> list[str]:
        pattern = [f"matching {self.pattern.source}"] if self.pattern else []
        return [*self.length.rules(), *pattern, *choice_rules(self.choices)]


class Url(Text):
    name = "url"
    form = (_URL, "is not an absolute http or https URL")


class Email(Text):
    name = "email"
    form = (_EMAIL, "is not an e-mail address")


@dataclass(frozen=True, kw_only=True)
class List(Type):
    """`item`: None where elements may be anything."""

    length: Length
    item: Judged | None = None
    name = "list"

    def judge(self, value: object) -> object:
        if not isinstance(value, list):
            raise ValidationError("is not a list")
        self.length.check(len(value))
        if self.item is None:
            return value
        judged, faults = [], {}
        for index, element in enumerate(value):
            try:
                judged.append(self.item.deserialize(element))
            except ValidationError as error:
                faults[index] = error.messages
                if len(faults) == FAULTS_MAX:
                    break
        if faults:
            raise ValidationError(cast("dict[str, Any]", faults))
        return judged

    def schema(self) -> JsonSchema:
        items = {} if self.item is None else {"items": dict(self.item.metadata)}
        return {"type": "array", **items, **self.length.schema("minItems", "maxItems")}

    def rules(self) -> list[str]:
        return self.length.rules()


@dataclass(frozen=True, kw_only=True)
class Object(Type):
    """`members`: None where any may be."""

    members: marshmallow.Schema | None = None
    name = "object"

    def judge(self, value: object) -> object:
        if not isinstance(value, dict):
            raise ValidationError("is not an object")
        return value if self.members is None else self.members.load(value)

    def schema(self) -> JsonSchema:
        if self.members is None:
            return {"type": "object"}
        declared = {str(field.data_key): field for field in self.members.fields.values()}
        needed = sorted(name for name, field in declared.items() if field.required)
        return {
            "type": "object",
            "properties": {name: dict(field.metadata) for name, field in declared.items()},
            "additionalProperties": self.members.unknown != marshmallow.RAISE,
        } | ({"required": needed} if needed else {})

    def rules(self) -> list[str]:
        return [] if self.members is None else [f"unknown: {unknown_of(self.members)}"]


def checked_text(value: object) -> str:
    """The value. ValidationError where it is no text, or one that cannot be stored."""
    if not isinstance(value, str):
        raise ValidationError("is not text")
    try:
        check_text(value)
    except ValueError as error:
        raise ValidationError(str(error)) from None
    return value


def chosen(value: object, choices: Sequence[object]) -> object:
    """The value. ValidationError where there are choices and it is none of them."""
    if choices and value not in choices:
        raise ValidationError(f"must be {choice_rules(choices)[0]}")
    return value


def choice_rules(choices: Sequence[object]) -> list[str]:
    if not choices:
        return []
    more = f", or {len(choices) - _CHOICES_NAMED_MAX} more" if len(choices) > _CHOICES_NAMED_MAX else ""
    return [f"one of: {', '.join(map(str, choices[:_CHOICES_NAMED_MAX]))}{more}"]
