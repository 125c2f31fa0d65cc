"""The types without an order: text and its forms, true or false, and those that hold others.

What is free, a member that is kept undeclared or an object without `fields`, is not looked into:
`core.fields.canonical` does that.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import marshmallow
from marshmallow import ValidationError

from favsync.catalog.entity import Unknown
from favsync.catalog.patterns import Pattern
from favsync.catalog.types import JsonSchema, Judged, Length, Type, checked_text, choice_rules, chosen
from favsync.core.errors import FAULTS_MAX


def _ipv6() -> str:
    """The addresses of RFC 3986, which `::` may shorten once: so many groups of digits before it, so many after."""
    group, byte = "[0-9A-Fa-f]{1,4}", "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
    last = f"(?:{group}:{group}|{byte}(?:\\.{byte}){{3}})"
    forms = [f"(?:{group}:){{6}}{last}"]
    for count in range(8):
        before = f"(?:(?:{group}:){{0,{count - 1}}}{group})?" if count else ""
        after = {6: group, 7: ""}.get(count, f"(?:{group}:){{{5 - count}}}{last}")
        forms.append(f"{before}::{after}")
    return f"(?:{'|'.join(forms)})"


_EXAMPLE_ELEMENTS_MAX = 20
_EXAMPLE_OPTIONAL_MAX = 3
_NO_NUL = "^[^\\x00]*$"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_IPV6 = _ipv6()
_PORT = "(?:[0-9]{1,4}|[0-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_URL = Pattern(
    rf"^[Hh][Tt][Tt][Pp][Ss]?://(?:[^\x00-\x20\x7f-\xa0\"#%/:<>?@\[\\\]^`{{|}}]+|\[{_IPV6}\])(?::{_PORT})?"
    r"(?:[/?#][^\x00-\x20\x7f-\xa0\"<>\\^`{|}]*)?$"
)
# As HTML has it: what a browser takes in a form.
_EMAIL = Pattern(rf"^[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*$")


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

    def candidates(self) -> Iterable[object]:
        return (True,)


@dataclass(frozen=True, kw_only=True)
class Text(Type):
    """`length`: of characters, either end may be open."""

    length: Length
    choices: tuple[object, ...] = ()
    pattern: Pattern | None = None
    form: ClassVar[tuple[Pattern, str] | None] = None
    samples: ClassVar[tuple[str, ...]] = ("An example", "example", "abc", "ABC", "a", "A", "123", "1", "")
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

    def candidates(self) -> Iterable[object]:
        return self.choices or (*self.samples, *(sample.ljust(self.length.low or 0, "x") for sample in self.samples))


class Url(Text):
    name = "url"
    about = "an absolute http or https URL"
    form = (_URL, f"is not {about}")
    samples = ("https://example.org/", "http://a")


class Email(Text):
    name = "email"
    about = "an e-mail address"
    form = (_EMAIL, f"is not {about}")
    samples = ("ann@example.org", "a@b")


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

    def candidates(self) -> Iterable[object]:
        count = max(self.length.low or 0, 1)
        element = "example" if self.item is None else self.item.kind.example()
        if count <= _EXAMPLE_ELEMENTS_MAX and (element is not None or (self.item and self.item.allow_null)):
            yield [element] * count
        yield []


@dataclass(frozen=True, kw_only=True)
class Object(Type):
    """`members`: None where any may be. `unknown`: what becomes of others."""

    members: marshmallow.Schema | None = None
    unknown: Unknown = Unknown.REFUSE
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
            "additionalProperties": self.unknown is not Unknown.REFUSE,
        } | ({"required": needed} if needed else {})

    def rules(self) -> list[str]:
        return [] if self.members is None else [f"unknown: {self.unknown}"]

    def words(self) -> list[str]:
        said = {Unknown.REFUSE: "refused", Unknown.DROP: "left out", Unknown.KEEP: "kept"}
        return [] if self.members is None else [f"members that are not declared are {said[self.unknown]}"]

    def candidates(self) -> Iterable[object]:
        """With what is required and a little more, or without that."""
        if self.members is None:
            yield {}
            return
        found: dict[str, object] = {}
        optional: list[str] = []
        for field in self.members.fields.values():
            name, kind = str(field.data_key), cast("Judged", field).kind
            value = kind.example()
            if value is None and field.required and not cast("Judged", field).allow_null:
                return
            if field.required or (value is not None and len(optional) < _EXAMPLE_OPTIONAL_MAX):
                found[name] = value
                optional += [] if field.required else [name]
        yield found
        yield {name: value for name, value in found.items() if name not in optional}
