"""What a type of field is: it judges a value, and says in JSON Schema what it takes.

None rewrites: what `judge` gives back is what it was given, but for members that an object drops.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from marshmallow import ValidationError, fields

from favsync.core.text import check_text

JsonSchema = dict[str, Any]

_CHOICES_NAMED_MAX = 20
_EXAMPLE_BYTES_MAX = 16 * 1024


class Type(ABC):
    """What a value may be. `name`: what a declaration calls it; `about`: in words, where JSON's type does not tell."""

    name: ClassVar[str]
    about: ClassVar[str] = ""

    @abstractmethod
    def judge(self, value: object) -> object:
        """The value. Raises ValidationError; its messages are nested as the value is."""

    @abstractmethod
    def schema(self) -> JsonSchema:
        """JSON Schema that allows what `judge` does."""

    @abstractmethod
    def rules(self) -> list[str]:
        """What there is to know beyond the name of the type, in words."""

    @abstractmethod
    def candidates(self) -> Iterable[object]:
        """What may serve as an example, the best first; they need not all be right."""

    def words(self) -> list[str]:
        """The rules as a client's author reads them, who does not know the types."""
        return [*([self.about] if self.about else []), *self.rules()]

    def example(self) -> object:
        """A value that is right, and not large; None: none is to be had simply."""
        for candidate in self.candidates():
            if candidate is not None and len(orjson.dumps(candidate)) <= _EXAMPLE_BYTES_MAX:
                with contextlib.suppress(ValidationError):
                    return self.judge(candidate)
        return None


class Judged(fields.Field[Any]):
    """A field of a type. Its metadata is JSON Schema, null included, so that marshmallow's `allow_none` stays off."""

    def __init__(self, kind: Type, *, required: bool = False, allow_null: bool = False, description: str = "") -> None:
        schema = kind.schema()
        # Choices are examples already, and so is what stands within a list or an object.
        if schema.get("type") not in (None, "boolean", "array", "object") and "enum" not in schema:
            example = kind.example()
            schema |= {} if example is None else {"examples": [example]}
        if allow_null:
            types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            schema["type"] = [*types, "null"]
            if "enum" in schema:
                schema["enum"] = [*schema["enum"], None]
        if said := _sentences(description, ", ".join(kind.words())):
            schema["description"] = said
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


def _sentences(description: str, rules: str) -> str:
    rules = rules[:1].upper() + rules[1:]
    if not description or not rules:
        return description or rules
    return f"{description}{'' if description[-1] in '.!?' else '.'} {rules}"


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


ANY_LENGTH = Length(None, None)


class Anything(Type):
    """What is looked into elsewhere."""

    name = "any"

    def judge(self, value: object) -> object:
        return value

    def schema(self) -> JsonSchema:
        return {}

    def rules(self) -> list[str]:
        return []

    def candidates(self) -> Iterable[object]:
        return ()


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
