"""Server-sent events, from bytes however they come. HTML, section 9.2.6; without I/O.

What the standard leaves open is bounded: a line, and the data of an event.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

LINE_BYTES_MAX = 512 * 1024
DATA_BYTES_MAX = 512 * 1024

_BREAK = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"
_RETRY_MS_MAX = 3_600_000
_DIGITS = re.compile(rb"[0-9]{1,12}")


class TooLarge(ValueError):
    """A line, or the data of an event, has more bytes than are allowed."""


class Message(NamedTuple):
    """An event. `id`: the last one that the stream has named, in this event or before; empty: none yet."""

    type: str
    data: str
    id: str


class Parser:
    """`retry_ms`: after how long the stream wants to be asked for again; None: it has not said."""

    def __init__(self, line_bytes_max: int = LINE_BYTES_MAX, data_bytes_max: int = DATA_BYTES_MAX) -> None:
        self._line_bytes_max = line_bytes_max
        self._data_bytes_max = data_bytes_max
        self._line = bytearray()  # as much of it as has come
        self._after_return = False  # a line feed that comes next is of the same break
        self._first = True
        self._type, self._id = "", ""
        self._data: list[bytes] = []
        self._data_bytes = 0
        self.retry_ms: int | None = None

    def feed(self, chunk: bytes) -> Iterator[Message]:
        """The events that end in this chunk, one by one. Raises TooLarge, after those that came before.

        What is not read of it is lost, so read it to its end before the next chunk. An event that no empty line has
        ended is none.
        """
        if not chunk:
            return
        if self._after_return:
            chunk = chunk.removeprefix(b"\n")
        begin = 0
        for match in _BREAK.finditer(chunk):
            self._line += chunk[begin : match.start()]
            begin = match.end()
            self._check_line()
            line = bytes(self._line)
            self._line.clear()
            if (message := self._take(line)) is not None:
                yield message
        self._after_return = chunk.endswith(b"\r")
        self._line += chunk[begin:]
        self._check_line()

    def _check_line(self) -> None:
        if len(self._line) > self._line_bytes_max:
            raise TooLarge(f"a line has more than {self._line_bytes_max} bytes")

    def _take(self, line: bytes) -> Message | None:
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")  # a comment has no name
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._data.append(value)
                self._data_bytes += len(value) + 1
                if self._data_bytes > self._data_bytes_max + 1:
                    raise TooLarge(f"the data of an event has more than {self._data_bytes_max} bytes")
            case b"event":
                self._type = _text(value)
            case b"id" if b"\0" not in value:
                self._id = _text(value)
            case b"retry" if _DIGITS.fullmatch(value):
                self.retry_ms = min(int(value), _RETRY_MS_MAX)
        return None

    def _dispatch(self) -> Message | None:
        data, kind = self._data, self._type
        self._data, self._data_bytes, self._type = [], 0, ""
        return Message(kind or "message", _text(b"\n".join(data)), self._id) if data else None


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
