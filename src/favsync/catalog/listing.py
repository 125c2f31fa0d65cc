"""The entities as an operator reads them."""

from collections.abc import Iterator, Mapping, Sequence

from marshmallow import fields

from favsync.catalog.entity import Entity, Scope
from favsync.catalog.kinds import List, Object
from favsync.catalog.mistakes import word
from favsync.catalog.types import Judged

_HEAD = ("ENTITY", "SCOPE", "UNKNOWN", "ITEMS", "PATHS")


def listing(entities: Sequence[Entity], max_items: int) -> str:
    """A line for each entity, and below it one for each field. `max_items`: of a user, where nothing else is said."""
    heads = [_HEAD, *(_head(entity, max_items) for entity in entities)]
    bodies: list[list[tuple[str, ...]]] = [[], *([*_fields(entity.fields().fields)] for entity in entities)]
    head_widths = _widths(heads)
    field_widths = _widths([row for body in bodies for row in body])
    lines = []
    for head, body in zip(heads, bodies, strict=True):
        lines.append(_line(head, head_widths))
        lines += ["  " + _line(row, field_widths) for row in body]
    return "\n".join(lines)


def summary(entity: Entity) -> str:
    """An entity in a few words."""
    count = len(entity.fields().fields)
    return f"{entity.scope}, {count or 'no'} field{'' if count == 1 else 's'}, unknown: {entity.unknown}"


def _head(entity: Entity, max_items: int) -> tuple[str, ...]:
    limit = entity.max_items or (max_items if entity.scope is Scope.USER else None)
    paths = [f"/sync/{name}" for name in entity.names]
    if entity.legacy:
        paths += [f"GET {entity.legacy.get}", f"POST {entity.legacy.post}"]
    return entity.name, entity.scope, entity.unknown, str(limit or "any"), ", ".join(paths)


def _fields(members: Mapping[str, fields.Field[object]], prefix: str = "") -> Iterator[tuple[str, ...]]:
    for field in members.values():
        if isinstance(field, Judged):
            yield from _field(field, prefix + word(str(field.data_key)))


def _field(field: Judged, place: str) -> Iterator[tuple[str, ...]]:
    rules = [
        *(["required"] if field.required else []), *(["may be null"] if field.allow_null else []), *field.kind.rules()
    ]  # fmt: skip
    yield place, field.kind.name, ", ".join(rules)
    if isinstance(field.kind, List) and field.kind.item:
        yield from _field(field.kind.item, f"{place}[]")
    if isinstance(field.kind, Object) and field.kind.members:
        yield from _fields(field.kind.members.fields, f"{place}.")


def _widths(rows: Sequence[tuple[str, ...]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _line(row: tuple[str, ...], widths: Sequence[int]) -> str:
    return "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
