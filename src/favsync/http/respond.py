"""JSON out."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

import orjson
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

from favsync.http import access, cors
from favsync.http.headers import accepts_gzip

GZIP_FROM_BYTES = 1024  # below, the packet is no smaller
_APART_FROM_BYTES = 65536  # a body that is not copied behind its headers, to go out in one piece with them

# What one user may see, no cache may show to another, or keep unasked.
PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept, Accept-Encoding, Prefer"}
_JSON = {"Content-Type": "application/json"}
_BODILESS = (204, 304)


async def stamp(request: web.Request, response: web.StreamResponse) -> None:
    """What every response gets before it goes out."""
    _stamp(request, response)


def _stamp(request: web.Request, response: web.StreamResponse) -> None:
    access.stamp(request, response)
    cors.stamp(request, response)


class Reply(web.StreamResponse):
    """A response whose body is bytes, and known: it goes out in one go, past what aiohttp does for all other kinds."""

    def __init__(self, body: bytes = b"", *, status: int = 200, headers: Mapping[str, str]) -> None:
        super().__init__(status=status, headers=headers)
        self._known = body

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self.prepared:
            return self._payload_writer
        self._req = request
        writer = self._payload_writer = request.writer
        body, headers, (major, minor) = self._known, self.headers, request.version
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        if not self._keep_alive:
            headers["Connection"] = "close"
        elif minor == 0:
            headers["Connection"] = "keep-alive"
        if self.status not in _BODILESS:
            headers["Content-Length"] = str(len(body))
        headers["Date"] = rfc822_formatted_time()
        _stamp(cast("web.Request", request), self)
        await writer.write_headers(f"HTTP/{major}.{minor} {self.status} {self.reason}", headers)
        if len(body) >= _APART_FROM_BYTES:
            writer.send_headers()
        await writer.write_eof(b"" if request.method == "HEAD" else body)
        self._known = b""  # aiohttp keeps a response until the next request on its connection comes
        self._eof_sent = True
        return writer


class _Packed(web.Response):
    """Likewise, of what aiohttp packs."""

    async def _do_start_compression(self, coding: web.ContentCoding) -> None:
        await super()._do_start_compression(coding)
        self._body = None  # packed, it is all that goes out

    async def write_eof(self, data: bytes = b"") -> None:
        await super().write_eof(data)
        self._compressed_body = None


def json_response(
    content: object, *, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})
) -> web.StreamResponse:
    return Reply(orjson.dumps(content), status=status, headers={**_JSON, **headers})


def private_json(
    request: web.Request, content: object, *, headers: Mapping[str, str] = MappingProxyType({})
) -> web.StreamResponse:
    """A user's own data: kept from shared caches, gzipped where that was asked for and is worth it."""
    return private_bytes(request, orjson.dumps(content), headers=headers)


def private_bytes(
    request: web.Request, body: bytes, *, headers: Mapping[str, str] = MappingProxyType({})
) -> web.StreamResponse:
    """Likewise, of what is JSON already."""
    head = {**PRIVATE, **_JSON, **headers}
    if len(body) < GZIP_FROM_BYTES or not accepts_gzip(request.headers):
        return Reply(body, headers=head)
    response = _Packed(body=body, headers=head)
    response.enable_compression(web.ContentCoding.gzip)
    return response


def not_modified(*, headers: Mapping[str, str]) -> web.StreamResponse:
    return Reply(status=304, headers={**PRIVATE, **headers})
