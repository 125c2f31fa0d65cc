"""`favsync`, but it counts whose Python it runs: its own, or that of what it stands on. Its first word: a file for it.

After some milliseconds of CPU time each the kernel sends a signal, at which Python looks between two instructions: the
time of what is no Python (a system call, a parser in C) counts for the Python that called it. What the event loop does
in C counts for the Python that it calls next, which is often ours, and makes our share too large. What libraries take
that we call counts as theirs, however often we call them.
"""

import mmap
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import favsync
from favsync.cli import main

_EACH_S = 0.004
_OURS = str(Path(favsync.__file__).parent)
_MADE = "<string>"  # what dataclasses and named tuples have written themselves, for whom it runs


class Samples(NamedTuple):
    """How often anything ran, and how often our own."""

    all: int
    ours: int


def read(file: Path) -> Samples:
    """What was counted until now."""
    return Samples(*memoryview(file.read_bytes()).cast("Q"))


def _count_into(file: Path) -> None:
    file.write_bytes(bytes(16))
    with file.open("r+b") as opened:
        counts = memoryview(mmap.mmap(opened.fileno(), 0)).cast("Q")

    def count(_number: int, frame: FrameType | None) -> None:
        while frame and frame.f_code.co_filename == _MADE:
            frame = frame.f_back
        counts[0] += 1
        counts[1] += bool(frame and frame.f_code.co_filename.startswith(_OURS))

    signal.signal(signal.SIGPROF, count)
    signal.setitimer(signal.ITIMER_PROF, _EACH_S, _EACH_S)


if __name__ == "__main__":
    _count_into(Path(sys.argv.pop(1)))
    try:
        main()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)  # at its very end Python hears no signals, and would die of one
