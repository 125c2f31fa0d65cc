"""JSON out."""

from collections.abc import Mapping

import orjson
from aiohttp import web

from favsync.http.headers import accepts_gzip

GZIP_FROM_BYTES = 1024  # below, the packet is no smaller

# What one user may see, no cache may show to another, or keep unasked.
PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept, Accept-Encoding, Prefer"}


def json_response(content: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status, body=orjson.dumps(content), content_type="application/json", headers=dict(headers or {})
    )


def private_json(request: web.Request, content: object, *, headers: Mapping[str, str] | None = None) -> web.Response:
    """A user's own data: kept from shared caches, gzipped where that was asked for and is worth it."""
    return private_bytes(request, orjson.dumps(content), headers=headers)


def private_bytes(request: web.Request, body: bytes, *, headers: Mapping[str, str] | None = None) -> web.Response:
    """Likewise, of what is JSON already."""
    response = web.Response(body=body, content_type="application/json", headers=PRIVATE | dict(headers or {}))
    if len(body) >= GZIP_FROM_BYTES and accepts_gzip(request.headers):
        response.enable_compression(web.ContentCoding.gzip)
    return response


def not_modified(*, headers: Mapping[str, str]) -> web.Response:
    return web.Response(status=304, headers={**PRIVATE, **headers})
