"""What a person meant to write."""

from favsync.core.text import did_you_mean


def test_a_word_that_is_close_is_named() -> None:
    known = ["host", "port", "max_items"]
    assert did_you_mean("prot", iter(known)) == "; did you mean port?"
    assert did_you_mean("max_item", known) == "; did you mean max_items?"
    assert did_you_mean("colour", known) == ""
