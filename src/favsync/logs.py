"""Logs: one line an event, JSON unless somebody is watching a terminal; never a token, a body or an item."""

import asyncio
import atexit
import functools
import json
import logging
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

import orjson
import stamina.instrumentation
import structlog

from favsync.core import timestamp

AT_ONCE = 4096  # characters of whole lines in one write: a pipe keeps that together, whoever else writes into it


def _stamp(_logger: object, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    entry["timestamp"] = _now()
    return entry


def _now() -> str:
    return timestamp.render_ms(time.time_ns() // 1_000_000)


_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    _stamp,
]


_quick: Callable[[dict[str, Any]], None] | None = None


def line(entry: dict[str, Any]) -> None:
    """As a logger's `info`, where lines are JSON for 20 us less: each request has one. Takes the entry over."""
    if _quick is None:
        structlog.get_logger().info(**entry)
    else:
        _quick(entry)


class Lines:
    """Writes lines to `file`: those of one turn of the event loop together, since a write costs as much as a line."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lines: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # that will write them
        atexit.register(self.flush)

    def msg(self, line: str) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write([line])
            return
        self._lines.append(line)
        if self._loop is not loop:
            self._loop = loop
            loop.call_soon(self.flush)

    debug = info = warning = error = critical = msg

    def flush(self) -> None:
        lines, self._lines, self._loop = self._lines, [], None
        first = size = 0
        for at, line in enumerate(lines):
            size += len(line) + 1
            if size > AT_ONCE and at > first:
                self._write(lines[first:at])
                first, size = at, len(line) + 1
        if lines:
            self._write(lines[first:])

    def _write(self, lines: list[str]) -> None:
        self._file.write("\n".join(lines) + "\n")
        self._file.flush()


def configure(*, style: str, level: str, worker: int | None = None) -> None:
    """Sends our own events and those of libraries to stderr in one form. `style`: auto, json or console.

    `worker`: which of several processes this is, for each line to say.
    """
    as_json = style == "json" or (style == "auto" and not sys.stderr.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    # Without the local variables of a traceback: a token or an item may be among them.
    tracebacks = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    )
    shared = _SHARED if worker is None else [*_SHARED, functools.partial(_add_worker, worker)]
    last: list[Any] = (
        [tracebacks, structlog.processors.JSONRenderer(serializer=_dump)]
        if as_json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    global _quick  # noqa: PLW0603 -- as structlog.configure
    lines = Lines(sys.stderr)
    known = {"level": "info"} if worker is None else {"level": "info", "worker": worker}

    def quick(entry: dict[str, Any]) -> None:
        entry.update(known, timestamp=_now())
        lines.msg(_dump(entry, repr))

    _quick = quick if as_json and number <= logging.INFO else None
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_names: lines,
        cache_logger_on_first_use=True,
    )
    stamina.instrumentation.set_on_retry_hooks([])  # how it ended stands in the request's line
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_without_request)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)


def _add_worker(worker: int, _logger: object, _method: str, entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {"worker": worker}


def _dump(entry: dict[str, Any], default: Callable[[Any], Any]) -> str:
    try:
        return orjson.dumps(entry, default=default, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # half a surrogate pair, of a path that is not UTF-8; a number beyond 64 bits
        return json.dumps(entry, default=default)


def _without_request(entry: logging.LogRecord) -> bool:
    """The HTTP parser quotes what it could not read, and that may be a token: of its exceptions keep the kind."""
    if entry.name.startswith("aiohttp") and entry.exc_info:
        kind = entry.exc_info[0]
        entry.msg, entry.args = f"{entry.getMessage()} ({kind.__name__ if kind else 'unknown'})", ()
        entry.exc_info = None
    return True
