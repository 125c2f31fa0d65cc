"""A PostgreSQL that outlived its service: whoever holds the lock of the data directory ends it."""

import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from favsync.core.errors import EmbeddedError

if TYPE_CHECKING:
    import psutil

POLL_S = 0.05
# How long it may take to end by each signal.
PATIENCE = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))


def pid_file_line(pgdata: Path, number: int) -> str | None:
    """A line of postmaster.pid: 1 is the pid, 8 the state."""
    with contextlib.suppress(OSError, IndexError):
        return (pgdata / "postmaster.pid").read_text().splitlines()[number - 1].strip()
    return None


def end(pgdata: Path, abandoned: threading.Event) -> None:
    """Makes the way free for a new server in `pgdata`; EmbeddedError where that fails, or `abandoned` is set.

    A pid alone proves nothing: after a restart of the machine it may be anybody's. A server stands in its data
    directory. Where the pid is another's, or of a server that is dead and not yet buried, our own is written in its
    place: PostgreSQL knows that its parent is no server, and then makes its other check, of shared memory, which
    removing the file would skip.
    """
    import psutil  # noqa: PLC0415 -- comes with favsync[embedded]

    line = pid_file_line(pgdata, 1)
    if line is None or not line.lstrip("-").isdigit():
        return
    try:
        process = psutil.Process(abs(int(line)))
        ours = Path(process.cwd()) == pgdata.resolve()
    except (psutil.ZombieProcess, psutil.AccessDenied):
        ours = False
    except psutil.NoSuchProcess:
        return
    if ours:
        _stop(process, abandoned)
    _claim(pgdata, line)


def _stop(process: "psutil.Process", abandoned: threading.Event) -> None:
    import psutil  # noqa: PLC0415

    with contextlib.suppress(psutil.NoSuchProcess):
        for number, patience_s in PATIENCE:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            for _ in range(int(patience_s / POLL_S)):
                if process.status() == psutil.STATUS_ZOMBIE:
                    return
                if abandoned.wait(POLL_S):
                    raise EmbeddedError("stopped before it had started")
        raise EmbeddedError(f"data_dir: process {process.pid} runs PostgreSQL there, and does not end")


def _claim(pgdata: Path, line: str) -> None:
    """Writes our pid into postmaster.pid in place of `line`; not through a link, and not where there is no file."""
    folder = os.open(pgdata, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with (
            contextlib.suppress(FileNotFoundError),
            os.fdopen(os.open("postmaster.pid", os.O_RDWR | os.O_NOFOLLOW, dir_fd=folder), "r+") as file,
        ):
            content = file.read()
            file.seek(0)
            file.truncate()
            file.write(content.replace(line, str(os.getpid()), 1))
    finally:
        os.close(folder)
