"""One connection: what it sends, and may not send, and what it waits for."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo

from favsync.http import access, keys, problems
from favsync.http.body import EXPECTS_GO_ON
from favsync.http.connections import Wait

_log = structlog.get_logger(__name__)

HEAD_BYTES_MAX = 64 * 1024
HEAD_BYTES_FREE = 4 * 1024  # of which it is not counted that they are kept
LINE_BYTES_MAX = 8190
FIELD_BYTES_MAX = 32 * 1024  # so that a token that is too long gets our answer, and not the parser's
FRAMING_BYTES_MAX = 256 * 1024  # of a chunked body, beyond its own size; a read may bring as much before it is parsed
READ_PROGRESS_BYTES = 128 * 1024  # who takes less of its answer within the time for it, does not take it
UNTOLD_LINGER_S = 1.0  # for a body that its client does not send unless it is told to
QUEUE_MAX = 2  # requests behind the one that is answered, at which no more is read; one read may have brought others

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connection(web.RequestHandler):
    """A connection that tells `Connections` what it waits for, and is ended by it where that takes too long."""

    __slots__ = (
        "_body_bytes",
        "_connections",
        "_half_closed",
        "_head_bytes",
        "_metrics",
        "_newest",
        "_now_us",
        "_own",
        "_refused",
        "_unread",
        "expecting",
        "kept_bytes",
        "on_lost",
        "queued",
        "waits_for",
    )

    def __init__(self, manager: web.Server, app: web.Application, **options: Any) -> None:  # noqa: ANN401 -- aiohttp's own
        super().__init__(manager, **options)
        self._max_msg_queue_size, self._msg_queue_resume_size = QUEUE_MAX, QUEUE_MAX - 1
        self._connections = app[keys.CONNECTIONS]
        self._metrics = app[keys.METRICS]
        self._now_us = app[keys.NOW_US]
        self._own: asyncio.Transport  # aiohttp forgets its own while the last bytes are still on their way
        self._newest: tuple[Any, StreamReader] = (None, EMPTY_PAYLOAD)  # the latest head, and its body
        self._head_bytes = 0  # as they came, of a head that is not whole yet
        self._body_bytes = 0  # likewise, of the newest body
        self._unread = 0  # bytes of an answer, when its reader was last seen to go on
        self._refused = False  # nothing more is read
        self._half_closed = False
        self.waits_for: Wait | None = None
        self.expecting = False  # the latest request waits to be told to go on
        self.kept_bytes = 0  # by aiohttp, of the newest head, until another request comes; where they are many
        self.on_lost: Callable[[], None] | None = None  # who is to hear at once that the client has gone
        self.queued: asyncio.Task[Any] | None = None  # whose turn has not come yet: it ends where the client goes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._own = cast("asyncio.Transport", transport)
        if self._connections.admit(self):
            super().connection_made(transport)
        else:
            self._own.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.remove(self)
        if self.on_lost is not None:
            self.on_lost()
        if self.queued is not None:
            self.queued.cancel()
        super().connection_lost(exc)

    def abort(self) -> None:
        self._connections.remove(self)
        self._own.abort()

    def expire(self, wait: Wait) -> None:
        unread = self._own.get_write_buffer_size()
        if wait is Wait.HEAD and self._head_bytes:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, TimeoutError())
        elif wait is Wait.READ and self._unread - unread >= READ_PROGRESS_BYTES:
            self._wait_for_reader(unread)
        else:
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self._refused or self._close or self._force_close:
            return
        queued, in_body = len(self._messages), not self._newest[1].is_eof()
        super().data_received(data)
        if len(self._messages) > queued:
            self._begin(queued, in_body=in_body, head_bytes_max=self._head_bytes + len(data) if data else None)
            if self._newest[1] is EMPTY_PAYLOAD and (end := data.rfind(b"\r\n\r\n")) >= 0:
                self._head_bytes = len(data) - end - 4  # another head has begun behind this request
        elif in_body:
            self._body_bytes += len(data)
            message, body = self._newest
            if message.chunked and self._body_bytes > body.total_bytes + FRAMING_BYTES_MAX:
                self._break_off(body)
        elif data:
            self._head_bytes += len(data)
            if self.waits_for is Wait.IDLE:
                self._connections.wait(self, Wait.HEAD)
            if self.waits_for is Wait.HEAD and self._head_bytes + self.kept_bytes > HEAD_BYTES_FREE:
                self._connections.hold(self, self._head_bytes + self.kept_bytes)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, BadHttpMessage(""))

    def _begin(self, first: int, *, in_body: bool, head_bytes_max: int | None) -> None:
        """Requests have come, to be found in the queue from `first` on, of which the last may be a fault.

        `in_body`: after the rest of a body. `head_bytes_max`: no head can have more bytes than these, where known.
        """
        if in_body and isinstance(self._messages[first][0], _ErrInfo):
            self._messages.pop()
            self._break_off(self._newest[1])
            return
        self._newest, self._head_bytes, self._body_bytes = self._messages[-1], 0, 0
        self._refused = isinstance(self._newest[0], _ErrInfo)
        if self.waits_for in (Wait.HEAD, Wait.IDLE):
            self._connections.work(self)
        self.kept_bytes = 0
        if head_bytes_max is not None and head_bytes_max <= HEAD_BYTES_FREE:
            return
        self.kept_bytes = _kept_bytes(self._newest[0])
        if head_bytes_max is not None and head_bytes_max <= HEAD_BYTES_MAX:
            return
        for at, (message, _body) in enumerate(self._messages):
            if at >= first and not isinstance(message, _ErrInfo) and _size(message) > HEAD_BYTES_MAX:
                while len(self._messages) > at:
                    self._messages.pop()
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, BadHttpMessage(""))
                return

    def _refuse(self, status: HTTPStatus, error: Exception) -> None:
        """Answers, after what is under way, with this status, and closes; what else comes is not read."""
        self._refused = True
        self._messages.append((_ErrInfo(status=status, exc=error, message=""), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _break_off(self, body: StreamReader) -> None:
        """The body has no end that could be found: whoever reads it hears so, and the connection ends."""
        self._refused = True
        self._lingering_time = 0.0
        if self.waits_for is Wait.REST:
            self.abort()
        else:
            body.set_exception(web.RequestPayloadError("the body cannot be read"))
            self.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Who has sent a whole request, and says that nothing else will come, still gets its answer, if that ends."""
        if self.on_lost is not None:
            return False
        self._half_closed = self.waits_for in (None, Wait.READ) and self._newest[1].is_eof()
        return self._half_closed

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader(self._own.get_write_buffer_size())

    def _wait_for_reader(self, unread: int) -> None:
        self._unread = unread
        self._connections.wait(self, Wait.READ, held_bytes=2 * unread)  # as it was made, and as it goes out

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.waits_for is Wait.READ:
            self._connections.work(self)

    async def _handle_request(
        self,
        request: web.BaseRequest,
        start_time: float | None,
        request_handler: Handler,
    ) -> tuple[web.StreamResponse, bool]:
        wait = Wait.REST
        if self.expecting:
            request_handler = self._closing_unless_told(request_handler)
        try:
            response, lost = await super()._handle_request(request, start_time, request_handler)
            if response.keep_alive and not lost:
                if request.content.is_eof():
                    wait = Wait.HEAD if self._head_bytes else Wait.IDLE
                else:  # aiohttp reads on for a while
                    request.content.on_eof(lambda: self._wait_with_head(Wait.IDLE))
            return response, lost
        finally:
            if self._messages:
                self._newest = self._messages[-1]  # aiohttp finds some by itself, where it declines an upgrade
                self.kept_bytes = _kept_bytes(self._newest[0])
            elif self._half_closed:
                self.close()
            if wait is Wait.REST or not self._messages:
                self._wait_with_head(wait)

    def hold_head(self) -> None:
        """What aiohttp keeps of the head counts from now on: the answer may go on for hours."""
        self._connections.hold(self, self.kept_bytes)

    def _wait_with_head(self, wait: Wait) -> None:
        """For the next request, or the end of this one, whose head aiohttp keeps until then."""
        self._connections.wait(self, wait, held_bytes=self.kept_bytes + self._head_bytes if self.kept_bytes else 0)

    def _closing_unless_told(self, handler: Handler) -> Handler:
        """Ends the connection of a client that waits to be told to go on, and was not: it may never send its body."""

        async def closing(request: web.BaseRequest) -> web.StreamResponse:
            response = await handler(request)
            if request[EXPECTS_GO_ON]:
                response.force_close()
                self._lingering_time = UNTOLD_LINGER_S
            return response

        return closing

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 -- it quotes the request
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("the answer was cut off")
        if isinstance(exc, LineTooLong):
            of_url = exc.args[1] == LINE_BYTES_MAX
            status = HTTPStatus.REQUEST_URI_TOO_LONG if of_url else HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        request_id = access.new_id()
        kind = type(exc).__name__ if exc else None
        _log.info("request", method=None, route=None, status=int(status), error=kind, request_id=request_id)
        self._metrics.request("other", None, int(status), 0.0)
        response = problems.plain(status)
        access.stamp_headers(response, request_id, self._now_us())
        response.force_close()
        return response


def _kept_bytes(message: RawRequestMessage | _ErrInfo) -> int:
    """What a head takes that is kept, as bytes and as text; 0 where that is little."""
    size = 0 if isinstance(message, _ErrInfo) else _size(message)
    return 2 * size if size > HEAD_BYTES_FREE else 0


def _size(message: RawRequestMessage) -> int:
    return len(message.path) + sum(len(name) + len(value) + 4 for name, value in message.raw_headers)
