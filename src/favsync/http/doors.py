"""Doors: each route with who may pass, what it takes and what it answers.

The router and the OpenAPI document are both made from these, so that neither knows a route that the other does not.
"""

import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import marshmallow
from aiohttp import web
from aiohttp.typedefs import Handler

from favsync.core.errors import FavsyncError, InsufficientScope
from favsync.http import access, cors, keys, limits
from favsync.http.auth import identify

JSON = "application/json"
EVENTS = "text/event-stream"
LIMIT_MAX = 10_000  # what `limit` may ask for
FEED_LIMIT_MAX = 5000  # likewise, of a feed
FEED_LIMIT_DEFAULT = 1000
WAIT_MAX_S = 60
Schema = type[marshmallow.Schema] | marshmallow.Schema | Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One way in which a door answers. `schema`: a marshmallow or a JSON schema; None where there is no body.

    `headers`: names from `openapi.HEADERS`, beyond those that every response has. `events`: who accepts a stream of
    events gets that instead.
    """

    description: str
    schema: Schema | None = None
    content_type: str = JSON
    headers: Sequence[str] = ()
    events: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """`GET` answers HEAD too. A handler gets the request, and, unless the door is `public`, the caller.

    `scope`: what the caller's token must allow. `parameters`: names from `openapi.PARAMETERS`. `example`: a body that
    is taken, where there is one to show. `errors`: beyond those that follow from the rest. `choices`: what may stand in
    the path for its one variable; else 404.
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[web.StreamResponse]]
    summary: str
    answers: Mapping[int, Answer]
    public: bool = False
    scope: str | None = None
    parameters: Sequence[str] = ()
    body: Schema | None = None
    example: object = None
    errors: Sequence[type[FavsyncError]] = ()
    choices: Sequence[str] = ()
    description: str = ""
    tag: str = "service"
    deprecated: bool = False


def register(app: web.Application, doors: Iterable[Door]) -> None:
    """Adds the routes, with HEAD beside each GET, and OPTIONS."""
    for path, group in itertools.groupby(sorted(doors, key=attrgetter("path")), key=attrgetter("path")):
        resource = app.router.add_resource(path)
        methods = []
        for door in group:
            handler = _enter(app, door)
            names = ["GET", "HEAD"] if door.method == "GET" else [door.method]
            for name in names:
                resource.add_route(name, handler)
            methods += names
        resource.add_route("OPTIONS", cors.preflight([*methods, "OPTIONS"]))


def _enter(app: web.Application, door: Door) -> Handler:
    if door.public:
        return door.handler
    limiter = app[keys.USER_LIMITER]

    async def enter(request: web.Request) -> web.StreamResponse:
        caller = await identify(request)
        access.note_owner(request, caller.owner)
        limits.check(limiter, caller.owner)
        if door.scope is not None and door.scope not in caller.scopes:
            raise InsufficientScope(door.scope)
        return await door.handler(request, caller)

    return enter
