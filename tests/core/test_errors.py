"""The tree of errors."""

import inspect

import pytest

from favsync.core import errors

CLASSES = [item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, errors.FavsyncError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_its_docstring_is_its_default_message(kind: type[errors.FavsyncError]) -> None:
    error = kind([]) if kind is errors.InvalidRecords else kind()
    assert error.detail == str(error) == inspect.getdoc(kind)
    assert error.detail.endswith(".")


@pytest.mark.parametrize("kind", CLASSES)
def test_the_tree_is_drawn(kind: type[errors.FavsyncError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")


def test_a_message_of_its_own() -> None:
    assert errors.Unavailable("Later.").detail == "Later."
    assert errors.Unavailable.retry_after_s == 1
    faults = [errors.Fault(3, "/3/item", "is missing")]
    assert errors.InvalidRecords(faults, "No.").faults == faults
    assert errors.InvalidRecords(faults, "No.").detail == "No."
    assert errors.Unauthenticated("No.", token_sent=True).token_sent
    assert errors.Unauthenticated("No.", token_sent=True).detail == "No."
    assert not errors.Unauthenticated().token_sent
    assert errors.InsufficientScope().scope == ""
    assert errors.InsufficientScope("admin").scope == "admin"
    assert errors.TooManyRequests().retry_after_s == 1
    assert errors.TooManyRequests(7).retry_after_s == 7
