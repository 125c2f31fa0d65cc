"""The OpenAPI 3.1 document, made from the doors and from the schemas that validate."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from aiohttp import web
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from favsync import __version__
from favsync.core import errors
from favsync.core.record import SUBJECT_LENGTH_MAX
from favsync.http import cors, problems
from favsync.http.doors import (
    EVENTS,
    FEED_LIMIT_DEFAULT,
    FEED_LIMIT_MAX,
    JSON,
    LIMIT_MAX,
    WAIT_MAX_S,
    Answer,
    Door,
)
from favsync.http.respond import json_response

DOCUMENT = web.AppKey("openapi", dict[str, Any])

_ABOUT = (
    "Two-way synchronisation of favourites and other per-user records. The newest `actionDate` wins, whatever the "
    "order of arrival; what is acknowledged is on disk."
)

# Every response has these.
_COMMON_HEADERS = ("Sync-Time", "X-Request-ID")
_LATER = ("Retry-After",)
_ERROR_HEADERS = {401: ("WWW-Authenticate",), 403: ("WWW-Authenticate",), 429: _LATER, 503: _LATER}


def _text(description: str, **schema: Any) -> dict[str, Any]:  # noqa: ANN401 -- any JSON schema
    return {"description": description, "schema": {"type": "string", **schema}}


HEADERS: dict[str, dict[str, Any]] = {
    "Sync-Time": _text("The server's clock, RFC 3339 in GMT: a client learns from it how far its own is off"),
    "X-Request-ID": _text("The request's own, where it sent a sane one"),
    "ETag": _text("Of this user's state, for If-None-Match"),
    "Sync-Cursor": _text("For `after`: keep it once you have stored what came with it"),
    "Cache-Control": _text("Private, and never used unasked"),
    "Vary": _text("What the answer depends on"),
    "Link": _text('`rel="next"`: where the rest is. RFC 8288'),
    "Preference-Applied": _text("Which of the preferences were honoured. RFC 7240"),
    "WWW-Authenticate": _text('RFC 6750; with error="invalid_token" only where a token was sent'),
    "Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 1}},
    "Allow": _text("The methods of this path"),
    "Content-Security-Policy": _text("Nothing comes from elsewhere"),
    "X-Content-Type-Options": _text("nosniff"),
    "Referrer-Policy": _text("no-referrer"),
    "X-Accel-Buffering": _text("no: a stream of events, of which no proxy may hold anything back"),
}

PARAMETERS: dict[str, dict[str, Any]] = {
    "after": {
        "in": "query", "name": "after", "description": "A Sync-Cursor: only what changed since",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{34}$"},
    },
    "page": {
        "in": "query", "name": "page", "description": "What a Link leads to: the list from there on",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{38,1396}$"},
    },
    "limit": {
        "in": "query", "name": "limit", "description": "Records in one answer, at most; a Link leads to the others",
        "schema": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX},
    },
    "user": {
        "in": "query", "name": "user", "description": "Whose records, for a token with `sync:any`: a `sub`",
        "schema": {"type": "string", "minLength": 1, "maxLength": SUBJECT_LENGTH_MAX, "pattern": "^[^\\x00]*$"},
    },
    "namespace": {
        "in": "query", "name": "namespace", "description": "Of that user; without it, the caller's own",
        "schema": {"type": "string"},
    },
    "feed_after": {
        "in": "query", "name": "after", "description": "A `cursor` of this feed: only what comes behind it",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{44}$"},
    },
    "feed_limit": {
        "in": "query", "name": "limit", "description": "Changes in one answer, at most",
        "schema": {"type": "integer", "minimum": 1, "maximum": FEED_LIMIT_MAX, "default": FEED_LIMIT_DEFAULT},
    },
    "wait": {
        "in": "query", "name": "wait", "description": "Seconds to wait for changes, where there are none",
        "schema": {"type": "integer", "minimum": 0, "maximum": WAIT_MAX_S, "default": 0},
    },
    "Last-Event-ID": {
        "in": "header", "name": "Last-Event-ID", "description": "Of a stream of events: the `id` to go on behind",
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "in": "header", "name": "If-None-Match", "description": "An ETag: 304 where nothing changed",
        "schema": {"type": "string"},
    },
    "Prefer": {
        "in": "header", "name": "Prefer",
        "description": "`return=minimal` (204), `return=representation` (the merged list), `handling=lenient` (store "
        "the valid records, report the others). RFC 7240; what is not known is passed over",
        "schema": {"type": "string"},
    },
    "Sync-Clock-Offset": {
        "in": "header", "name": "Sync-Clock-Offset",
        "description": "Milliseconds that the server adds to each date: its time minus the client's own",
        "schema": {"type": "string", "pattern": "^[+-]?[0-9]{1,13}$"},
    },
}  # fmt: skip


def document(doors: Sequence[Door]) -> dict[str, Any]:
    """The document as JSON has it."""
    plugin = MarshmallowPlugin()
    spec = APISpec(
        "favsync", __version__, "3.1.0", plugins=[plugin],
        info={"description": _ABOUT, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
    )  # fmt: skip
    for tag in dict.fromkeys(door.tag for door in doors):
        spec.tag({"name": tag})
    spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    spec.components.schema("Problem", problems.SCHEMA)
    for name, header in HEADERS.items():
        spec.components.header(name, header)
    for name, parameter in PARAMETERS.items():
        spec.components.parameter(name, parameter["in"], {**parameter, "required": False})
    paths: dict[str, dict[str, Any]] = {}
    for door in doors:
        operations = paths.setdefault(door.path, {})
        operations[door.method.lower()] = _operation(door)
        if door.method == "GET":
            operations["head"] = _head(door)
    for path, operations in paths.items():
        operations["options"] = _options(path)
    _tell_apart([operation for operations in paths.values() for operation in operations.values()])
    for path, operations in paths.items():
        spec.path(path, operations=operations)
    return spec.to_dict()


async def show(request: web.Request) -> web.StreamResponse:
    """This service's document."""
    return json_response(request.app[DOCUMENT])


def doors() -> list[Door]:
    described = Answer(
        description="An OpenAPI 3.1 document", schema={"type": "object", "required": ["openapi", "paths"]}
    )
    return [
        Door(
            method="GET", path="/openapi.json", handler=show, public=True, summary="This document",
            answers={200: described},
        )
    ]  # fmt: skip


def _operation(door: Door) -> dict[str, Any]:
    responses = {str(status): _response(answer) for status, answer in door.answers.items()}
    for status, kinds in _errors(door).items():
        responses.setdefault(str(status), _error(status, kinds))
    operation: dict[str, Any] = {
        "operationId": _name(door.method, door.path),
        "summary": door.summary,
        "tags": [door.tag],
        "responses": dict(sorted(responses.items())),
        "security": [] if door.public else [{"bearer": [door.scope] if door.scope else []}],
    }
    if door.deprecated:
        operation["deprecated"] = True
    if door.description:
        operation["description"] = door.description
    if parameters := [*_path_parameters(door.path, door.choices), *door.parameters]:
        operation["parameters"] = parameters
    if door.body is not None:
        example = {} if door.example is None else {"example": door.example}
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": door.body, **example}}}
    return operation


def _errors(door: Door) -> dict[int, list[str]]:
    """The statuses of a door's errors, with the titles of each."""
    kinds = [*door.errors, errors.TooManyRequests]
    if not door.public:
        kinds += [errors.Unauthenticated, errors.Unavailable, errors.LockTimeout, errors.Overloaded]
        kinds.append(errors.IssuerUnavailable)
    if door.scope is not None:
        kinds.append(errors.InsufficientScope)
    if door.body is not None:
        kinds += [errors.MalformedRequest, errors.RequestTimeout, errors.BodyTooLarge, errors.UnsupportedMediaType]
    found: dict[int, list[str]] = {}
    plain = [problems.PLAIN[status] for status in (400, *([404] if door.choices else []), 414, 431, 500)]
    for problem in [*map(problems.TABLE.__getitem__, dict.fromkeys(kinds)), *plain]:
        found.setdefault(problem.status, []).append(problem.title)
    return found


def _response(answer: Answer) -> dict[str, Any]:
    headers = [*answer.headers, *(("X-Accel-Buffering",) if answer.events else ())]
    described: dict[str, Any] = {"description": answer.description, "headers": _headers(headers)}
    if answer.schema is not None:
        described["content"] = {answer.content_type: {"schema": answer.schema}}
    elif answer.content_type != JSON:
        described["content"] = {answer.content_type: {"schema": {"type": "string"}}}
    if answer.events:
        described["content"][EVENTS] = {"schema": {"type": "string", "description": "id: a cursor, data: one of them"}}
    return described


def _error(status: int, titles: list[str]) -> dict[str, Any]:
    return {
        "description": "; ".join(titles),
        "headers": _headers(_ERROR_HEADERS.get(status, ())),
        "content": {problems.CONTENT_TYPE: {"schema": "Problem"}},
    }


def _head(door: Door) -> dict[str, Any]:
    """As GET, without a body."""
    operation = _operation(door)
    bare = {
        status: {key: value for key, value in response.items() if key != "content"}
        for status, response in operation["responses"].items()
    }
    return operation | {
        "operationId": _name("HEAD", door.path),
        "summary": f"{door.summary}: the headers alone",
        "responses": bare,
    }


def _options(path: str) -> dict[str, Any]:
    """What `doors.register` adds to each path."""
    allowed = Answer(description="What this path allows; with CORS headers for configured origins", headers=["Allow"])
    return _operation(
        Door(
            method="OPTIONS", path=path, handler=cors.preflight(()), public=True, summary="What this path allows",
            answers={204: allowed},
        )
    )  # fmt: skip


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*_COMMON_HEADERS, *names)}


def _path_parameters(path: str, choices: Sequence[str]) -> list[dict[str, Any]]:
    names = [word[1:-1] for word in path.split("/") if word.startswith("{")]
    schema = {"type": "string", "enum": list(choices)} if choices else {"type": "string"}
    return [{"in": "path", "name": name, "required": True, "schema": schema} for name in names]


def _tell_apart(operations: Iterable[dict[str, Any]]) -> None:
    """Gives the later ones of one name another: of /sync/notes, /sync/Notes and /syncNotes."""
    taken: set[str] = set()
    for operation in operations:
        name = operation["operationId"]
        free = (f"{name}{number}" for number in itertools.count(2))
        operation["operationId"] = name if name not in taken else next(one for one in free if one not in taken)
        taken.add(operation["operationId"])


def _name(method: str, path: str) -> str:
    words = [word.strip("{}") for word in path.replace(".", "/").split("/") if word]
    return method.lower() + "".join(word[:1].upper() + word[1:] for word in words or ["index"])
