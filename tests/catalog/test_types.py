"""A declared field takes what it should, unchanged, and refuses the rest where it is wrong; its JSON Schema agrees."""

import contextlib
import ipaddress
import re
import warnings
from decimal import Decimal
from typing import Any

import jsonschema_rs
import marshmallow
import orjson
import pytest
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from hypothesis import given
from hypothesis import strategies as st

from favsync.catalog import ranges
from favsync.catalog.declaration import read_entities
from favsync.catalog.entity import Entity
from favsync.catalog.kinds import Object
from favsync.catalog.patterns import Pattern
from tests.catalog.declarations import KINDS, Declared, alone, entities


def declare(table: dict[str, Any]) -> Entity:
    found, mistakes = read_entities({"things": table})
    assert mistakes == []
    return found[1]


def places(messages: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where marshmallow's messages lead."""
    if not isinstance(messages, dict):
        return [path] * len(messages)
    return [place for key, below in messages.items() for place in places(below, (*path, key))]


def json_schema(entity: Entity) -> dict[str, Any]:
    """As the OpenAPI document prints it, and JSON carries it."""
    spec = APISpec("x", "1", "3.1.0", plugins=[MarshmallowPlugin()])
    spec.components.schema("Fields", schema=entity.fields)
    printed: dict[str, Any] = orjson.loads(orjson.dumps(spec.to_dict()["components"]["schemas"]["Fields"]))
    return printed


def judge(declared: Declared, data: st.DataObject, draws: int) -> None:
    """Judges right values, and wrong ones where there are any, of an entity with such `fields`."""
    entity = declare({key: value for key, value in declared.table.items() if key != "type"})
    schema = entity.fields()
    printed = jsonschema_rs.Draft202012Validator(json_schema(entity), validate_formats=True)
    example = Object(members=schema, unknown=entity.unknown).example()
    assert example is None or printed.is_valid(example)
    for sent, made in data.draw(st.lists(declared.right, min_size=draws, max_size=draws), label="right"):
        assert repr(schema.load(sent)) == repr(made)
        assert printed.is_valid(sent)
    draws = 0 if declared.wrong.is_empty else draws
    for wrong, place in data.draw(st.lists(declared.wrong, min_size=draws, max_size=draws), label="wrong"):
        with pytest.raises(marshmallow.ValidationError) as caught:
            schema.load(wrong)
        assert places(caught.value.messages) == [place]
        assert not printed.is_valid(wrong)


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_a_type_takes_what_is_right_unchanged_and_refuses_what_is_wrong(kind: str, data: st.DataObject) -> None:
    judge(data.draw(KINDS[kind].map(alone)), data, 20)


@given(st.data(), entities())
def test_what_is_wrong_is_refused_where_it_is(data: st.DataObject, declared: Declared) -> None:
    judge(declared, data, 2)


def test_each_type_has_an_example_that_its_rules_allow() -> None:
    tables: list[dict[str, Any]] = [
        {"type": "string"}, {"type": "string", "min_length": 300}, {"type": "string", "max_length": 2},
        {"type": "string", "max_length": 0}, {"type": "string", "pattern": "^[a-z]{2,5}(-[0-9]+)?$"},
        {"type": "string", "choices": ["x", "y"]}, {"type": "integer"}, {"type": "integer", "min": 2, "max": 3},
        {"type": "integer", "min": 2**70}, {"type": "integer", "max": -7}, {"type": "number", "max": 0},
        {"type": "decimal", "max": "-0.5"}, {"type": "decimal", "max": "9"}, {"type": "date", "min": "2020-01-01"},
        {"type": "datetime", "max": "1999-01-01T00:00:00"}, {"type": "boolean"}, {"type": "email", "max_length": 5},
        {"type": "url", "max_length": 8}, {"type": "url", "min_length": 300}, {"type": "object"}, {"type": "list"},
        {"type": "list", "max_length": 0}, {"type": "list", "min_length": 3, "item": {"type": "date"}},
        {"type": "object", "fields": {"a": {"type": "url", "required": True}}},
        {"type": "string", "pattern": "^nobody guesses this$", "allow_null": True},
    ]  # fmt: skip
    for table in tables:
        entity = declare({"fields": {"x": table | {"required": True}}})
        schema = entity.fields()
        example = Object(members=schema).example()
        assert isinstance(example, dict), table
        assert schema.validate(example) == {}
        assert jsonschema_rs.Draft202012Validator(json_schema(entity), validate_formats=True).is_valid(example)


def test_what_has_no_simple_example_has_none() -> None:
    hard = {"type": "string", "pattern": "^nobody guesses this$"}
    nested: dict[str, Any] = {"type": "string", "min_length": 20}
    for _ in range(30):
        nested = {"type": "list", "min_length": 20, "item": nested}
    for table in (
        hard,
        {"type": "list", "min_length": 1, "item": hard},
        nested,
        {"type": "string", "min_length": 10**6},
    ):
        schema = declare({"fields": {"x": table | {"required": True}}}).fields()
        assert Object(members=schema).example() is None
        schema = declare({"fields": {"x": table, "y": {"type": "boolean"}}}).fields()
        assert Object(members=schema).example() == {"y": True}


def test_the_rules_of_a_field_are_said_in_words() -> None:
    fields = {
        "a": {"type": "string", "max_length": 9, "description": "What it is"},
        "b": {"type": "decimal", "min": "0", "description": "In euros!"},
        "c": {"type": "boolean"},
    }
    printed = json_schema(declare({"fields": fields}))["properties"]
    assert printed["a"]["description"] == "What it is. At most 9 characters"
    assert printed["b"]["description"].startswith("In euros! A decimal number as text")
    assert printed["b"]["description"].endswith(", at least 0")
    assert "description" not in printed["c"]


NUMBERS = st.from_regex(r"\A-?[0-9]{1,4}(\.[0-9]{1,3})?\Z")


@given(NUMBERS, st.lists(NUMBERS, min_size=20, max_size=20))
def test_a_range_of_numbers_is_a_pattern(bound: str, numbers: list[str]) -> None:
    for number in [bound, *numbers]:
        assert bool(re.search(ranges.number_from(bound), number)) == (Decimal(number) >= Decimal(bound))
        assert bool(re.search(ranges.number_to(bound), number)) == (Decimal(number) <= Decimal(bound))


GROUPS = st.lists(
    st.sampled_from(["1", "ab", "", "1.2.3.4", "0", "fFff", "12345", "1.2.3.256", "g"]), min_size=2, max_size=9
)


@given(GROUPS.map(":".join) | st.ip_addresses(v=6).map(str), st.integers(0, 99_999) | st.integers(65_530, 65_540))
def test_a_url_names_an_address_and_a_port_that_there_are(host: str, port: int) -> None:
    try:
        there_is = bool(ipaddress.IPv6Address(host)) and port < 65536
    except ValueError:
        there_is = False
    schema = declare({"fields": {"x": {"type": "url"}}}).fields()
    assert (schema.validate({"x": f"http://[{host}]:{port}/"}) == {}) == there_is
    assert (schema.validate({"x": f"http://example.org:{port}"}) == {}) == (port < 65536)


def test_a_choice_among_integers_is_of_the_types_of_the_choices() -> None:
    tables = {"a": [1, 2.0], "b": [1, 2**60], "c": [2**60]}
    entity = declare({"fields": {name: {"type": "integer", "choices": choices} for name, choices in tables.items()}})
    printed = json_schema(entity)["properties"]
    assert [printed[name]["type"] for name in tables] == ["integer", ["integer", "string"], "string"]


ATOMS = st.sampled_from(
    ["a", "b", "-", "1", " ", "é", r"\n", r"\d", r"\W", r"\x41", r"\-", r"\@", r"\]", r"\t", "&", ":"]
)
IN_BRACKETS = st.lists(
    ATOMS | st.sampled_from(["a-c", r"\n-b", "[", "^", ".", "$", "(", r"\s"]), min_size=1, max_size=4
)
BRACKETS = st.builds("{}{}]".format, st.sampled_from(["[", "[^", "[]", "[^]"]), IN_BRACKETS.map("".join))
AGAIN = st.sampled_from(["", "", "+", "{2}", "*?"])
PIECE = st.builds(
    "{}{}".format, ATOMS | BRACKETS | st.sampled_from([".", r"\.", r"\s", r"\S", "(?:a|b)", "(1)", "]", "}"]), AGAIN
)
PATTERNS = st.lists(PIECE | st.sampled_from(["|", "^"]), min_size=1, max_size=4).map("".join)


@given(PATTERNS, st.lists(st.text("ab-1 é\nA@]&:[^.\u2028\u00a0\r", max_size=4), min_size=30, max_size=30))
def test_a_pattern_means_the_same_to_re2_to_python_and_to_json_schema(source: str, texts: list[str]) -> None:
    try:
        pattern = Pattern(source)
    except ValueError as error:
        assert "RE2" in str(error) or "JSON Schema" in str(error)  # noqa: PT017 -- which, differs
        return
    schema = jsonschema_rs.Draft202012Validator({"pattern": pattern.published})
    as_python = None
    with warnings.catch_warnings(action="ignore", category=FutureWarning), contextlib.suppress(re.error):
        as_python = re.compile(source, re.ASCII)  # which takes no class for the end of a range, as the others do
    for text in texts:
        assert pattern.found_in(text) == schema.is_valid(text)
        assert as_python is None or pattern.found_in(text) == bool(as_python.search(text))


@pytest.mark.parametrize(
    "source", ["(?i)a", "(?P<n>a)", r"\Aa", r"\z", r"\Qa\E", "[[:alpha:]]", r"[\S]", r"\x{41}", r"\p{Greek}", r"\a"]
)
def test_what_json_schema_has_no_word_for_is_no_pattern(source: str) -> None:
    with pytest.raises(ValueError, match="JSON Schema"):
        Pattern(source)


def test_no_text_stalls_a_pattern() -> None:
    assert not Pattern("^(a+)+$").found_in("a" * 60_000 + "b")


def test_what_is_kept_does_not_get_into_the_way_of_what_is_declared() -> None:
    names = ["a.b", "a", "Meta", "load", "__class__"]
    entity = declare({"unknown": "keep", "fields": {name: {"type": "integer"} for name in names}})
    sent = {"0": "x", "load": 1, "a.b": 2, "a": 3, "1": None, "Meta": 4, "__class__": 5, "_schema": 6}
    assert repr(entity.fields().load(sent)) == repr(sent)
