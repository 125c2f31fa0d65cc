"""On which line of a TOML file something stands: the reader of the standard library does not say."""

import tomllib
from collections.abc import Sequence
from typing import Any


class Lines:
    """The lines of a text that TOML can read. Each prefix of it is read once, whoever asks."""

    def __init__(self, text: str) -> None:
        self._lines = text.replace("\r\n", "\n").split("\n")
        self._read: dict[int, Any] = {len(self._lines): tomllib.loads(text)}

    def line(self, path: Sequence[str | int]) -> int:
        """The first line, from 1, of the statement that brings `path`, or as much of the path as there is.

        A file only grows from line to line, so the number of lines that are needed is found by halving.
        """
        path = path[: _depth(self._read[len(self._lines)], path)]
        low, high = 1, len(self._lines)
        while low < high:
            middle = (low + high) // 2
            if _depth(self._up_to(middle), path) == len(path):
                high = middle
            else:
                low = middle + 1
        return low

    def _up_to(self, count: int) -> Any:  # noqa: ANN401 -- what TOML holds
        """What so many lines hold, and those that are needed to end the statement they end in."""
        first = count
        while count not in self._read:
            try:
                self._read[count] = tomllib.loads("\n".join(self._lines[:count]))
            except ValueError:
                count += 1
        for cut_short in range(first, count):
            self._read[cut_short] = self._read[count]
        return self._read[count]


def _depth(value: Any, path: Sequence[str | int]) -> int:  # noqa: ANN401 -- what TOML holds
    """How much of the path is there."""
    for depth, key in enumerate(path):
        keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        if key not in keys:
            return depth
        value = value[key]
    return len(path)
