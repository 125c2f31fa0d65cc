"""Where a backup is restored: a data directory within the data directory, whose cluster takes the other's place whole.

So a restore that fails, or is killed, leaves nothing that a service would take for its database. For each: the lock
of the data directory is held.
"""

import os
import secrets
import shutil
import threading
from pathlib import Path

from favsync.files import ensure_secret, make_data_dir, write_secret
from favsync.store import binaries, leftover

_PASSWORD = "postgres-password"  # noqa: S105 -- the name of its file


def make(data_dir: Path) -> Path:
    """A new one, for a cluster with the password and of the account that there are. Raises OSError."""
    folder = data_dir / f"restoring-{secrets.token_hex(8)}"
    make_data_dir(folder)
    write_secret(folder / _PASSWORD, ensure_secret(data_dir / _PASSWORD))
    if os.geteuid() == 0:
        copy = binaries.copied_to(data_dir).parents[2]
        (folder / copy.name).symlink_to(copy)
    home = data_dir / "postgres"
    if home.exists():
        (folder / home.name).mkdir(mode=0o700)
        os.chown(folder / home.name, home.stat().st_uid, -1)
    return folder


def adopt(data_dir: Path, folder: Path) -> None:
    """Its cluster, which is not running, becomes that of `data_dir`; one that is there moves to `folder`.

    Killed in between, it leaves no cluster, and the next start makes an empty one. Raises OSError.
    """
    home = data_dir / "postgres"
    if home.exists():
        home.rename(folder / "replaced")
    (folder / home.name).rename(home)
    for changed in (home, data_dir):
        sync(changed)


def discard(data_dir: Path, abandoned: threading.Event) -> None:
    """Removes those that a kill left behind, and their servers. Raises EmbeddedError where one does not end."""
    for folder in data_dir.glob("restoring-*"):
        leftover.end(folder / "postgres" / "data", abandoned)
        shutil.rmtree(folder, ignore_errors=True)  # an initdb that was left over may still be writing: next time


def sync(folder: Path) -> None:
    """What was renamed in `folder` stays so when the power fails. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
