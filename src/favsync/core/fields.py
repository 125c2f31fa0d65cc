"""The canonical form of a record's `fields`: the bytes that are stored, hashed and emitted, at every door the same."""

import hashlib
import math
from collections.abc import Mapping

import rfc8785

from favsync.core.text import check_text

DEPTH_MAX = 32
BYTES_MAX = 65_536
POINTER_LENGTH_MAX = 1024
SAFE_INTEGER = 2**53 - 1
EXPONENT_FROM = 1e21  # ECMAScript prints a number from here on with an exponent, below it as an integer


class NotCanonical(ValueError):
    """`path` leads to what has no canonical form, by names and indexes; `detail` is a sentence without its subject."""

    def __init__(self, detail: str, path: tuple[str | int, ...] = ()) -> None:
        self.detail = detail
        self.path = path
        super().__init__(f"{pointer_to(*path)}: {detail}")


def pointer_to(*names: str | int) -> str:
    """The RFC 6901 pointer that leads through objects and arrays by these names and indexes.

    It ends before a name that would make it longer than `POINTER_LENGTH_MAX`; half a surrogate pair is a question mark.

    >>> pointer_to(0, "fields", "a/b~c")
    '/0/fields/a~1b~0c'
    """
    pointer = ""
    for name in names:
        step = str(name)[:POINTER_LENGTH_MAX].replace("~", "~0").replace("/", "~1")
        if len(pointer) + len(step) >= POINTER_LENGTH_MAX:
            break
        pointer += "/" + step
    return pointer.encode(errors="replace").decode()


def canonical(fields: Mapping[str, object]) -> bytes:
    """RFC 8785 (JCS) of a JSON object.

    Reading these bytes and canonicalising again gives these bytes, so that services which pass a record on agree on
    its digest. Raises NotCanonical where there is no such form: a number beyond 2^53 - 1 that JSON would print as an
    integer, NaN or an infinity, text that no UTF-8 or no PostgreSQL can hold, deeper than `DEPTH_MAX`, more than
    `BYTES_MAX`, a value that is not JSON.

    >>> canonical({"b": 1.0, "a": [True, None, "ü"]}).decode()
    '{"a":[true,null,"ü"],"b":1}'
    """
    _check(fields, DEPTH_MAX)
    written: bytes = rfc8785.dumps(dict(fields))  # type: ignore[arg-type]
    if len(written) > BYTES_MAX:
        raise NotCanonical(f"has more than {BYTES_MAX} bytes")
    return written


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


def _check(value: object, depth_left: int) -> None:
    """Raises NotCanonical, which has no place yet: those that it passes on its way out give it theirs."""
    if depth_left < 0:
        raise NotCanonical(f"is nested deeper than {DEPTH_MAX} levels")
    match value:
        case None | bool():
            pass
        case str():
            _check_text(value)
        case int() | float():
            _check_number(value)
        case Mapping():
            _check_names(value)
            for key, member in value.items():
                _check_within(key, member, depth_left)
        case list() | tuple():
            for index, element in enumerate(value):
                _check_within(index, element, depth_left)
        case _:
            raise NotCanonical("is not a JSON value")


def _check_number(value: float) -> None:
    if not is_exact(value):
        raise NotCanonical("is a number that JSON cannot carry exactly; send it as a string")


def _check_names(value: Mapping[object, object]) -> None:
    for key in value:
        if not isinstance(key, str):
            raise NotCanonical("has a name that is not text")
        _check_text(key)


def _check_within(name: str | int, member: object, depth_left: int) -> None:
    try:
        _check(member, depth_left - 1)
    except NotCanonical as error:
        raise NotCanonical(error.detail, (name, *error.path)) from None


def _check_text(value: str) -> None:
    try:
        check_text(value)
    except ValueError as error:
        raise NotCanonical(str(error)) from None
