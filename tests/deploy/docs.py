"""The commands of docs/deploy.md."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# `<!-- console: ... -->` before a block is the name that a test runs it by, or says what it needs that no test has.
BLOCK = re.compile(r"<!-- console: (.*?) -->\n```console\n(.*?)```", re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    """Every block of commands, and what stands before it."""
    text = (ROOT / "docs/deploy.md").read_text()
    found = BLOCK.findall(text)
    assert len(found) == text.count("```console")
    return found


def runnable(name: str) -> str:
    """The block of that name, as a script."""
    [block] = [block for mark, block in blocks() if mark == name]
    lines = block.splitlines()
    assert all(line.startswith("$ ") for line in lines)
    return "\n".join(line.removeprefix("$ ") for line in lines)
