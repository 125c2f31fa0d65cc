"""The table `[entities]` of favsync.toml: which entities there are, and every fault in how they are declared."""

import re
from typing import Any

from favsync.catalog.entity import FAVORITES, Entity, Legacy, Scope, Unknown, object_schema
from favsync.catalog.field_tables import read_fields
from favsync.catalog.kinds import Text
from favsync.catalog.lines import Path
from favsync.catalog.mistakes import Mistake, Mistakes, table_of
from favsync.catalog.ordered import WrittenInteger
from favsync.catalog.types import ANY_LENGTH, Anything, Judged, Length

ENTITIES_MAX = 200
ITEMS_MAX = 10_000_000

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_LEGACY = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_LEGACY_LENGTH_MAX = 200
_WAS_MAX = 20
_RECEIPTS = "receipts"
# What other doors have, now or soon.
_TAKEN_SEGMENTS = frozenset(
    {"sync", "feed", "docs", "problems", "healthz", "readyz", "metrics", "openapi.json", "peers", "hooks", "webhooks",
     "admin", "console", "links", "epoch"}
)  # fmt: skip
_TABLE = table_of(
    {
        "description": Judged(Text(length=Length(1, 2000))),
        "scope": Judged(Text(length=ANY_LENGTH, choices=tuple(Scope))),
        "unknown": Judged(Text(length=ANY_LENGTH, choices=tuple(Unknown))),
        "max_items": Judged(WrittenInteger(low=1, high=ITEMS_MAX)),
        "legacy": Judged(Anything()),
        "was": Judged(Anything()),
        "fields": Judged(Anything()),
    }
)
_LEGACY_TABLE = table_of(
    {key: Judged(Text(length=Length(1, _LEGACY_LENGTH_MAX)), required=True) for key in Legacy._fields}
)


def read_entities(value: object) -> tuple[tuple[Entity, ...], list[Mistake]]:
    """The built-in entity and those of the table, and all that is wrong, in the order in which it was found.

    An entity with faults is left out, or in as far as it is right: not to be used. Never raises.
    """
    mistakes = Mistakes()
    if not isinstance(value, dict):
        mistakes.note(("entities",), "is not a table: write [entities.notes], or another name")
        return (FAVORITES,), mistakes
    if len(value) > ENTITIES_MAX:
        mistakes.note(("entities",), f"has more than {ENTITIES_MAX} tables")
        return (FAVORITES,), mistakes
    found = {FAVORITES.name: FAVORITES}
    for name, table in value.items():
        path = ("entities", name)
        if isinstance(name, str) and _NAME.fullmatch(name):
            found[name] = _entity(name, table, path, mistakes)
        else:
            mistakes.note(path, "must be 1 to 63 of A-Z, a-z, 0-9, _ and -, a letter first")
        if name == _RECEIPTS:
            mistakes.note(path, "is what /sync calls its receipts; choose another name")
    entities = tuple(found.values())
    _check_names(entities, value, mistakes)
    _check_paths(entities, value, mistakes)
    return entities, mistakes


def _entity(name: str, table: object, path: Path, mistakes: Mistakes) -> Entity:
    built_in = FAVORITES if name == FAVORITES.name else None
    given = mistakes.read(path, table, _TABLE)
    unknown = Unknown(given.get("unknown", built_in.unknown if built_in else Unknown.REFUSE))
    legacy = _legacy(given["legacy"], (*path, "legacy"), mistakes) if "legacy" in given else None
    members = read_fields(given.get("fields", {}), (*path, "fields"), mistakes)
    return Entity(
        name=name,
        scope=Scope(given.get("scope", Scope.USER)),
        description=given.get("description", built_in.description if built_in else ""),
        unknown=unknown,
        max_items=int(given["max_items"]) if "max_items" in given else None,
        legacy=legacy or (built_in.legacy if built_in else None),
        was=_was(given["was"], (*path, "was"), mistakes) if "was" in given else (),
        fields=object_schema(f"{name}Fields", members, unknown),
        has_fields=bool(members) or unknown is Unknown.KEEP,
    )


def _legacy(value: object, path: Path, mistakes: Mistakes) -> Legacy | None:
    before = len(mistakes)
    given = mistakes.read(path, value, _LEGACY_TABLE)
    for key, written in given.items():
        first, *others = written[1:].split("/")
        if not _LEGACY.fullmatch(written) or {".", ".."} & {first, *others}:
            mistakes.note((*path, key), "is not a path such as /getUserNotes, of A-Z, a-z, 0-9, -, ., _ and ~")
        elif first in _TAKEN_SEGMENTS:
            mistakes.note((*path, key), f"begins with /{first}, which has a meaning of its own")
    return Legacy(**given) if len(mistakes) == before else None


def _was(value: object, path: Path, mistakes: Mistakes) -> tuple[str, ...]:
    """The former names that are names."""
    names = [(path, value)] if isinstance(value, str) else []
    if isinstance(value, list) and 0 < len(value) <= _WAS_MAX:
        names = [((*path, index), name) for index, name in enumerate(value)]
    elif not names:
        mistakes.note(path, f"is not a name, or a list of 1 to {_WAS_MAX}, the oldest first")
    found: list[str] = []
    for place, name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            mistakes.note(place, "is not the name of an entity")
        elif name in found:
            mistakes.note(place, "is there twice")
        else:
            found.append(name)
    return tuple(found)


def _check_names(entities: tuple[Entity, ...], value: dict[Any, Any], mistakes: Mistakes) -> None:
    owners = {entity.name: entity.name for entity in entities}
    for entity in entities:
        for former in entity.was:
            owner = owners.setdefault(former, entity.name)
            if owner != entity.name:
                written = value[entity.name]["was"]
                path: Path = ("entities", entity.name, "was")
                place = path if isinstance(written, str) else (*path, written.index(former))
                said = "is the name of another entity" if former == owner else f"is a former name of {owner} too"
                mistakes.note(place, said)


def _check_paths(entities: tuple[Entity, ...], value: dict[Any, Any], mistakes: Mistakes) -> None:
    """The built-in entity comes first: where another has a path of its, that other is told, which is in the file."""
    owners: dict[str, str] = {}
    for entity in entities:
        table = value.get(entity.name)
        written = table.get("legacy") if isinstance(table, dict) else None
        paths = written if isinstance(written, dict) else entity.legacy._asdict() if entity.legacy else {}
        for key in Legacy._fields:
            path = paths.get(key)
            if isinstance(path, str) and owners.setdefault(path, entity.name) != entity.name:
                mistakes.note(("entities", entity.name, "legacy", key), f"is a path of {owners[path]} too")
