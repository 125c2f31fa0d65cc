"""Rows: each sets what the service does against what its database, or its server, could do."""

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from bench import stock
from bench.outside import THREADS, Load, Postgres, read_feed_s, wrk
from bench.results import Spread, Table
from bench.servers import Helper, Machine, Sql
from bench.tokens import token

USERS = 2000
HONEST_MIN = 0.99  # of the requests must have come to what the row is about
_APPLIED = 'favsync_receipts_total{outcome="applied"}'
_GETS = 'favsync_http_request_duration_seconds_count{{method="GET",route="/getUserFavorites",status="{status}"}}'
_FEED = "SELECT position, user_id, item, action_us, deleted FROM feed WHERE entity = 'main/favorites' ORDER BY position"


class Row(NamedTuple):
    """`ours`, `theirs`: what is measured, given for how many seconds; a rate. `must`: the least ratio of the two."""

    name: str
    ours: Callable[[float], float]
    theirs: Callable[[float], float]
    must: float


@dataclass
class _Seen:
    ours: list[float]
    theirs: list[float]


class Bench:
    """A service with `users` and their records, and the tools that put loads on it and on its database."""

    def __init__(self, machine: Machine, sql: Sql, users: int) -> None:
        self._machine = machine
        self._sql = sql
        self._users = users
        self._postgres = Postgres(machine.target())
        self._url = machine.service.url
        self._days = 0
        self.loads: dict[str, list[Load]] = {}
        self.counting = True  # whether loads are to be kept
        stock.fill(sql, users)
        self._tokens = stock.write_tokens(machine.folder / "tokens", users)

    def rows(self, bare_url: str) -> list[Row]:
        etags = self._etags()
        return [
            Row("GET answered 304, against an aiohttp handler that returns []", lambda s: self._get(s, etags),
                lambda s: self._wrk(s, "the bare handler", bare_url, "get", self._tokens, THREADS).rate, 0.35),
            Row(f"GET of {stock.ITEMS} records, against pgbench", self._get, self._pgbench("select", 32), 0.6),
            Row("feed read by curl, records/s, against psql's \\copy", self._feed, self._copy, 0.25),
            Row("POST of one record, against pgbench",
                lambda s: self._post(s, 1, 32), self._pgbench("upsert", 32), 0.5),
            Row("POST of 100 records, records/s, against pgbench",
                lambda s: self._post(s, 100, 8), self._pgbench("upsert_set", 8, each=100), 0.5),
        ]  # fmt: skip

    def _pgbench(self, script: str, clients: int, *, each: int = 1) -> Callable[[float], float]:
        def measured(seconds: float) -> float:
            sizes = {"users": self._users, "items": stock.ITEMS}
            return each * self._postgres.pgbench(script, clients=clients, seconds=seconds, **sizes)

        return measured

    def _wrk(self, seconds: float, what: str, url: str, script: str, *arguments: object, connections: int = 32) -> Load:
        load = wrk(url, script, *arguments, connections=connections, seconds=seconds)
        if self.counting:
            self.loads.setdefault(what, []).append(load)
        return load

    def _get(self, seconds: float, etags: Path | None = None) -> float:
        status, arguments = ("304", (self._tokens, THREADS, etags)) if etags else ("200", (self._tokens, THREADS))
        counter = _GETS.format(status=status)
        before = self._counted(counter)
        load = self._wrk(seconds, f"GET, {status}", f"{self._url}/getUserFavorites", "get", *arguments)
        answered = self._counted(counter) - before
        if answered < HONEST_MIN * load.requests:
            raise RuntimeError(f"only {answered:.0f} of {load.requests} answers were {status}")
        return load.rate

    def _post(self, seconds: float, records: int, connections: int) -> float:
        """Records a second, all of them new, until the last of them has its place in the feed."""
        self._days += 1
        day = date(2020, 1, 1) + timedelta(days=self._days)
        before, began = self._counted(_APPLIED), time.perf_counter()
        url, what = f"{self._url}/postUserFavorites", f"POST of {records}"
        arguments = (self._tokens, THREADS, records, stock.ITEMS, day)
        load = self._wrk(seconds, what, url, "post", *arguments, connections=connections)
        self._sql.settle()
        lasted_s = time.perf_counter() - began
        applied, sent = self._counted(_APPLIED) - before, records * load.requests
        if applied < HONEST_MIN * sent:
            raise RuntimeError(f"only {applied:.0f} of {sent} records were newer than what stood")
        return applied / lasted_s

    def _counted(self, series: str) -> float:
        """What the service's metrics say."""
        lines = _fetch(self._url, "/metrics")[1].decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series + " "))

    def _feed(self, _seconds: float) -> float:
        file, who = self._machine.folder / "page", token("backend", "feed:read")
        return self._size() / read_feed_s(f"{self._url}/feed/favorites", who, file)

    def _copy(self, _seconds: float) -> float:
        return self._size() / self._postgres.copy_s(_FEED)

    def _size(self) -> int:
        return int(self._sql.value("SELECT count(*) FROM feed WHERE entity = 'main/favorites'"))

    def _etags(self) -> Path:
        file = self._machine.folder / "etags"
        tokens = self._tokens.read_text().split()
        tags = [_fetch(self._url, "/getUserFavorites", each)[0]["ETag"] for each in tokens]
        file.write_text("".join(f"{tag}\n" for tag in tags))
        return file


def _fetch(url: str, path: str, who: str = "") -> tuple[Any, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("GET", path, headers={"Authorization": f"Bearer {who}"} if who else {})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    if response.status != http.client.OK:
        raise RuntimeError(f"{path}: {response.status} {content!r}")
    return response.headers, content


def measure(machine: Machine, *, users: int, rounds: int, seconds: float) -> list[Table]:
    """The two sides of each row in turn; a ratio is that of two neighbours."""
    with machine.sql() as sql, Helper("bare") as bare:
        bench = Bench(machine, sql, users)
        rows = bench.rows(bare.hear()["url"])
        seen = {row: _Seen([], []) for row in rows}
        for row, each in seen.items():
            bench.counting = False
            row.ours(1)  # tokens are known, plans are made, files are in memory
            bench.counting = True
            for _ in range(rounds):
                each.theirs.append(row.theirs(seconds))
                each.ours.append(row.ours(seconds))
    title = f"{users:,} users of {stock.ITEMS} records, {seconds:g} s at a time, {rounds} times each"
    table = Table("rows", title, ["ours, a second", "theirs, a second", "ratio", "must be"])
    for row, each in seen.items():
        ratios = [ours / theirs for ours, theirs in zip(each.ours, each.theirs, strict=True)]
        table.add(row.name, Spread.of(each.ours), Spread.of(each.theirs), Spread.of(ratios), row.must)
    return [table, _waits(bench.loads)]


def _waits(loads: dict[str, list[Load]]) -> Table:
    """Closed loops: each connection sends as soon as it is answered, so these are waits of a service at its limit."""
    table = Table("waits", "How long an answer took at full load, ms", ["p50", "p99", "p99.9"])
    for what, each in loads.items():
        figures = [Spread.of([getattr(load, name) for load in each]) for name in ("p50_ms", "p99_ms", "p999_ms")]
        table.add(what, *figures)
    return table
