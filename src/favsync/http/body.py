"""JSON in, unpacked within bounds."""

import asyncio
import gc
import json
import re
import zlib
from collections.abc import Mapping
from email.message import Message
from typing import cast

import orjson
from aiohttp import web

from favsync.core.errors import BodyTooLarge, MalformedRequest, RequestTimeout, UnsupportedMediaType
from favsync.http import keys
from favsync.http.connections import Connection, Wait

EXPECTS_GO_ON = web.RequestKey("expects_go_on", bool)  # there, and true: the client waits for a 100 before its body

_PLAIN_TYPES = ("application/json", "application/json; charset=utf-8")  # as most say it, who need not be read
_CHARSETS = ("utf-8", "utf8", "us-ascii")
_CONTENT_TYPE_LENGTH_MAX = 256
_HALF_A_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
_SMALL_BYTES = 16 * 1024
_GZIP, _ZLIB, _RAW = 31, 15, -15  # zlib's wbits for each form


async def read_json(request: web.Request, *, max_bytes: int) -> object:
    """The JSON value in a request's body, as `read_body` gives it. Raises what that raises."""
    return parse_json(await read_body(request, max_bytes=max_bytes))


async def read_body(request: web.Request, *, max_bytes: int) -> bytes:
    """A request's body, unpacked, of which there may be `max_bytes`, before and after that.

    Raises UnsupportedMediaType, BodyTooLarge (before reading, where the length is announced), MalformedRequest, and
    RequestTimeout where it does not come in time.
    """
    headers = request.headers
    check_content_type(headers)
    if headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
        raise UnsupportedMediaType("A body may come in chunks, and in no other transfer coding.")
    fits = (request.content_length or 0) <= max_bytes
    body = await _receive(request, max_bytes) if fits else None
    if body is not None and "Content-Encoding" in headers:
        body = unpack(body, ", ".join(headers.getall("Content-Encoding")), max_bytes=max_bytes)
    if body is None or len(body) > max_bytes:
        raise BodyTooLarge(f"The body may have {max_bytes} bytes.")
    return body


async def _receive(request: web.Request, max_bytes: int) -> bytes | None:
    """The body as it came, None where it has more than `max_bytes`. Raises MalformedRequest, RequestTimeout."""
    connections, connection = request.app[keys.CONNECTIONS], cast("Connection", request.protocol)
    to_come = not request.content.is_eof()
    if not to_come and request.content.exception() is None:  # it came with the head, as most do
        request[EXPECTS_GO_ON] = False
        whole = request.content.read_nowait()
        return whole if len(whole) <= max_bytes else None
    body = bytearray()
    if to_come:
        length = request.content_length
        connections.wait(connection, Wait.BODY, held_bytes=max_bytes if length is None else length)
    go_on = request.get(EXPECTS_GO_ON, False)
    request[EXPECTS_GO_ON] = False
    try:
        if go_on and to_come:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # so that the answer is not taken for begun
        async with asyncio.timeout(request.app[keys.SETTINGS].body_timeout):
            async for part in request.content.iter_any():
                body += part
                if len(body) > max_bytes:
                    return None
    except TimeoutError:
        raise RequestTimeout from None
    except (web.RequestPayloadError, ConnectionError) as error:  # the second: the client has hung up
        raise MalformedRequest("The body broke off.") from error
    finally:
        connections.work(connection)
    return bytes(body)


def check_content_type(headers: Mapping[str, str]) -> None:
    """A missing Content-Type is taken as JSON; UnsupportedMediaType for another one, or another charset."""
    declared = headers.get("Content-Type", "").strip()
    if not declared or declared in _PLAIN_TYPES:
        return
    if len(declared) > _CONTENT_TYPE_LENGTH_MAX:  # reading one takes time by the square of its length
        raise UnsupportedMediaType
    message = Message()
    message["Content-Type"] = declared
    charset = message.get_content_charset() or "utf-8"
    if message.get_content_type() != "application/json" or charset not in _CHARSETS:
        raise UnsupportedMediaType


def unpack(body: bytes, coding: str, *, max_bytes: int) -> bytes:
    """The body without its Content-Encoding; of what unpacks to more than `max_bytes`, the beginning and one byte.

    Raises UnsupportedMediaType for a coding other than gzip and deflate, MalformedRequest for a body not in it.
    """
    match coding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            form = _GZIP
        case "deflate":  # RFC 9110 means zlib's form, and some send the bare one
            form = _ZLIB if body[:1] and body[0] & 0x0F == zlib.DEFLATED else _RAW
        case _:
            raise UnsupportedMediaType("A body may be packed with gzip or deflate, once.")
    unpacker = zlib.decompressobj(form)
    try:
        unpacked = unpacker.decompress(body, max_bytes + 1)
    except zlib.error:
        raise MalformedRequest("The body is not in its Content-Encoding.") from None
    if len(unpacked) <= max_bytes and (not unpacker.eof or unpacker.unused_data):
        raise MalformedRequest("The body is not in its Content-Encoding.")
    return unpacked


def parse_json(body: bytes) -> object:
    """The JSON value in `body`; MalformedRequest with the place where reading ended."""
    if len(body) <= _SMALL_BYTES:
        return _parse_json(body)
    collects = gc.isenabled()
    gc.disable()  # it would look at all values again and again while they come
    try:
        return _parse_json(body)
    finally:
        if collects:
            gc.enable()


def _parse_json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # The grammar of JSON allows half a surrogate pair, which orjson refuses for the body as a whole. Read it the
        # slow way, so that validation can say which record holds it.
        if not _HALF_A_PAIR.search(body):
            raise MalformedRequest(f"The body is not JSON: {error}.") from None
        try:
            return json.loads(body.decode(), parse_int=_integer, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise MalformedRequest(f"The body is not JSON: {error}.") from None


def _integer(digits: str) -> float:
    """As orjson has it: what no 64 bits hold is a float, so that the same record is the same whoever reads it."""
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else float(digits)


def _refuse(name: str) -> None:
    raise ValueError(name)
