"""docs/deploy.md: each block of commands is run by a test, or says what it needs that no test has."""

import re

from tests.deploy.docs import ROOT, blocks

RUN = {"secrets": "test_compose.py", "install": "test_systemd.py"}


def test_every_block_is_run_or_says_why_not() -> None:
    marks = [mark for mark, _ in blocks()]
    assert [mark for mark in marks if mark not in RUN] == [
        "needs an engine", "needs a cluster", "needs systemd, as root", "needs systemd, as root",
        "needs nginx, as root", "needs Caddy, as root",
    ]  # fmt: skip
    for name, test in RUN.items():
        assert f'runnable("{name}")' in (ROOT / "tests/deploy" / test).read_text()


def test_every_file_that_a_command_names_is_there() -> None:
    named = {path for _, block in blocks() for path in re.findall(r"(?<![/\w])deploy/[\w.-]+", block)}
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).is_file()] == []
