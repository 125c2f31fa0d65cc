"""Under the application: the server that makes connections."""

import functools
from typing import Any, cast

from aiohttp import HttpVersion11, web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.typedefs import Handler
from multidict import CIMultiDict, CIMultiDictProxy

from favsync.http import keys
from favsync.http.body import EXPECTS_GO_ON
from favsync.http.protocol import FIELD_BYTES_MAX, LINE_BYTES_MAX, Connection

DRAIN_S = 2.0  # aiohttp waits for it twice: until requests end, and until they are cancelled
LINGER_S = 5.0  # for a body that nobody reads: a client that is cut off while it sends may not see its answer
READ_BUFFER_BYTES = 64 * 1024


class Entrance:
    """From a request to its handler, through the same middlewares as aiohttp's own way, by one look into a table.

    That is for paths without variables; it saves 20 us.
    """

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._known: dict[tuple[str, str], tuple[web.UrlMappingMatchInfo, Handler]] = {}
        for route in app.router.routes():
            if isinstance(route.resource, web.PlainResource):
                match = web.UrlMappingMatchInfo({}, route)
                match.add_app(app)
                match.freeze()
                handler = route.handler
                for middleware in reversed(app.middlewares):
                    handler = functools.partial(middleware, handler=handler)
                self._known[route.method, route.resource.canonical] = match, handler

    async def handle(self, request: web.Request) -> web.StreamResponse:
        known = self._known.get((request.method, request.rel_url.raw_path))
        if known is None:
            return await self._app._handle(request)  # noqa: SLF001 -- there is no other way in
        request._match_info, handler = known  # noqa: SLF001 -- as aiohttp's own does
        return await handler(request)


class Runner(web.AppRunner):
    """Runs the application; what the parser refuses is answered like every other error.

    aiohttp would repeat what it could not read, which may be a token, in its answer and in its log.
    """

    def __init__(self, app: web.Application) -> None:
        settings = app[keys.SETTINGS]
        super().__init__(
            app,
            access_log=None,
            shutdown_timeout=DRAIN_S,
            # `Connections` ends what is idle; aiohttp, which takes half a head for idle, must not come first.
            keepalive_timeout=settings.keepalive_timeout + 2 * settings.head_timeout,
            lingering_time=LINGER_S,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=FIELD_BYTES_MAX,
            read_bufsize=READ_BUFFER_BYTES,
            auto_decompress=False,  # aiohttp would unpack even what nobody reads, without a bound; body.py does it
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        # aiohttp has no public way to name the class of a connection.
        server = _Server(
            Entrance(self.app).handle,  # type: ignore[arg-type]
            request_factory=self._make_request,
            loop=made._loop,  # noqa: SLF001
            **made._kwargs,  # noqa: SLF001
        )
        server.app = self.app
        return server

    def _make_request(self, message: RawRequestMessage, *rest: Any) -> web.Request:  # noqa: ANN401 -- aiohttp's own
        """Takes Expect out of the headers: aiohttp would answer it before it is known whether the body is wanted."""
        connection = cast("Connection", rest[1])
        connection.expecting = False
        if "Expect" in message.headers:
            headers = CIMultiDict(message.headers)
            expectation = headers.popall("Expect")[0].lower()
            message = message._replace(headers=CIMultiDictProxy(headers))
            connection.expecting = message.version >= HttpVersion11 and expectation == "100-continue"
        request = self.app._make_request(message, *rest)  # noqa: SLF001
        if connection.expecting:
            request[EXPECTS_GO_ON] = True
        return request


class _Server(web.Server):
    app: web.Application

    def __call__(self) -> web.RequestHandler:
        return Connection(self, self.app, loop=self._loop, **self._kwargs)
