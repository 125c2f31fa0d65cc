"""Canonical fields: the same bytes wherever a record goes."""

import hashlib
import json
import re

import pytest
from hypothesis import given

from favsync.core import fields
from tests.core.strategies import objects


@given(objects)
def test_reading_and_writing_again_changes_nothing(content: dict[str, object]) -> None:
    written = fields.canonical(content)
    assert fields.canonical(json.loads(written)) == written


@given(objects)
def test_it_says_what_was_said(content: dict[str, object]) -> None:
    assert json.loads(fields.canonical(content)) == content


@given(objects)
def test_the_order_of_names_does_not_matter(content: dict[str, object]) -> None:
    assert fields.canonical(dict(reversed(content.items()))) == fields.canonical(content)


def test_the_example_of_rfc_8785() -> None:
    content = json.loads(
        r'{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],'
        r'"string": "\u20ac$\u000F\u000aA\u0027\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}'
    )
    assert (
        fields.canonical(content)
        == (
            r'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
            r'"string":"€$\u000f\nA' + "'" + r'B\"\\\\\"/"}'
        ).encode()
    )


def test_names_are_sorted_by_utf_16() -> None:
    assert fields.canonical({"\ufb33": 1, "\U0001f600": 2, "z": 3}) == '{"z":3,"\U0001f600":2,"\ufb33":1}'.encode()


def _nested(levels: int) -> dict[str, object]:
    content: dict[str, object] = {}
    for _level in range(levels):
        content = {"a": content}
    return content


NUMBER = "is a number that JSON cannot carry exactly; send it as a string"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 2**53}, f"/a: {NUMBER}"),
        ({"a": -(2**53)}, f"/a: {NUMBER}"),
        ({"a": float(2**53)}, f"/a: {NUMBER}"),
        ({"a": 9e20}, f"/a: {NUMBER}"),
        ({"a": 10**21}, f"/a: {NUMBER}"),
        ({"a": float("inf")}, f"/a: {NUMBER}"),
        ({"a": float("nan")}, f"/a: {NUMBER}"),
        ({"a": [1, {"b": "\0"}]}, "/a/1/b: holds a NUL character"),
        ({"a/b~c": "\ud800"}, "/a~1b~0c: holds half of a surrogate pair"),
        ({"a": {"\udfff": 1}}, "/a: holds half of a surrogate pair"),
        ({"a": {1: 1}}, "/a: has a name that is not text"),
        ({"a": {"b": b""}}, "/a/b: is not a JSON value"),
        ({"a": "x" * 65_529}, ": has more than 65536 bytes"),
        ({"a": "ü" * 32_765}, ": has more than 65536 bytes"),
        (_nested(33), "/a" * 33 + ": is nested deeper than 32 levels"),
        ({"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}, "/a" + "/0" * 32 + ": is nested deeper than 32 levels"),  # noqa: E501
    ],
)  # fmt: skip
def test_what_has_no_canonical_form_is_named(content: dict[str, object], message: str) -> None:
    with pytest.raises(fields.NotCanonical, match=f"^{re.escape(message)}$") as raised:
        fields.canonical(content)
    assert (fields.pointer_to(*raised.value.path), raised.value.detail) == tuple(message.split(": "))


def test_the_edges_of_what_has_one() -> None:
    assert fields.canonical(_nested(32)) == b'{"a":' * 32 + b"{}" + b"}" * 32
    assert fields.canonical({"a": (2**53 - 1, -(2**53) + 1)}) == b'{"a":[9007199254740991,-9007199254740991]}'
    assert fields.canonical({"a": [1e21, -1e21]}) == b'{"a":[1e+21,-1e+21]}'
    assert fields.canonical({}) == b"{}"
    assert len(fields.canonical({"a": "x" * 65_528})) == 65_536


def test_the_digest_is_sha_256() -> None:
    assert fields.digest(b"{}") == hashlib.sha256(b"{}").digest()


def test_a_pointer_can_always_be_answered() -> None:
    assert fields.pointer_to("\ud800x", 1) == "/?x/1"
    assert fields.pointer_to("a", "x" * 1021, 1) == "/a/" + "x" * 1021
    assert fields.pointer_to("a", "x" * 1022, 1) == "/a"
    assert fields.pointer_to("/" * 511) == "/" + "~1" * 511
    assert fields.pointer_to("/" * 512) == ""
    assert fields.pointer_to("x" * 100_000) == ""


@pytest.mark.timeout(20)
def test_a_long_name_costs_nothing_for_each_of_many_elements() -> None:
    with pytest.raises(fields.NotCanonical, match=r"^: has more than 65536 bytes$"):
        fields.canonical({"k" * 500_000 + "\U0001f600": [1] * 270_000})
