"""Headers, as their specifications have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from favsync.http import headers


def _headers(name: str, *values: str) -> headers.Headers:
    return CIMultiDictProxy(CIMultiDict((name, value) for value in values))


@pytest.mark.parametrize(
    ("values", "returns", "lenient"),
    [
        ([], "", False),
        (["return=minimal"], "minimal", False),
        (["Return = Minimal"], "minimal", False),
        (['return="representation"; x=y, handling=lenient'], "representation", True),
        (["handling=lenient", "return=representation"], "representation", True),
        (["return=minimal, return=representation"], "minimal", False),
        (["handling=strict, handling=lenient"], "", False),
        (["return=everything, wait=10, respond-async"], "", False),
        (["=, ;, return, return==minimal, \u00fc"], "", False),
    ],
)
def test_prefer(values: list[str], returns: str, lenient: bool) -> None:
    assert headers.preferences(_headers("Prefer", *values)) == headers.Preferences(returns, lenient)


@pytest.mark.parametrize(
    ("value", "matches"),
    [
        ('W/"abc"', True),
        ('"abc"', True),
        ('"x", W/"abc"', True),
        ("*", True),
        (" * ", True),
        ('"ab"', False),
        ('"abcd"', False),
        ("abc", False),
        ("", False),
        ('"abc', False),
    ],
)
def test_if_none_match(value: str, matches: bool) -> None:
    assert headers.none_match(_headers("If-None-Match", value), 'W/"abc"') == matches


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=0.001", True),
        ("gzip ; q = 0", False),
        ("gzip;q=0.000", False),
        ("*;q=0, gzip", True),
        ("gzip;q=0, *", False),
        ("*", True),
        ("br", False),
        ("", False),
    ],
)
def test_accept_encoding(value: str, taken: bool) -> None:
    assert headers.accepts_gzip(_headers("Accept-Encoding", value)) == taken


@given(st.text(max_size=50))
def test_nothing_that_a_header_holds_breaks_them(value: str) -> None:
    headers.preferences(_headers("Prefer", value))
    headers.none_match(_headers("If-None-Match", value), 'W/"abc"')
    headers.accepts_gzip(_headers("Accept-Encoding", value))
