"""What is counted and timed, for Prometheus: one registry an application."""

import math
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from favsync import __version__, metrics_shared
from favsync.core.merge import Outcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody reads

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_REQUEST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_PENDING_AGE = "favsync_feed_pending_age_seconds"
_CYCLE_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LAG_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class Metrics:
    """Names and units are part of what operators rely on: docs/operate.md lists them.

    `shared`: the folder in which several processes count; what is shown is then of all of them.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self._registry = self._shown = CollectorRegistry()
        self._unknown = math.nan
        if shared is None:
            ProcessCollector(registry=self._shown)
        else:
            self._shown = CollectorRegistry()
            self._unknown = metrics_shared.UNKNOWN
            metrics_shared.register(self._shown, shared, [_PENDING_AGE])
        Info("favsync", "The release that runs", registry=self._shown).info({"version": __version__})
        self._requests = Histogram(
            "favsync_http_request_duration_seconds",
            "Requests, from head to the end of the handler, by route and status; 499: the client left",
            ["method", "route", "status"],
            buckets=_REQUEST_BUCKETS_S,
            registry=self._registry,
        )
        self._request_series: dict[tuple[str, str | None, int], Histogram] = {}
        receipts = Counter("favsync_receipts", "Records answered for, by outcome", ["outcome"], registry=self._registry)
        self._receipts = {outcome: receipts.labels(outcome.value) for outcome in Outcome}
        self._loop_lag = Histogram(
            "favsync_event_loop_lag_seconds",
            "How much later than asked the event loop came back, looked at twice a second",
            buckets=_LAG_BUCKETS_S,
            registry=self._registry,
        )
        self._connections = self._in_use("favsync_http_connections", "Connections of clients")
        self._connections_max = self._in_use("favsync_http_connections_max", "How many there may be, at most")
        self._pool = self._in_use("favsync_database_connections", "Connections to PostgreSQL, by state", ["state"])
        self._pool_max = self._in_use("favsync_database_connections_max", "How many there may be, at most")
        self._pending_age = Gauge(
            _PENDING_AGE,
            "Age of the oldest change that no feed has placed yet; 0: none, NaN: the database does not say",
            registry=self._registry,
            multiprocess_mode="livemax",
        )
        self._placed = Counter(
            "favsync_feed_placed", "Changes that were given a place in a feed here", registry=self._registry
        )
        self._streams = self._in_use("favsync_streams", "Event streams, and reads that wait for news")
        self._streams_max = self._in_use("favsync_streams_max", "How many there may be, at most")
        self._streams_ended = Counter(
            "favsync_streams_ended", "Of these, how many were ended, by reason", ["reason"], registry=self._registry
        )

        self._cycles = Histogram(
            "favsync_peer_cycle_duration_seconds",
            "Cycles of links, by peer and outcome: done, failed, needs_login",
            ["peer", "outcome"],
            buckets=_CYCLE_BUCKETS_S,
            registry=self._registry,
        )

    def _in_use(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        """Of several processes, the sum of those that live."""
        return Gauge(name, documentation, labels, registry=self._registry, multiprocess_mode="livesum")

    def request(self, method: str, route: str | None, status: int, duration_s: float) -> None:
        """`route`: None where none fits; neither that nor a method nobody knows makes a series of its own."""
        named = method if method in _METHODS else "other"
        series = self._request_series.get((named, route, status))
        if series is None:  # the library checks the labels each time it is asked
            series = self._request_series[named, route, status] = self._requests.labels(named, route or "none", status)
        series.observe(duration_s)

    def receipt(self, outcome: Outcome, count: int = 1) -> None:
        self._receipts[outcome].inc(count)

    def loop_lag(self, lag_s: float) -> None:
        self._loop_lag.observe(lag_s)

    def connections(self, *, now: int, most: int) -> None:
        self._connections.set(now)
        self._connections_max.set(most)

    def pool(self, *, busy: int, idle: int, most: int) -> None:
        self._pool.labels("busy").set(busy)
        self._pool.labels("idle").set(idle)
        self._pool_max.set(most)

    def pending_age(self, age_s: float) -> None:
        """NaN where the database does not say."""
        self._pending_age.set(self._unknown if math.isnan(age_s) else age_s)

    def placed(self, count: int) -> None:
        self._placed.inc(count)

    def cycle(self, peer: str, outcome: str, duration_s: float) -> None:
        self._cycles.labels(peer, outcome).observe(duration_s)

    def streams(self, *, now: int, most: int) -> None:
        self._streams.set(now)
        self._streams_max.set(most)

    def stream_ended(self, reason: str) -> None:
        self._streams_ended.labels(reason).inc()

    def render(self) -> bytes:
        """The text form that Prometheus reads, of `CONTENT_TYPE`."""
        return generate_latest(self._shown)
