"""Errors on the wire: RFC 9457, from one table of exception to status."""

from http import HTTPStatus
from typing import Any

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from favsync.core import errors

_log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
REALM = "favsync"

# exception: status, name of its type, title
TABLE: dict[type[errors.FavsyncError], tuple[int, str, str]] = {
    errors.MalformedRequest: (400, "malformed-request", "The request cannot be read"),
    errors.Unauthenticated: (401, "unauthenticated", "A valid bearer token is needed"),
    errors.RequestTimeout: (408, "request-timeout", "The request did not come in time"),
    errors.CursorExpired: (410, "cursor-expired", "The cursor is not one to continue from"),
    errors.BodyTooLarge: (413, "body-too-large", "The body is too large"),
    errors.UnsupportedMediaType: (415, "unsupported-media-type", "The body is in a form that is not read"),
    errors.InvalidRecords: (422, "invalid-records", "What was sent is not valid"),
    errors.Unavailable: (503, "unavailable", "The database cannot be reached just now"),
    errors.LockTimeout: (503, "busy", "The records are held by somebody else"),
}

_PHRASES = {414: "URI Too Long"}  # where releases of Python differ


def response_to(error: errors.FavsyncError) -> web.Response:
    """The problem document of one of our errors; KeyError for one that has no row, which a test rules out."""
    status, name, title = TABLE[type(error)]
    extra: dict[str, Any] = {}
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
        case errors.Unavailable():
            headers["Retry-After"] = str(error.retry_after_s)
    response = _problem(status, name, title, {"detail": error.detail} | extra, headers)
    if isinstance(error, errors.RequestTimeout):
        response.force_close()
    return response


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns whatever a handler raises into a problem document."""
    try:
        return await handler(request)
    except tuple(TABLE) as error:
        return response_to(error)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        response = plain(error.status)
        response.headers.update({name: value for name, value in error.headers.items() if name == "Allow"})
        return response
    except Exception:  # noqa: BLE001 -- whatever it was, the caller gets an answer and the log the rest
        _log.exception("a request failed")
        return plain(500)


def plain(status: int) -> web.Response:
    """The problem document of a status that needs no words of ours."""
    phrase = _PHRASES.get(status) or HTTPStatus(status).phrase
    return _problem(status, phrase.lower().replace(" ", "-"), phrase, {"detail": HTTPStatus(status).description}, {})


def _problem(status: int, name: str, title: str, members: dict[str, Any], headers: dict[str, str]) -> web.Response:
    document = {"type": f"/problems/{name}", "title": title, "status": status, **members}
    return web.Response(status=status, body=orjson.dumps(document), content_type=CONTENT_TYPE, headers=headers)
