"""The data directory and the secrets in it."""

import contextlib
import os
import secrets
from pathlib import Path


def make_data_dir(path: Path) -> None:
    """The folder and its parents. Under root an account without rights must be able to pass; nothing in it is open."""
    if not path.exists():
        path.mkdir(parents=True)
        path.chmod(0o711)


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
