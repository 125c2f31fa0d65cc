"""Text that every door can carry: UTF-8 on the wire, `text` in PostgreSQL; and what a person meant to write."""

import difflib
from collections.abc import Iterable


def check_text(value: str) -> None:
    """ValueError for a NUL, which PostgreSQL cannot store, and for a lone surrogate, which UTF-8 cannot encode."""
    if "\0" in value:
        raise ValueError("holds a NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("holds half of a surrogate pair") from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """How a sentence goes on where one of the known words is close to the one that is not.

    >>> "there is no setting 'prot'" + did_you_mean("prot", ["host", "port"])
    "there is no setting 'prot'; did you mean port?"
    >>> did_you_mean("colour", ["host", "port"])
    ''
    """
    close = difflib.get_close_matches(word, list(known))
    return f"; did you mean {close[0]}?" if close else ""
