"""Errors on the wire: RFC 9457, from one table of exception to status, and the page that each `type` leads to."""

import html
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from favsync.core import errors

_log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
REALM = "favsync"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "A path that leads to a page about it"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "scope": {"type": "string", "description": "What the token lacks"},
        "resync": {"type": "string", "description": "Of a cursor that has ended: what to read, from the beginning"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "pointer", "detail"],
                "properties": {
                    "index": {"type": ["integer", "null"], "description": "Of the record; null: the body itself"},
                    "pointer": {"type": "string", "description": "RFC 6901"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


class Problem(NamedTuple):
    """`name`: the last part of its type. `advice`: what a client does about it."""

    status: int
    name: str
    title: str
    advice: str


_AGAIN = "Wait as long as Retry-After says, then send the very same request again: what was stored is then a duplicate."

TABLE: dict[type[errors.FavsyncError], Problem] = {
    errors.MalformedRequest: Problem(
        400, "malformed-request", "The request cannot be read", "Mend the client: `detail` names the place."
    ),
    errors.Unauthenticated: Problem(
        401, "unauthenticated", "A valid bearer token is needed",
        "Get a new token from where users sign in, keep everything that was to be sent, and send it again.",
    ),
    errors.InsufficientScope: Problem(
        403, "insufficient-scope", "The token does not allow this",
        "Ask the issuer for a token with the scope that `scope` names. The issuer must be allowed to grant it, too.",
    ),
    errors.NotThere: Problem(
        404, "not-found", "Not found", "Nothing is at this path; `/openapi.json` lists what may be."
    ),
    errors.RequestTimeout: Problem(
        408, "request-timeout", "The request did not come in time", "Send it again, on a new connection."
    ),
    errors.CursorExpired: Problem(
        410, "cursor-expired", "The cursor is not one to continue from",
        "Drop the cursor, read everything without `after`, at `resync`, and merge. Nothing you hold is wrong: it may "
        "be incomplete. Of a feed: what you hold, and do not meet again, was deleted.",
    ),
    errors.BodyTooLarge: Problem(
        413, "body-too-large", "The body is too large", "Send fewer records at a time; `GET /` tells the limit."
    ),
    errors.UnsupportedMediaType: Problem(
        415, "unsupported-media-type", "The body is in a form that is not read",
        "Send application/json in UTF-8, plain, or packed once with gzip or deflate.",
    ),
    errors.InvalidRecords: Problem(
        422, "invalid-records", "What was sent is not valid",
        "Each of `errors` leads to a fault by `index` and `pointer`. Put those records aside and send the others, or "
        "send all with `Prefer: handling=lenient`, which stores the others at once.",
    ),
    errors.TooManyRequests: Problem(
        429, "too-many-requests", "Too many requests", "Wait as long as Retry-After says. `GET /` tells the limits."
    ),
    errors.Unavailable: Problem(503, "unavailable", "The database cannot be reached just now", _AGAIN),
    errors.LockTimeout: Problem(503, "busy", "The records are held by somebody else", _AGAIN),
    errors.Overloaded: Problem(503, "overloaded", "Too much is asked for at once", _AGAIN),
    errors.IssuerUnavailable: Problem(
        503, "issuer-unavailable", "The issuer of the token does not answer",
        "Your token may well be good. Wait as long as Retry-After says, and send the same request again.",
    ),
}  # fmt: skip


# What is refused before, or beside, anything of ours.
PLAIN = {
    problem.status: problem
    for problem in (
        Problem(400, "bad-request", "Bad request", "What was sent is not HTTP as RFC 9112 has it. Mend the client."),
        TABLE[errors.NotThere],
        Problem(405, "method-not-allowed", "Method not allowed", "The header Allow says what this path answers."),
        TABLE[errors.RequestTimeout],
        Problem(414, "uri-too-long", "URI too long", "Mend the client: nothing here needs a line of that length."),
        Problem(431, "request-header-fields-too-large", "Request header fields too large", "Send fewer headers."),
        Problem(500, "internal-server-error", "Internal server error", "A fault of this service. " + _AGAIN),
    )
}


# All problems there are, by name, in the order of their statuses.
ALL = {problem.name: problem for problem in sorted({*TABLE.values(), *PLAIN.values()})}


def response_to(error: errors.FavsyncError, **extra: Any) -> web.Response:  # noqa: ANN401 -- any JSON
    """The problem document of one of our errors; KeyError for one that has no row, which a test rules out.

    `extra`: members beyond those that the error itself has.
    """
    headers: dict[str, str] = {}
    match error:
        case errors.InvalidRecords(faults=faults):
            extra["errors"] = [
                {"index": fault.index, "pointer": fault.pointer, "detail": fault.detail} for fault in faults
            ]
        case errors.Unauthenticated(token_sent=True):
            description = error.detail.replace('"', "'")
            headers["WWW-Authenticate"] = (
                f'Bearer realm="{REALM}", error="invalid_token", error_description="{description}"'
            )
        case errors.Unauthenticated():
            headers["WWW-Authenticate"] = f'Bearer realm="{REALM}"'
        case errors.InsufficientScope(scope=scope):
            extra["scope"] = scope
            headers["WWW-Authenticate"] = f'Bearer realm="{REALM}", error="insufficient_scope", scope="{scope}"'
        case errors.Unavailable() | errors.TooManyRequests():
            headers["Retry-After"] = str(error.retry_after_s)
    response = _response(TABLE[type(error)], {"detail": error.detail} | extra, headers)
    if isinstance(error, errors.RequestTimeout):
        response.force_close()
    return response


def answer_to(error: Exception, path: str) -> web.Response:
    """What whoever asked for `path` is told of what a handler raised; an answer that was raised on purpose goes on."""
    if isinstance(error, errors.FavsyncError) and type(error) in TABLE:
        # It holds the frames that it came through, and one of these holds it: with them goes the body.
        error.__traceback__ = None
        return response_to(error, resync=path) if isinstance(error, errors.CursorExpired) else response_to(error)
    if isinstance(error, web.HTTPException):
        if error.status < HTTPStatus.BAD_REQUEST:
            raise error
        response = plain(error.status)
        response.headers.update({name: value for name, value in error.headers.items() if name == "Allow"})
        return response
    _log.error("a request failed", exc_info=error)
    return plain(500)


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns whatever a handler raises into a problem document."""
    try:
        return await handler(request)
    except Exception as error:  # noqa: BLE001 -- whatever it was, the caller gets an answer and the log the rest
        return answer_to(error, request.path)


def plain(status: int) -> web.Response:
    """The problem document of a status that needs no words of ours."""
    kind = PLAIN.get(status) or PLAIN[500 if status >= HTTPStatus.INTERNAL_SERVER_ERROR else 400]
    return _response(kind._replace(status=status), {"detail": kind.advice}, {})


def page(problem: Problem) -> str:
    """What a person reads who follows a `type`: HTML."""
    title, advice = html.escape(problem.title), html.escape(problem.advice)
    rows = "".join(f'<li><a href="/problems/{other.name}">{other.status} {other.name}</a>' for other in ALL.values())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><body>'
        f"<h1>{problem.status} {problem.name}</h1><p>{title}.</p><p>{advice}</p>"
        f"<h2>All problems</h2><ul>{rows}</ul></body></html>\n"
    )


def _response(problem: Problem, members: dict[str, Any], headers: dict[str, str]) -> web.Response:
    document = {"type": f"/problems/{problem.name}", "title": problem.title, "status": problem.status, **members}
    return web.Response(status=problem.status, body=orjson.dumps(document), content_type=CONTENT_TYPE, headers=headers)
