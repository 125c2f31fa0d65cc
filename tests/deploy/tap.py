"""Stands between two programs, passes on what they say, and keeps what the first one said."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class Tap:
    """Listens on a free port of 127.0.0.1. `target`: a TCP address, or the path of a socket.

    `heard` is what came in, one buffer a connection, oldest first. After `close` nobody is let in, and whoever was is
    thrown out.
    """

    def __init__(self, target: tuple[str, int] | str) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.heard: list[bytearray] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for one in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                family = socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET
                far = socket.socket(family)
                self._open += [near, far]
                try:
                    far.connect(self._target)
                except OSError:
                    near.close()
                    continue
                self.heard.append(bytearray())
                for pair in ((near, far, self.heard[-1]), (far, near, None)):
                    threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, kept: bytearray | None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if kept is not None:
                kept += data
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
