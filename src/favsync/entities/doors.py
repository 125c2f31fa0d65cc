"""Every door of every entity, as the router and the OpenAPI document know it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from favsync.catalog.entity import Entity, Scope
from favsync.core.errors import CursorExpired, FavsyncError, InsufficientScope, InvalidRecords, MalformedRequest
from favsync.entities.forms import Form
from favsync.entities.routes import Resource
from favsync.entities.schemas import ReceiptSchema, RecordSchema, example
from favsync.entities.view import Shown
from favsync.http.doors import EVENTS, Answer, Door
from favsync.identity.issuers import SYNC_ANY

_LIST: dict[str, Any] = {"type": "array", "items": RecordSchema}
_RECEIPTS: dict[str, Any] = {"type": "array", "items": ReceiptSchema}
_PRIVATE = ("Cache-Control", "Vary")
_STATE = ("ETag", "Sync-Cursor", "Link", *_PRIVATE)
_ENTITIES_SHOWN = 2  # in the example of a body that holds several
_NAMING = ("user", "namespace")
_READ = "Deleted ones included, ordered by item. With `after`, what changed since. Where there is a Link, follow it."
_LIVE = f" With `Accept: {EVENTS}`, as events, by when they changed, and then each that changes."
_WRITE = (
    "One receipt a record, in order; or, with `Prefer: return=representation`, the merged list, of which `after` gives "
    "what changed since."
)


def doors(entities: Sequence[Entity], *, max_batch: int) -> list[Door]:
    """`entities`: all that there are, each with its limit of items."""
    forms = {entity.name: Form(entity, named=True) for entity in entities}
    pairs = [pair for entity in entities for pair in _of_one(entity, forms[entity.name], max_batch)]
    return [make(pair) for pair in (*pairs, _of_all(entities, forms, max_batch)) for make in (_reading, _writing)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """A door that reads and one that writes. `naming`: the parameters by which a backend names a user."""

    resource: Resource
    get: str
    post: str
    body: Mapping[str, Any]
    example: object
    tag: str
    about: str
    naming: Sequence[str] = _NAMING
    write_scope: str | None = None
    deprecated: bool = False


def _of_one(entity: Entity, form: Form, max_batch: int) -> Iterator[_Pair]:
    shared = entity.scope is Scope.SHARED
    path = f"/sync/{entity.name}"
    pair = _Pair(
        resource=Resource(shown=Shown([entity], path, live=True), forms={entity.name: form}),
        get=path, post=path, body=_batch(form, max_batch), example=_records_of(entity),
        tag=entity.name, about=entity.description, naming=() if shared else _NAMING,
        write_scope=SYNC_ANY if shared else None,
    )  # fmt: skip
    yield pair
    for name in entity.names[1:]:
        path = f"/sync/{name}"
        resource = Resource(shown=Shown([entity], path, live=True), forms={name: form})
        yield replace(pair, resource=resource, get=path, post=path, deprecated=True)
    if entity.legacy:
        # The body is documented as what a token with sync:any may send: for others, fewer of its members mean anything.
        plain = {entity.name: Form(entity, named=False)}
        resource = Resource(shown=Shown([entity], entity.legacy.get), forms={entity.name: form}, plain=plain)
        yield replace(pair, resource=resource, get=entity.legacy.get, post=entity.legacy.post, naming=())


def _of_all(entities: Sequence[Entity], forms: Mapping[str, Form], max_batch: int) -> _Pair:
    by_any_name = {name: forms[entity.name] for entity in entities for name in entity.names}
    shown = Shown([entity for entity in entities if entity.scope is Scope.USER], "/sync", several=True)
    examples = ((entity.name, found) for entity in shown.entities if (found := _records_of(entity)) is not None)
    body = {
        "type": "object",
        "properties": {name: _batch(form, max_batch) for name, form in by_any_name.items()},
        "additionalProperties": False,
    }
    return _Pair(
        resource=Resource(shown=shown, forms=by_any_name), get="/sync", post="/sync", body=body,
        example=dict(islice(examples, min(_ENTITIES_SHOWN, max_batch))) or None,
        tag="all entities", about="What is the caller's own, by entity",
    )  # fmt: skip


def _reading(pair: _Pair) -> Door:
    live = pair.resource.shown.live
    return Door(
        method="GET", path=pair.get, handler=pair.resource.get, tag=pair.tag, deprecated=pair.deprecated,
        summary=pair.about or f"Gives {pair.tag}", description=_READ + (_LIVE if live else ""),
        parameters=["after", "page", "limit", *pair.naming, "If-None-Match", *(["Last-Event-ID"] if live else [])],
        answers={
            200: Answer(description="The records", schema=_records(pair.resource), headers=_STATE, events=live),
            304: Answer(description="Nothing changed", headers=["ETag", "Sync-Cursor", *_PRIVATE]),
        },
        errors=[MalformedRequest, CursorExpired, *_refusals(pair)],
    )  # fmt: skip


def _writing(pair: _Pair) -> Door:
    forms, several = pair.resource.forms, pair.resource.shown.several
    receipts = {
        "type": "object",
        "required": ["receipts"],
        "properties": {"receipts": _by_name(forms, _RECEIPTS) if several else _RECEIPTS},
    }
    return Door(
        method="POST", path=pair.post, handler=pair.resource.post, tag=pair.tag, deprecated=pair.deprecated,
        scope=pair.write_scope,
        summary=f"Takes records of {pair.tag}, and answers for each", description=_WRITE,
        parameters=["after", "limit", "Prefer", "Sync-Clock-Offset", *pair.naming],
        body=pair.body, example=pair.example,
        answers={
            200: Answer(
                description="Receipts, or what then stands", schema={"oneOf": [receipts, _records(pair.resource)]},
                headers=[*_STATE, "Preference-Applied"],
            ),
            204: Answer(description="All settled: `return=minimal`", headers=[*_PRIVATE, "Preference-Applied"]),
        },
        errors=[CursorExpired, InvalidRecords, *_refusals(pair)],
    )  # fmt: skip


def _refusals(pair: _Pair) -> list[type[FavsyncError]]:
    return [InsufficientScope] if pair.naming else []


def _batch(form: Form, max_batch: int) -> dict[str, Any]:
    return {"type": "array", "maxItems": max_batch, "items": form.schemas.either}


def _records_of(entity: Entity) -> list[dict[str, Any]] | None:
    """A body that may be sent, where one is to be had simply."""
    record = example(entity)
    return None if record is None else [record]


def _records(resource: Resource) -> dict[str, Any]:
    """What GET shows."""
    if not resource.shown.several:
        return _LIST
    names = [entity.name for entity in resource.shown.entities]
    return _by_name(names, _LIST) | {"required": names}


def _by_name(names: Iterable[str], of_one: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict.fromkeys(names, of_one)}
