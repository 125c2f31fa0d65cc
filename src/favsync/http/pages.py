"""For people: what each problem means, and the documentation, from files that are here."""

import functools
import gzip
import hashlib
import importlib.util
from pathlib import Path

from aiohttp import web

from favsync.http import problems
from favsync.http.doors import Answer, Door
from favsync.http.headers import accepts_gzip, none_match

_HTML = "text/html"
# Swagger UI styles its elements in place; nothing else comes from anywhere but here.
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
_SAFE = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_REVALIDATED = {"Cache-Control": "public, no-cache", "Vary": "Accept-Encoding"}
_FILE_HEADERS = [*_SAFE, *_REVALIDATED, "ETag"]

_DOCS = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>favsync</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger_style.css">
<div id="ui"></div>
<script src="/docs/swagger_bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
"""
# HEAD and OPTIONS are in the document, and would only be in a reader's way.
_START = """fetch("/openapi.json").then(answer => answer.json()).then(spec => {
  for (const path of Object.values(spec.paths)) { delete path.head; delete path.options; }
  SwaggerUIBundle({spec, dom_id: "#ui", deepLinking: true, tryItOutEnabled: true, validatorUrl: null});
});
"""
_TYPES = {"swagger_bundle.js": "text/javascript", "swagger_style.css": "text/css", "start.js": "text/javascript"}


async def problem(request: web.Request) -> web.Response:
    """The page that a problem's `type` leads to."""
    one = problems.ALL.get(request.match_info["name"])
    if one is None:
        raise web.HTTPNotFound
    return web.Response(text=problems.page(one), content_type=_HTML, headers=_SAFE)


async def docs(_request: web.Request) -> web.Response:
    return web.Response(text=_DOCS, content_type=_HTML, headers=_SAFE)


async def docs_file(request: web.Request) -> web.Response:
    name = request.path.rpartition("/")[2]
    plain, packed, etag = _file(name)
    headers = _SAFE | _REVALIDATED | {"ETag": etag}
    if none_match(request.headers, etag):
        return web.Response(status=304, headers=headers)
    if accepts_gzip(request.headers):
        plain = packed
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=plain, headers=headers | {"Content-Type": f"{_TYPES[name]}; charset=utf-8"})


@functools.cache
def _file(name: str) -> tuple[bytes, bytes, str]:
    """A file as it is, packed once for everybody, and its tag."""
    plain = _START.encode() if name == "start.js" else (_package() / name).read_bytes()
    return plain, gzip.compress(plain), f'W/"{hashlib.sha256(plain).hexdigest()[:32]}"'


def _package() -> Path:
    spec = importlib.util.find_spec("offapi")  # not imported: that would read nine megabytes
    if spec is None or spec.origin is None:
        raise FileNotFoundError("offapi is not installed")
    return Path(spec.origin).parent


def doors() -> list[Door]:
    page = {200: Answer(description="A page", content_type=_HTML, headers=list(_SAFE))}
    return [
        Door(
            method="GET", path="/problems/{name}", handler=problem, public=True, summary="What a problem means",
            choices=list(problems.ALL), answers=page,
        ),
        Door(method="GET", path="/docs", handler=docs, public=True, summary="A page to try things on", answers=page),
        *(
            Door(
                method="GET", path=f"/docs/{name}", handler=docs_file, public=True, summary="What that page is made of",
                answers={
                    200: Answer(description="A file", content_type=content_type, headers=_FILE_HEADERS),
                    304: Answer(description="Nothing changed", headers=_FILE_HEADERS),
                },
                parameters=["If-None-Match"],
            )
            for name, content_type in _TYPES.items()
        ),
    ]  # fmt: skip
