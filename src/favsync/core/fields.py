"""The canonical form of a record's `fields`: the bytes that are stored, hashed and emitted, at every door the same."""

import hashlib
import math
from collections.abc import Mapping

import rfc8785

from favsync.core.text import check_text

DEPTH_MAX = 32
SAFE_INTEGER = 2**53 - 1
EXPONENT_FROM = 1e21  # ECMAScript prints a number from here on with an exponent, below it as an integer


def canonical(fields: Mapping[str, object]) -> bytes:
    """RFC 8785 (JCS) of a JSON object.

    Reading these bytes and canonicalising again gives these bytes, so that services which pass a record on agree on
    its digest. Raises ValueError with a sentence and its place (`/a/0`: an RFC 6901 pointer) where there is no such
    form: a number beyond 2^53 - 1 that JSON would print as an integer, NaN or an infinity, text that no UTF-8 or no
    PostgreSQL can hold, deeper than `DEPTH_MAX`, a value that is not JSON.

    >>> canonical({"b": 1.0, "a": [True, None, "ü"]}).decode()
    '{"a":[true,null,"ü"],"b":1}'
    """
    _check(fields, "", DEPTH_MAX)
    return rfc8785.dumps(dict(fields))  # type: ignore[arg-type]


def digest(canonical_fields: bytes) -> bytes:
    """SHA-256 of canonical fields: the last part of a version."""
    return hashlib.sha256(canonical_fields).digest()


def is_exact(number: float) -> bool:
    """Whether JSON, read and written again, keeps this number: an integer up to 2^53 - 1, or what has an exponent."""
    # NaN fails each comparison.
    magnitude = abs(number)
    if magnitude <= SAFE_INTEGER:
        return True
    return isinstance(number, float) and math.isfinite(number) and magnitude >= EXPONENT_FROM


def _check(value: object, pointer: str, depth_left: int) -> None:
    if depth_left < 0:
        raise ValueError(f"{pointer}: is nested deeper than {DEPTH_MAX} levels")
    match value:
        case None | bool():
            pass
        case str():
            _check_text(value, pointer)
        case int() | float():
            _check_number(value, pointer)
        case Mapping():
            for key, member in value.items():
                if not isinstance(key, str):
                    raise ValueError(f"{pointer}: has a name that is not text")
                _check_text(key, pointer)
                _check(member, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}", depth_left - 1)
        case list() | tuple():
            for index, element in enumerate(value):
                _check(element, f"{pointer}/{index}", depth_left - 1)
        case _:
            raise ValueError(f"{pointer}: is not a JSON value")


def _check_text(value: str, pointer: str) -> None:
    try:
        check_text(value)
    except ValueError as error:
        raise ValueError(f"{pointer}: {error}") from None


def _check_number(value: float, pointer: str) -> None:
    if not is_exact(value):
        raise ValueError(f"{pointer}: is a number that JSON cannot carry exactly; send it as a string")
