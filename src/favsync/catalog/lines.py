"""On which line of a TOML file something stands: the reader of the standard library does not say."""

import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

Path = tuple[str | int, ...]


class Lines:
    """The lines of a text that TOML can read. Statement by statement: each can be read alone."""

    def __init__(self, text: str) -> None:
        self._first: dict[Path, tuple[int, int]] = {(): (1, 0)}
        self._tables: dict[Path, int] = {}  # how many there are so far of each [[array of tables]]
        table: Path = ()
        for number, statement, content in _statements(text.replace("\r\n", "\n").split("\n")):
            brought: Any = content
            if statement.startswith("["):
                table, brought = self._table(content, array=statement.startswith("[[")), {}
            self._note(table, brought, number)

    def line(self, path: Sequence[str | int]) -> int:
        """The first line, from 1, of the statement that brings `path`, or as much of the path as there is."""
        return self.position(path)[0]

    def position(self, path: Sequence[str | int]) -> tuple[int, int]:
        """That line, and a number that is greater for what appears later."""
        return next(
            self._first[tuple(path[:end])] for end in range(len(path), -1, -1) if tuple(path[:end]) in self._first
        )

    def _table(self, header: dict[str, Any], *, array: bool) -> Path:
        """The path of the table that begins here; on the way to it, the last of each array is meant."""
        path: Path = ()
        content: Any = header
        while content:
            [(key, content)] = content.items()
            path = (*path, key)
            if array and isinstance(content, list):
                self._tables[path] = self._tables.get(path, 0) + 1
                content = {}
            if path in self._tables:
                path = (*path, self._tables[path] - 1)
        return path

    def _note(self, path: Path, value: Any, number: int) -> None:  # noqa: ANN401 -- what TOML holds
        for end in range(len(path) + 1):
            self._first.setdefault(path[:end], (number, len(self._first)))
        within = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, member in within:
            self._note((*path, key), member, number)


def _statements(lines: Sequence[str]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Each statement: the number of its first line, its text, and what it says. Comments and empty lines are none."""
    first = 0
    for end in range(1, len(lines) + 1):
        statement = "\n".join(lines[first:end]).strip(" \t")
        try:
            content = tomllib.loads(statement)
        except ValueError:
            continue  # it goes on
        if content:
            yield first + 1, statement, content
        first = end
