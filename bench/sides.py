"""The two sides that are set against each other: loads on the service, and on its database alone."""

import contextlib
import http.client
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from bench import stock
from bench.outside import THREADS, Load, Postgres, read_feed_s, wrk
from bench.servers import Machine, Sql
from bench.tokens import token

CONNECTIONS, CONNECTIONS_OF_HUNDREDS = 32, 8
HONEST_MIN = 0.99  # of the requests must have come to what the load is about
APPLIED = ("favsync_receipts_total", 'outcome="applied"')
_ANSWERS = "favsync_http_request_duration_seconds_count"
_FEED = "SELECT position, user_id, item, action_us, deleted FROM feed WHERE entity = 'main/favorites' ORDER BY position"
_SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class Writes(NamedTuple):
    """What wrk told of POSTs; how many records were applied, and how long it took until the feed had all of them."""

    load: Load
    applied: float
    seconds: float

    @property
    def rate(self) -> float:
        return self.applied / self.seconds


class Sides:
    """A service with users and their records, and the tools that put loads on it and on its database."""

    def __init__(self, machine: Machine, sql: Sql, users: int) -> None:
        self.machine = machine
        self.sql = sql
        self.users = users
        self.url = machine.service.url
        self.tokens = stock.write_tokens(machine.folder / "tokens", users)
        self._postgres = Postgres(machine.target())

    @classmethod
    @contextlib.contextmanager
    def stocked(cls, machine: Machine, users: int) -> Iterator[Self]:
        with machine.sql() as sql:
            stock.fill(machine, sql, users)
            yield cls(machine, sql, users)

    def get(self, seconds: float, etags: Path | None = None) -> Load:
        """Of all records of a user. `etags`: as `etags` has made them, for answers that must be 304."""
        status, more = ("304", [etags]) if etags else ("200", [])
        before = self._answered(status)
        arguments = (self.tokens, THREADS, *more)
        url = f"{self.url}/getUserFavorites"
        load = wrk(url, "get", *arguments, connections=CONNECTIONS, seconds=seconds)
        answered = self._answered(status) - before
        if answered < HONEST_MIN * load.requests:
            raise RuntimeError(f"only {answered:.0f} of {load.requests} answers were {status}")
        return load

    def post(self, seconds: float, records: int = 1, connections: int = CONNECTIONS) -> Writes:
        """Of so many records of one user a request, all of them new."""
        before, began = self.counted(*APPLIED), time.perf_counter()
        arguments = (self.tokens, THREADS, records, stock.ITEMS, stock.next_day())
        url = f"{self.url}/postUserFavorites"
        load = wrk(url, "post", *arguments, connections=connections, seconds=seconds)
        self.sql.settle()
        lasted_s = time.perf_counter() - began
        applied, sent = self.counted(*APPLIED) - before, records * load.requests
        if applied < HONEST_MIN * sent:
            raise RuntimeError(f"only {applied:.0f} of {sent} records were newer than what stood")
        return Writes(load, applied, lasted_s)

    def pgbench(self, script: str, clients: int = CONNECTIONS, *, each: int = 1) -> Callable[[float], float]:
        """Measures for so many seconds: transactions a second, times `each`."""

        def measured(seconds: float) -> float:
            sizes = {"users": self.users, "items": stock.ITEMS}
            return each * self._postgres.pgbench(script, clients=clients, seconds=seconds, **sizes)

        return measured

    def read_feed(self) -> float:
        """Records a second, by curl."""
        file, who = self.machine.folder / "page", token("backend", "feed:read")
        return self._feed_size() / read_feed_s(f"{self.url}/feed/favorites", who, file)

    def copy_feed(self) -> float:
        """Records a second, by psql."""
        return self._feed_size() / self._postgres.copy_s(_FEED)

    def etags(self) -> Path:
        """A file of what each user's records have now."""
        file = self.machine.folder / "etags"
        tags = [fetch(self.url, "/getUserFavorites", each)[0]["ETag"] for each in self.tokens.read_text().split()]
        file.write_text("".join(f"{tag}\n" for tag in tags))
        return file

    def counted(self, series: str, *labels: str) -> float:
        """What the service's metrics say, of all processes that they tell apart."""
        text = fetch(self.url, "/metrics")[1].decode()
        return sum(
            float(value)
            for name, said, value in _SERIES.findall(text)
            if name == series and set(labels) <= set(said.split(","))
        )

    def _answered(self, status: str) -> float:
        return self.counted(_ANSWERS, 'method="GET"', 'route="/getUserFavorites"', f'status="{status}"')

    def _feed_size(self) -> int:
        return int(self.sql.value("SELECT count(*) FROM feed WHERE entity = 'main/favorites'"))


def fetch(url: str, path: str, who: str = "") -> tuple[Any, bytes]:
    """Headers and body of the answer, which must be 200; `who`: a token."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("GET", path, headers={"Authorization": f"Bearer {who}"} if who else {})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    if response.status != http.client.OK:
        raise RuntimeError(f"{path}: {response.status} {content!r}")
    return response.headers, content
