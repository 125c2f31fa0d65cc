"""The variables that mean something."""

from collections.abc import Iterable

from favsync.settings import FIELDS
from favsync.settings_sources import PREFIX, variable

_NAMES = {variable(name) for name in FIELDS} | {f"{PREFIX}CONFIG"}


def meaningless(names: Iterable[str]) -> list[str]:
    """Those that look like variables of favsync, and are none."""
    return [name for name in names if name.startswith(PREFIX) and name.removesuffix("_FILE") not in _NAMES]
