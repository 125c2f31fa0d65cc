"""Random declarations, each with values that it must take, and values with one fault at a known place."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

SAFE = 2**53 - 1
INTEGER_MAX = 10**38 - 1
YEAR_1 = datetime(1, 1, 1, tzinfo=UTC)
TEXT = st.characters(codec="utf-8", exclude_characters="\0")
# Some are words of marshmallow, of JSON Schema and of JSON pointers.
NAMES = st.sampled_from(
    ["a", "b", "a.b", "Meta", "load", "properties", "$ref", "0", "x y", "é/~1", "fields", "__class__"]
)
ODD = st.sampled_from([[], {}, 5, 1.5, True, "odd", ["x"], {"x": 1}])

Write = Callable[[Any], st.SearchStrategy[Any]]
Wrong = tuple[Any, tuple[str | int, ...]]  # a value, and where in it the fault is


@dataclass(frozen=True)
class Declared:
    """`right`: what is sent, and what is to be made of it. `wrong`: without such that are right by chance."""

    table: dict[str, Any]
    right: st.SearchStrategy[tuple[Any, Any]]
    wrong: st.SearchStrategy[Wrong]


def _scalar(table: dict[str, Any], right: st.SearchStrategy[Any], *wrong: st.SearchStrategy[Any]) -> Declared:
    return Declared(table, right.map(lambda value: (value, value)), st.one_of(*wrong).map(lambda value: (value, ())))


def _as_is(value: Any) -> st.SearchStrategy[Any]:
    return st.just(value)


def _odd(*kinds: type) -> st.SearchStrategy[Any]:
    return ODD.filter(lambda value: type(value) not in kinds)


@st.composite
def _lengths(draw: st.DrawFn) -> dict[str, int]:
    """None, one or both of two keys, in order."""
    low, high = sorted([draw(st.integers(0, 8)), draw(st.integers(0, 8))])
    return {key: end for key, end in (("min_length", low), ("max_length", high)) if draw(st.booleans())}


@st.composite
def strings(draw: st.DrawFn) -> Declared:
    if draw(st.booleans()):
        ends = draw(_lengths())
        low, high = ends.get("min_length", 0), ends.get("max_length", 12)
        wrong = [_odd(str)]
        if "max_length" in ends:
            wrong.append(st.text(TEXT, min_size=high + 1, max_size=high + 5))
        if low:
            wrong.append(st.text(TEXT, max_size=low - 1))
        if low < high:
            wrong.append(st.text(TEXT, min_size=low, max_size=high - 1).map(lambda text: "\0" + text))
        return _scalar({"type": "string", **ends}, st.text(TEXT, min_size=low, max_size=high), *wrong)
    if draw(st.booleans()):
        choices = draw(st.lists(st.text(TEXT), min_size=1, max_size=5, unique=True))
        others = st.text(TEXT).filter(lambda text: text not in choices)
        return _scalar({"type": "string", "choices": choices}, st.sampled_from(choices), others, _odd(str))
    pattern, right, wrong_texts = draw(
        st.sampled_from(
            [
                (r"^[a-z]{2}\d+$", ["ab1", "zz007"], ["a1", "ab", "ab1\n", "ab\u0663", "\nab1"]),
                (r"a.\s\S[\s\-]", ["ab c-", "xaé\tö -"], ["a\n b-", "ab\u00a0c-", "ab\u2003\u2003c-"]),
                (r"\p{Lu}|[^]a]x|[[.&&]y", ["É", "bx", "&y", "[y"], ["é", "ax", "]x", "\\y"]),
            ]
        )
    )
    table = {"type": "string", "pattern": pattern}
    return _scalar(table, st.sampled_from(right), st.sampled_from(wrong_texts), _odd(str))


WEB = {
    "url": (
        [
            "https://example.org",
            "HTTP://a:8080/b?c#d",
            "http://[::1]/",
            "http://[1:2::1.2.3.4]:65535",
            "https://müller.example/ü?q=%20",
        ],
        [
            "",
            "example.org",
            "ftp://a/b",
            "//a",
            "https://",
            "https:///a",
            "http://a b",
            "https://a/\n",
            "javascript:x",
            "http://a:65536/",
            "http://a:100000",
            "http://[1]/",
            "http://[::1::]",
            "http://[1::2",
            "http://[::1.2.3.256]",
        ],
    ),
    "email": (
        ["ann@example.org", "a.b+c@x-y.example", "a@localhost"],
        ["", "ann", "@example.org", "a@", "a b@example.org", "a@b@c", "a@-b.org", "a@example.org\n"],
    ),
}


@st.composite
def web(draw: st.DrawFn) -> Declared:
    kind = draw(st.sampled_from(sorted(WEB)))
    right, wrong = WEB[kind]
    return _scalar({"type": kind}, st.sampled_from(right), st.sampled_from(wrong), _odd(str))


@st.composite
def _ordered(draw: st.DrawFn, kind: str, values: st.SearchStrategy[Any], *odd: Any, write: Write = _as_is) -> Declared:
    """Of five values in order, the second may be `min` and the fourth `max`: then the first or the last is wrong.

    `write`: ways to write a value, each right.
    """
    first, low, middle, high, last = sorted(draw(st.lists(values, min_size=5, max_size=5, unique=True)))
    table: dict[str, Any] = {"type": kind}
    right, wrong = [low, middle, high], []
    for key, end, beyond in (("min", low, first), ("max", high, last)):
        if draw(st.booleans()):
            table[key] = draw(write(end))
            wrong.append(beyond)
        else:
            right.append(beyond)
    sent = st.sampled_from(right).flatmap(write)
    if draw(st.integers(0, 3)) == 0:
        table["choices"] = draw(st.lists(sent, min_size=1, max_size=3, unique=True))
        wrong += [value for value in right if draw(write(value)) not in table["choices"]] if write is _as_is else []
        sent = st.sampled_from(table["choices"])
    faults = [st.sampled_from(wrong).flatmap(write)] if wrong else []
    return _scalar(table, sent, *faults, st.sampled_from(odd))


def integers() -> st.SearchStrategy[Declared]:
    edges = st.sampled_from([SAFE, SAFE + 1, -SAFE, -SAFE - 1])
    values = st.integers(-9, 9) | edges | st.integers(-SAFE - 9, SAFE + 9) | st.integers(-INTEGER_MAX, INTEGER_MAX)
    beyond = (SAFE + 1, -SAFE - 1, float(SAFE + 1), str(SAFE), "9" * 39)
    return _ordered("integer", values, *beyond, 1.5, True, "5", "-0", "007", "1e30", [], {}, write=_integer)


def _integer(value: int) -> st.SearchStrategy[Any]:
    return st.sampled_from([value, float(value)]) if abs(value) <= SAFE else st.just(str(value))


def numbers() -> st.SearchStrategy[Declared]:
    beyond = (SAFE + 1, float(SAFE + 1), 1e17, -1e20)
    edges = st.sampled_from([SAFE, -SAFE, 1e21, -1e21])
    values = st.integers(-9, 9) | st.floats(-9, 9) | edges | st.integers(-SAFE, SAFE)
    values |= st.floats(1e21, allow_infinity=False) | st.floats(max_value=-1e21, allow_infinity=False)
    return _ordered("number", values, *beyond, True, "1", [], {})


def decimals() -> st.SearchStrategy[Declared]:
    digits = st.integers(0, 38).flatmap(lambda places: st.decimals(-(10**37), 10**37, places=min(places, 30)))
    values = st.decimals(-20, 20, places=1) | st.decimals(-2, 2, places=3) | st.integers(-9, 9).map(Decimal)
    odd: tuple[Any, ...] = (
        1,
        1.5,
        True,
        "",
        ".5",
        "1.",
        "+1",
        "1e5",
        "1,5",
        "\u0661",
        "1\n",
        "1" * 39,
        "0." + "1" * 39,
        "NaN",
        [],
    )
    return _ordered("decimal", values | digits, *odd, write=_decimal)


def _decimal(value: Decimal) -> st.SearchStrategy[str]:
    sign, text = ("-" if value.is_signed() else ""), format(abs(value), "f")
    longer = text if "." in text else text + "."
    return st.sampled_from(
        [sign + text, sign + "00"[: 38 - len(text.split(".")[0])] + text, sign + longer + "00"]
    ).filter(lambda written: len(written.partition(".")[2]) <= 38)


def dates() -> st.SearchStrategy[Declared]:
    odd: tuple[Any, ...] = (
        "2017-02-29",
        "1900-02-29",
        "0000-01-01",
        "20170502",
        "2017-W18-2",
        "2017-5-2",
        "2017-05-02T00:00:00Z",
        5,
        [],
    )
    return _ordered(
        "date", st.dates() | st.dates(date(2019, 12, 25), date(2020, 1, 5)), *odd, "2017-05-02\n", write=_date
    )


def _date(day: date) -> st.SearchStrategy[str]:
    return st.just(day.isoformat())


def moments() -> st.SearchStrategy[Declared]:
    """Five days apart, since the schema need not be true about those next to a bound."""
    fives = st.integers(1, 730_000) | st.integers(147_300, 147_310)
    values = fives.map(lambda five: YEAR_1 + timedelta(days=five * 5, hours=five % 24, seconds=five % 60))
    odd = ("2017-05-02", "2017-05-02T24:00:00Z", "2017-02-29T00:00:00Z", "2017-05-02T10:45Z", "0000-01-01T00:00:00Z")
    more = ("2017-05-02T10:45:12+24:00", "2017-05-02T10:45:12Z\n", f"2017-05-02T10:45:12.{'1' * 45}", 5, None)
    return _ordered("datetime", values, *odd, *more, write=_moment)


@st.composite
def _moment(draw: st.DrawFn, moment: datetime) -> str:
    zone = draw(st.sampled_from([None, UTC, timezone(timedelta(hours=23, minutes=59)), timezone(timedelta(hours=-12))]))
    local = moment.astimezone(zone) if zone else moment.replace(tzinfo=None)
    text = local.isoformat(draw(st.sampled_from("Tt ")), "milliseconds")
    return text.replace("+00:00", draw(st.sampled_from(["Z", "z", "-00:00"])))


def booleans() -> st.SearchStrategy[Declared]:
    table = {"type": "boolean"}
    return st.just(_scalar(table, st.booleans(), st.sampled_from([0, 1, "true", "", [], {}])))


JSON = st.none() | st.booleans() | st.integers(-SAFE, SAFE) | st.text(TEXT, max_size=5)


@st.composite
def lists(draw: st.DrawFn, items: st.SearchStrategy[Declared]) -> Declared:
    ends = draw(_lengths())
    low, high = ends.get("min_length", 0), ends.get("max_length", 9)
    table: dict[str, Any] = {"type": "list", **ends}
    wrong: list[st.SearchStrategy[Wrong]] = [st.sampled_from([None, {}, "x", 5, True]).map(lambda value: (value, ()))]
    if draw(st.booleans()):
        item = draw(items)
        table["item"] = {key: value for key, value in item.table.items() if key != "required"}
    else:
        item = Declared({}, JSON.map(lambda value: (value, value)), st.nothing())
    if "max_length" in ends:
        wrong.append(_listed(item, high + 1, high + 2))
    if low:
        wrong.append(_listed(item, 0, low - 1))
    if high and "item" in table:
        wrong.append(_with_a_wrong_one(item, max(low, 1), high))
    pairs = st.lists(item.right, min_size=low, max_size=high)
    right = pairs.map(lambda pairs: ([sent for sent, _ in pairs], [made for _, made in pairs]))
    return Declared(table, right, st.one_of(wrong))


def _listed(item: Declared, low: int, high: int) -> st.SearchStrategy[Wrong]:
    return st.lists(item.right, min_size=low, max_size=high).map(lambda pairs: ([sent for sent, _ in pairs], ()))


@st.composite
def _with_a_wrong_one(draw: st.DrawFn, item: Declared, low: int, high: int) -> Wrong:
    elements = [sent for sent, _ in draw(st.lists(item.right, min_size=low, max_size=high))]
    index = draw(st.integers(0, len(elements) - 1))
    elements[index], path = draw(item.wrong)
    return elements, (index, *path)


@st.composite
def objects(draw: st.DrawFn, members: st.SearchStrategy[Declared], *, free: bool = True) -> Declared:
    odd: st.SearchStrategy[Wrong] = st.sampled_from([[], "x", 5, True]).map(lambda value: (value, ()))
    if free and draw(st.booleans()):
        any_object = st.dictionaries(st.text(TEXT, max_size=5), JSON, max_size=3)
        return Declared({"type": "object"}, any_object.map(lambda value: (value, value)), odd)
    fields = draw(st.dictionaries(NAMES, members, max_size=4))
    unknown = draw(st.sampled_from([None, "refuse", "drop", "keep"]))
    table = {"type": "object", "fields": {name: field.table for name, field in fields.items()}}
    table |= {"unknown": unknown} if unknown else {}
    right = _object(fields, unknown)
    wrong = [_object_with_a_wrong_one(fields, unknown)] if fields or unknown in (None, "refuse") else []
    return Declared(table, right, st.one_of(*wrong, *([odd] if free else [])))


@st.composite
def _object(draw: st.DrawFn, fields: dict[str, Declared], unknown: str | None) -> tuple[Any, Any]:
    pairs = {}
    for name in draw(st.permutations(list(fields))):
        if fields[name].table.get("required") or draw(st.booleans()):
            pairs[name] = draw(fields[name].right)
    sent = {name: pair[0] for name, pair in pairs.items()}
    made = {name: pair[1] for name, pair in pairs.items()}
    if unknown in ("drop", "keep"):
        more = draw(st.dictionaries(NAMES.filter(lambda name: name not in fields), JSON, max_size=2))
        sent |= more
        made |= more if unknown == "keep" else {}
    return sent, made


@st.composite
def _object_with_a_wrong_one(draw: st.DrawFn, fields: dict[str, Declared], unknown: str | None) -> Wrong:
    sent = dict(draw(_object(fields, unknown))[0])
    needed = [name for name, field in fields.items() if field.table.get("required")]
    strange = unknown in (None, "refuse")
    way = draw(st.sampled_from(["wrong"] * bool(fields) + ["missing"] * bool(needed) + ["strange"] * strange))
    if way == "wrong":
        name = draw(st.sampled_from(list(fields)))
        sent[name], path = draw(fields[name].wrong)
        return sent, (name, *path)
    name = draw(st.sampled_from(needed) if way == "missing" else NAMES.filter(lambda name: name not in fields))
    if way == "missing":
        del sent[name]
    else:
        sent[name] = draw(JSON)
    return sent, (name,)


@st.composite
def _with_options(draw: st.DrawFn, declared: st.SearchStrategy[Declared]) -> Declared:
    one = draw(declared)
    required, allow_null = draw(st.sampled_from([None, True, False])), draw(st.booleans())
    table = one.table | ({} if required is None else {"required": required})
    if not allow_null:
        return Declared(table, one.right, one.wrong | st.just((None, ())))
    wrong = one.wrong.filter(lambda pair: pair[0] is not None)
    return Declared(table | {"allow_null": True}, one.right | st.just((None, None)), wrong)


KINDS = {
    "string": strings(), "web": web(), "integer": integers(), "number": numbers(), "decimal": decimals(),
    "date": dates(), "datetime": moments(), "boolean": booleans(),
}  # fmt: skip
FIELDS = st.recursive(
    _with_options(st.one_of(*KINDS.values())),
    lambda inner: _with_options(lists(inner)) | _with_options(objects(inner)),
    max_leaves=6,
)


def entities() -> st.SearchStrategy[Declared]:
    """Of an entity: what stands in its `fields`."""
    return objects(FIELDS, free=False)


def alone(declared: Declared) -> Declared:
    """The same as the only field of an entity."""
    return Declared(
        {"type": "object", "fields": {"x": declared.table}},
        declared.right.map(lambda pair: ({"x": pair[0]}, {"x": pair[1]})),
        declared.wrong.map(lambda pair: ({"x": pair[0]}, ("x", *pair[1]))),
    )
