"""docs/deploy.md: what its blocks of commands say of themselves, and the files that they name."""

import re

from tests.deploy.docs import ROOT, blocks


def test_every_block_is_run_or_says_why_not() -> None:
    run = ["secrets", "install"]  # by name: the tests that do so fail where the page has no such block
    assert [mark for mark, _ in blocks() if not mark.startswith("needs ")] == run


def test_every_file_that_a_command_names_is_there() -> None:
    named = {path for _, block in blocks() for path in re.findall(r"(?<![/\w])deploy/[\w.-]+", block)}
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).is_file()] == []
