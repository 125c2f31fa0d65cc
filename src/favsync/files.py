"""The data directory and the secrets in it."""

import contextlib
import errno
import os
import pwd
import secrets
import stat
from pathlib import Path


def make_data_dir(path: Path) -> None:
    """The folder and its parents. Under root an account without rights must be able to pass; nothing in it is open.

    Raises OSError, also where this is root, and somebody else could put a link or another folder in its place.
    """
    if os.geteuid() == 0:
        _check_roots(path)
    if not path.exists():
        path.mkdir(parents=True)
        path.chmod(0o711)


def _check_roots(path: Path) -> None:
    """OSError where somebody else than root can change what is in `path`, or what that name means."""
    for whole in (path.absolute(), path.resolve()):
        for place in [whole, *whole.parents]:
            try:
                state = place.lstat()
            except FileNotFoundError:
                continue
            if state.st_uid != 0:
                raise PermissionError(
                    errno.EPERM, f"belongs to uid {state.st_uid}: {_run_as(state.st_uid)}", str(place)
                )
            others = state.st_mode & 0o022 and not stat.S_ISLNK(state.st_mode)
            if others and (place == whole or not state.st_mode & stat.S_ISVTX):
                raise PermissionError(errno.EPERM, "others than root can write there: chmod go-w it", str(place))


def _run_as(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return f"run this as that account (runuser -u {pwd.getpwuid(uid).pw_name} -- favsync …)"
    return "run this as that account"


def ensure_secret(path: Path) -> str:
    """The secret in `path`; where there is none, 256 new random bits, readable by their owner alone.

    Whole or not at all, and the same for everybody who asks at once. Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    write_secret(path, secrets.token_urlsafe(32))
    return path.read_text().strip()


def write_secret(path: Path, value: str) -> None:
    """Writes a new file with mode 0600; leaves one that is there as it is. Raises OSError."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(value)
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(scratch)
    scratch.unlink()
