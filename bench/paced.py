"""An open loop: requests at a constant rate, whatever becomes of those before.

`python -m bench.paced URL KIND TOKENS MORE RATE SECONDS CONNECTIONS` tells in one line of JSON. KIND: `304`, of which
MORE is a file of ETags; `200`; `POST`, of one record each, of the day MORE.

An answer's time counts from when its request was due: one that waits for a connection, because answers are slow, has
waited. Sockets and select(), which waits to the microsecond, where an event loop waits to the millisecond.
"""

import functools
import json
import random
import select
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from bench.quantiles import quantile
from bench.stock import ITEMS

GIVE_UP_S = 30.0
BEGIN_S = 0.05
HONEST_MIN = 0.99
_CHUNK_BYTES = 2**16
_APPLIED = b'"outcome":"applied"'


class _Connection:
    """One request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""
        self._wanted = 0  # bytes of the answer; 0 until its head has come
        self.due = 0.0

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, request: bytes, due: float) -> None:
        self._held, self._wanted, self.due = b"", 0, due
        self._socket.sendall(request)

    def read(self) -> bytes | None:
        """The answer, head and all, once it is whole. Raises RuntimeError where it ends before."""
        part = self._socket.recv(_CHUNK_BYTES)
        if not part:
            raise RuntimeError(f"cut off: {self._held!r}")
        self._held += part
        if not self._wanted:
            head, end, _ = self._held.partition(b"\r\n\r\n")
            if not end:
                return None
            length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
            bare = head.startswith(b"HTTP/1.1 304 ")
            self._wanted = len(head) + len(end) + (0 if bare else int(length))
        return self._held if len(self._held) >= self._wanted else None


class Kind:
    """What is asked, and whether an answer is what it must be."""

    def __init__(self, url: str, kind: str, tokens: Path, more: str) -> None:
        self._chance = random.Random(1)  # noqa: S311 -- a load, not a secret
        self._more = more
        place = f"HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nAuthorization: Bearer "
        users = tokens.read_text().split()
        if kind == "POST":
            start, end = "POST /postUserFavorites ", "\r\nContent-Type: application/json\r\nContent-Length: "
        else:
            start, end = "GET /getUserFavorites ", "\r\n\r\n"
        self._heads = [f"{start}{place}{user}{end}" for user in users]
        if kind == "304":
            tags = Path(more).read_text().split()
            self._heads = [
                f"{head[:-2]}If-None-Match: {tag}\r\n\r\n" for head, tag in zip(self._heads, tags, strict=True)
            ]
        self.request = self._write if kind == "POST" else self._ask
        self._status = b"HTTP/1.1 304 " if kind == "304" else b"HTTP/1.1 200 "
        self._holds = _APPLIED if kind == "POST" else b""

    def is_good(self, answer: bytes) -> bool:
        return answer.startswith(self._status) and self._holds in answer

    def _ask(self, _number: int) -> bytes:
        return self._chance.choice(self._heads).encode()

    def _write(self, number: int) -> bytes:
        """Each is newer than the one before."""
        seconds, milliseconds = divmod(number, 1000)
        time_of_day = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{milliseconds:03}Z"
        item = f"session_{self._chance.randrange(ITEMS)}"
        body = f'[{{"item":"{item}","actionDate":"{self._more}T{time_of_day}","action":"ADD"}}]'
        return f"{self._chance.choice(self._heads)}{len(body)}\r\n\r\n{body}".encode()


class Pace:
    """`count` requests, `rate` a second, of which each takes the first connection that is free."""

    def __init__(self, connections: list[_Connection], kind: Kind, *, rate: float, count: int) -> None:
        self._idle = connections
        self._busy: list[_Connection] = []
        self._free_since = 0.0
        self._kind = kind
        self._rate = rate
        self._count = count
        self._sent = 0
        self._good = 0
        self._times_s: list[float] = []
        self._late_s: list[float] = []

    def go(self) -> dict[str, float]:
        """`late_*`: how much later than it was due, and a connection free for it, a request went off from here."""
        began = time.perf_counter() + BEGIN_S
        while len(self._times_s) < self._count:
            wait_s = self._send_what_is_due(began)
            ready = select.select(self._busy, (), (), wait_s)[0]
            if not ready and wait_s == GIVE_UP_S:
                raise RuntimeError(f"no answer within {GIVE_UP_S:g} s")
            for connection in ready:
                self._hear(connection)
        lasted_s = time.perf_counter() - began
        if self._good < HONEST_MIN * self._count:
            raise RuntimeError(f"only {self._good} of {self._count} answers were what they must be")
        part = functools.partial(quantile, self._times_s)
        return {
            "rate": self._count / lasted_s,
            "p50_ms": 1000 * part(0.5), "p99_ms": 1000 * part(0.99), "p999_ms": 1000 * part(0.999),
            "late_p99_ms": 1000 * quantile(self._late_s, 0.99),
        }  # fmt: skip

    def _send_what_is_due(self, began: float) -> float:
        """For how long nothing else is to be sent."""
        while self._sent < self._count and self._idle:
            due, now = began + self._sent / self._rate, time.perf_counter()
            if due > now:
                return due - now
            connection = self._idle.pop()
            self._late_s.append(now - max(due, self._free_since))
            connection.send(self._kind.request(self._sent), due)
            self._busy.append(connection)
            self._sent += 1
        return GIVE_UP_S

    def _hear(self, connection: _Connection) -> None:
        answer = connection.read()
        if answer is None:
            return
        now = time.perf_counter()
        self._times_s.append(now - connection.due)
        self._good += self._kind.is_good(answer)
        if not self._idle:
            self._free_since = now
        self._busy.remove(connection)
        self._idle.append(connection)


def main(*words: str) -> None:
    url, kind, tokens, more, rate, seconds, connections = words
    parts = urlsplit(url)
    opened = [_Connection(parts.hostname or "", parts.port or 80) for _ in range(int(connections))]
    count = max(1, round(float(rate) * float(seconds)))
    pace = Pace(opened, Kind(url, kind, Path(tokens), more), rate=float(rate), count=count)
    sys.stdout.write(json.dumps(pace.go()) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
