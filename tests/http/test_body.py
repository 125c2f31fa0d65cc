"""JSON in: two readers, one meaning."""

import math
from typing import cast

import pytest

from favsync.http.body import parse_json


@pytest.mark.parametrize(
    "number",
    ["1000000000000000000000", "-1000000000000000000001", "18446744073709551615", "18446744073709551616",
     "-9223372036854775808", "-9223372036854775809", "9007199254740991", "-0", "-0.0", "1E2", "5e-324", "1.0"],
)  # fmt: skip
def test_a_number_is_the_same_number_beside_half_a_surrogate_pair(number: str) -> None:
    """Which another reader reads, so that it can be named."""
    [alone] = cast("list[object]", parse_json(f"[{number}]".encode()))
    [beside, _half] = cast("list[object]", parse_json(f'[{number}, "\\ud800"]'.encode()))
    assert repr(beside) == repr(alone)


def test_a_number_without_end_beside_it_is_no_fault_of_ours() -> None:
    [number, _half] = cast("list[object]", parse_json(b"[1" + b"0" * 400 + rb', "\ud800"]'))
    assert number == math.inf, "which nothing takes"
