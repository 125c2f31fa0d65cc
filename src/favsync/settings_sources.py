"""Where settings are said: FAVSYNC_* variables, and favsync.toml with its tables."""

import os
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import environs

from favsync import peering
from favsync.catalog.declaration import read_entities
from favsync.catalog.entity import Entity
from favsync.catalog.lines import Lines
from favsync.core.errors import SettingsError
from favsync.core.text import did_you_mean
from favsync.identity import issuers as identity

PREFIX = "FAVSYNC_"
CONFIG_NAME = "favsync.toml"
TABLES = ("issuers", "user_header", "entities", "peers")


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def from_environment(names: Collection[str]) -> tuple[dict[str, object], list[str]]:
    """What FAVSYNC_* variables say of the settings `names`, and warnings of those that mean nothing.

    Raises SettingsError.
    """
    reader = environs.FileAwareEnv(strip_whitespace=True)
    found: dict[str, object] = {}
    for name in names:
        file = os.environ.get(f"{variable(name)}_FILE")
        if file and os.environ.get(variable(name)):
            raise SettingsError(f"{variable(name)} and {variable(name)}_FILE are both set: one of them may be")
        where = f"{file}: " if file and "/" in file else ""  # else it may be the secret itself
        try:
            value = reader.str(variable(name), None)
        except (ValueError, OSError):
            raise SettingsError(f"{variable(name)}_FILE: {where}cannot be read") from None
        if file and not value:
            raise SettingsError(f"{variable(name)}_FILE: {where}is empty")
        if value:  # an empty variable is how compose files say "not set"
            found[name] = value
    ours = {variable(name) for name in names} | {"FAVSYNC_CONFIG", "FAVSYNC_PEER_TOKEN"}
    known = ours | {f"{name}_FILE" for name in ours}
    warnings = [
        f"{name} is not a setting{did_you_mean(name, ours)}"
        for name in sorted(os.environ)
        if name.startswith(PREFIX) and name not in known
    ]
    return found, warnings


def from_file(config: Path | None, names: Collection[str]) -> tuple[dict[str, object], dict[str, Any]]:
    """What favsync.toml says of single settings, `names`, and the tables in it. Raises SettingsError."""
    path, text, content = _read(config)
    known = {*names, *TABLES}
    for name in content:
        if name not in known:
            raise SettingsError(f"{path}: there is no setting {name!r}{did_you_mean(name, known)}")
    tables: dict[str, Any] = {}
    try:
        if "issuers" in content:
            tables["issuers"] = identity.read_issuers(content.pop("issuers"), path.parent)
        if "user_header" in content:
            tables["user_header"] = identity.read_user_header(content.pop("user_header"))
        if "peers" in content:
            tables["peers"] = peering.read_peers(content.pop("peers"), path.parent)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error.detail}") from None
    if "entities" in content:
        tables["declarations"] = content.pop("entities")
        tables["entities"], faults = _entities(path, text, tables["declarations"])
        if faults:
            raise SettingsError(faults[0] + _and_more(len(faults) - 1))
    # As a variable would have it: then 1.5 is no port here either.
    return {name: str(value) if isinstance(value, int | float) else value for name, value in content.items()}, tables


def _and_more(count: int) -> str:
    if count == 0:
        return ""
    said, them = (f"is {count} more", "it") if count == 1 else (f"are {count} more", "them")
    return f", and there {said}: `favsync entities` lists {them}"


def declared(config: Path | None = None) -> tuple[tuple[Entity, ...], list[str]]:
    """The entities, and what is wrong in how the file declares them: `FILE:LINE: PLACE: SENTENCE`.

    In the order of the lines, and in one line in that of appearance; what is missing in a table appears with the table.

    `config` as in `load`. Raises SettingsError where the file cannot be read at all.
    """
    path, text, content = _read(config)
    return _entities(path, text, content.get("entities", {}))


def _entities(path: Path, text: str, value: object) -> tuple[tuple[Entity, ...], list[str]]:
    entities, mistakes = read_entities(value)
    lines = Lines(text if mistakes else "")
    found = sorted(((lines.position(mistake.path), mistake) for mistake in mistakes), key=lambda pair: pair[0])
    return entities, [f"{path}:{line}: {mistake.place}: {mistake.detail}" for (line, _), mistake in found]


def _read(config: Path | None) -> tuple[Path, str, dict[str, Any]]:
    """The file of settings: where it is, and what is in it; nothing where there may be none."""
    path = config or Path(CONFIG_NAME)
    if config is None and not _is_here(path):
        return path, "", {}
    try:
        text = path.read_text(encoding="utf-8")
        return path, text, tomllib.loads(text)
    except OSError as error:
        raise SettingsError(f"--config {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: {error}") from None


def _is_here(path: Path) -> bool:
    """Not where the working directory is closed to us, as root's is to an account that root runs this as."""
    try:
        return path.exists()
    except PermissionError:
        return False
