"""The types whose values have an order: whole and other numbers, decimals, dates, dates with a time."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal as Exact
from typing import Any, ClassVar, cast

from marshmallow import ValidationError

from favsync.catalog import ranges
from favsync.catalog.patterns import Pattern
from favsync.catalog.types import JsonSchema, Type, checked_text, choice_rules, chosen
from favsync.core import timestamp
from favsync.core.fields import EXPONENT_FROM, SAFE_INTEGER, is_exact

_MOMENT_LENGTH_MAX = 64
_INTEGER_LIMIT = 10**38
_DIGITS = Pattern("^-?[0-9]+$")
_INTEGER_TEXT = Pattern("^-?[1-9][0-9]{0,37}$")
_TOO_MANY_DIGITS = "is not an integer of up to 38 digits"
_DECIMAL = Pattern(r"^-?[0-9]{1,38}(?:\.[0-9]{1,38})?$")
_DAY = Pattern(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")


@dataclass(frozen=True, kw_only=True)
class Ordered(Type):
    """What has an order. `low`, `high`: the first and the last value that may be, as they are on the wire."""

    low: Any = None
    high: Any = None
    choices: tuple[object, ...] = ()
    samples: ClassVar[tuple[object, ...]] = ()

    @abstractmethod
    def order(self, value: object) -> Any:  # noqa: ANN401 -- whatever can be compared
        """What compares as values do. Raises ValidationError where it is no value of this type."""

    @abstractmethod
    def shape(self) -> JsonSchema:
        """The schema where there are no choices."""

    def judge(self, value: object) -> object:
        place = self.order(value)
        too_low = self.low is not None and place < self.order(self.low)
        too_high = self.high is not None and place > self.order(self.high)
        if too_low or too_high:
            raise ValidationError(f"must be {self._range()}")
        return chosen(value, self.choices)

    def schema(self) -> JsonSchema:
        if not self.choices:
            return self.shape()
        types = sorted({"string" if isinstance(choice, str) else self.name for choice in self.choices})
        return {"type": types if len(types) > 1 else types[0], "enum": list(self.choices)}

    def rules(self) -> list[str]:
        bounds = [self._range()] if self.low is not None or self.high is not None else []
        return [*bounds, *choice_rules(self.choices)]

    def candidates(self) -> Iterable[object]:
        return self.choices or (*self.samples, self.low, self.high)

    def _range(self) -> str:
        if self.high is None:
            return f"at least {self.low}"
        return f"at most {self.high}" if self.low is None else f"between {self.low} and {self.high}"


@dataclass(frozen=True, kw_only=True)
class Integer(Ordered):
    """A JSON number within 2^53 - 1; beyond, where not every reader keeps numbers, text."""

    name = "integer"
    samples = (1,)
    small_as_text: ClassVar[str] = "is text; send integers up to 2^53 - 1 as numbers"

    def words(self) -> list[str]:
        large = [] if self.choices or self.shape()["type"] == "integer" else ["beyond 2^53 - 1 as text"]
        return [*self.rules(), *large]

    def order(self, value: object) -> int:
        if isinstance(value, str):
            return self._of_text(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValidationError("is not an integer")
        if isinstance(value, float) and not value.is_integer():
            raise ValidationError("is not an integer")
        if abs(value) > SAFE_INTEGER:
            raise ValidationError("is beyond 2^53 - 1; send it as text")
        return int(value)

    def _of_text(self, value: str) -> int:
        if not _DIGITS.found_in(checked_text(value)):
            raise ValidationError("is text, not an integer")
        if not _INTEGER_TEXT.found_in(value):
            raise ValidationError(_TOO_MANY_DIGITS)
        if abs(int(value)) <= SAFE_INTEGER:
            raise ValidationError(self.small_as_text)
        return int(value)

    def shape(self) -> JsonSchema:
        low = None if self.low is None else self.order(self.low)
        high = None if self.high is None else self.order(self.high)
        types: list[str] = []
        found: JsonSchema = {}
        if (low is None or low <= SAFE_INTEGER) and (high is None or high >= -SAFE_INTEGER):
            types.append("integer")
            found["minimum"] = -SAFE_INTEGER if low is None else max(low, -SAFE_INTEGER)
            found["maximum"] = SAFE_INTEGER if high is None else min(high, SAFE_INTEGER)
        if low is None or low < -SAFE_INTEGER or high is None or high > SAFE_INTEGER:
            types.append("string")
            beyond = f"{ranges.number_from(str(SAFE_INTEGER + 1))}|{ranges.number_to(str(-SAFE_INTEGER - 1))}"
            bounds = [] if low is None else [ranges.number_from(str(low))]
            bounds += [] if high is None else [ranges.number_to(str(high))]
            found |= _patterns(_INTEGER_TEXT.published, [beyond, *bounds])
        return {"type": types if len(types) > 1 else types[0], **found}


@dataclass(frozen=True, kw_only=True)
class WrittenInteger(Integer):
    """The same in a file of settings, which has numbers of any size."""

    small_as_text = "is text; write the number without quotes"

    def order(self, value: object) -> int:
        if type(value) is int:
            if abs(value) >= _INTEGER_LIMIT:
                raise ValidationError(_TOO_MANY_DIGITS)
            return value
        return super().order(value)

    @staticmethod
    def as_sent(value: object) -> object:
        """The value as JSON has it: text where JSON would not carry the number."""
        return str(value) if type(value) is int and SAFE_INTEGER < abs(value) < _INTEGER_LIMIT else value


@dataclass(frozen=True, kw_only=True)
class Number(Ordered):
    name = "number"
    samples = (1.5, 1)

    def order(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValidationError("is not a number")
        if not is_exact(value):
            raise ValidationError("is a number that JSON cannot carry exactly")
        return value

    def shape(self) -> JsonSchema:
        bounds = {} if self.low is None else {"minimum": self.low}
        bounds |= {} if self.high is None else {"maximum": self.high}
        if self.low is not None and self.high is not None and -SAFE_INTEGER <= self.low <= self.high <= SAFE_INTEGER:
            return {"type": "number", **bounds}
        exact = [
            {"minimum": -SAFE_INTEGER, "maximum": SAFE_INTEGER}, {"minimum": EXPONENT_FROM}, {"maximum": -EXPONENT_FROM}
        ]  # fmt: skip
        return {"type": "number", "anyOf": exact, **bounds}


@dataclass(frozen=True, kw_only=True)
class Decimal(Ordered):
    """A number that keeps its digits: text."""

    name = "decimal"
    about = "a decimal number as text, with up to 38 digits before the point and after it"
    samples = ("12.50", "1")

    def order(self, value: object) -> Exact:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise ValidationError("is a number; send it as text")
        if not _DECIMAL.found_in(checked_text(value)):
            raise ValidationError("is not a decimal such as -12.50, of up to 38 digits before the point and after it")
        return Exact(cast("str", value))

    def shape(self) -> JsonSchema:
        bounds = _bounds(self, ranges.number_from, ranges.number_to)
        return {"type": "string"} | _patterns(_DECIMAL.published, bounds)


@dataclass(frozen=True, kw_only=True)
class Day(Ordered):
    name = "date"
    about = "a day of the years 0001 to 9999"
    samples = ("2017-05-02",)

    def order(self, value: object) -> str:
        text = checked_text(value)
        if not _DAY.found_in(text):
            raise ValidationError("is not a date such as 2017-05-02")
        try:
            date.fromisoformat(text)
        except ValueError:
            raise ValidationError("is not a day of the calendar") from None
        return text

    def shape(self) -> JsonSchema:
        bounds = _bounds(self, ranges.day_from, ranges.day_to)
        return {"type": "string", "format": "date"} | _patterns(ranges.DAY, bounds)


@dataclass(frozen=True, kw_only=True)
class Moment(Ordered):
    """A date and time. The schema is true but for the days next to a bound, which a zone may shift over it."""

    name = "datetime"
    about = "RFC 3339, years 0001 to 9999; without a zone it is GMT"
    samples = ("2017-05-02T10:45:12Z",)

    def order(self, value: object) -> int:
        try:
            return timestamp.instant(checked_text(value))
        except ValueError as error:
            raise ValidationError(str(error)) from None

    def shape(self) -> JsonSchema:
        bounds = [] if self.low is None else ranges.moment_from(self.low)
        bounds += [] if self.high is None else ranges.moment_to(self.high)
        return {"type": "string", "maxLength": _MOMENT_LENGTH_MAX} | _patterns(ranges.MOMENT, bounds)


def _bounds(kind: Ordered, first: Callable[[str], str], last: Callable[[str], str]) -> list[str]:
    """The patterns of a range of texts, for each end that it has."""
    return [pattern(end) for pattern, end in ((first, kind.low), (last, kind.high)) if end is not None]


def _patterns(shape: str, extra: Sequence[str]) -> JsonSchema:
    return {"pattern": shape} | ({"allOf": [{"pattern": pattern} for pattern in extra]} if extra else {})
