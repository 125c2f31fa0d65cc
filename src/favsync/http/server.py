"""Under the application: connections, and what is not HTTP."""

import uuid
from collections.abc import Callable
from typing import Any

import structlog
from aiohttp import web

from favsync.http import access, keys, problems

_log = structlog.get_logger(__name__)

DRAIN_S = 2.0  # aiohttp waits for it twice: until requests end, and until they are cancelled
HEADER_BYTES_MAX = 32 * 1024  # so that a token that is too long gets our answer, and not the parser's


class Runner(web.AppRunner):
    """Runs the application; what the parser refuses is answered like every other error.

    aiohttp would repeat what it could not read, which may be a token, in its answer and in its log.
    """

    def __init__(self, app: web.Application) -> None:
        super().__init__(
            app,
            access_log=None,
            shutdown_timeout=DRAIN_S,
            max_field_size=HEADER_BYTES_MAX,
            auto_decompress=False,  # aiohttp would unpack even what nobody reads, without a bound; body.py does it
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        # aiohttp has no public way to name the class of a connection.
        server = _Server(
            self.app._handle,  # type: ignore[arg-type]  # noqa: SLF001
            request_factory=self.app._make_request,  # noqa: SLF001
            loop=made._loop,  # noqa: SLF001
            **made._kwargs,  # noqa: SLF001
        )
        server.now_us = self.app[keys.NOW_US]
        return server


class _Server(web.Server):
    now_us: Callable[[], int]

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ("_now_us",)

    def __init__(self, manager: _Server, **options: Any) -> None:  # noqa: ANN401 -- aiohttp's own
        super().__init__(manager, **options)
        self._now_us = manager.now_us

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 -- it quotes the request
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("the answer was cut off")
        request_id = uuid.uuid4().hex
        kind = type(exc).__name__ if exc else None
        _log.info("request", method=None, route=None, status=status, error=kind, request_id=request_id)
        response = problems.plain(status)
        access.stamp_headers(response, request_id, self._now_us())
        response.force_close()
        return response
