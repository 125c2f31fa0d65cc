"""JSON in."""

import json
from collections.abc import Mapping
from email.message import Message

import orjson
from aiohttp import web

from favsync.core.errors import BodyTooLarge, MalformedRequest, UnsupportedMediaType


async def read_json(request: web.Request, *, max_bytes: int) -> object:
    """The JSON value in a request's body.

    Raises UnsupportedMediaType, BodyTooLarge (before reading, where the length is announced), MalformedRequest.
    """
    check_content_type(request.headers)
    too_large = BodyTooLarge(f"The body may have {max_bytes} bytes.")
    if (request.content_length or 0) > max_bytes:
        raise too_large
    try:
        body = await request.read()  # bounded by the application's client_max_size, decompressed
    except web.HTTPRequestEntityTooLarge:
        raise too_large from None
    except web.RequestPayloadError as error:
        raise MalformedRequest("The body broke off, or is not in its Content-Encoding.") from error
    return parse_json(body)


def check_content_type(headers: Mapping[str, str]) -> None:
    """A missing Content-Type is taken as JSON; UnsupportedMediaType for another one, or another charset."""
    declared = headers.get("Content-Type", "").strip()
    if not declared:
        return
    message = Message()
    message["Content-Type"] = declared
    charset = message.get_content_charset() or "utf-8"
    if message.get_content_type() != "application/json" or charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType


def parse_json(body: bytes) -> object:
    """The JSON value in `body`; MalformedRequest with the place where reading ended."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # The grammar of JSON allows half a surrogate pair, which orjson refuses for the body as a whole. Read it the
        # slow way, so that validation can say which record holds it.
        try:
            return json.loads(body.decode(), parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise MalformedRequest(f"The body is not JSON: {error}.") from None


def _refuse(name: str) -> None:
    raise ValueError(name)
