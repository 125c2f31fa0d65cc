"""How long it takes from a write until it is read on event streams, of the same process and of another."""

import asyncio
import functools
import random
import re
import time
from collections.abc import Iterable

import uvloop

from bench.quantiles import quantile
from bench.results import Table
from bench.servers import Machine
from bench.tokens import token
from bench.wire import Poster, Stream

WRITER = "ann"
PATH = "/sync/favorites"
STREAMS = {"/feed": ("/feed/favorites", "backend", "feed:read"), "the writer's own records": (PATH, WRITER)}
ARRIVE_S = 30.0
WARM_UP = 5
_ITEM = re.compile(rb'"item":"latency-(\d+)"')


class _Watch:
    """When each write came, by stream and by its number. `all_came`: set when `expected` of them have."""

    def __init__(self, streams: Iterable[str], expected: int) -> None:
        self.came: dict[str, dict[int, float]] = {stream: {} for stream in streams}
        self.all_came = asyncio.Event()
        self._expected = expected

    def heard(self, stream: str, data: bytes) -> None:
        now = time.perf_counter()
        for found in _ITEM.finditer(data):
            self.came[stream].setdefault(int(found[1]), now)
        if sum(map(len, self.came.values())) == self._expected:
            self.all_came.set()


def measure(machine: Machine, *, writes: int, pause_s: tuple[float, float]) -> list[Table]:
    """One write at a time, with pauses between; the machine does nothing else."""
    with machine.another() as second:
        urls = {"the same process": machine.service.url, "a second process": second.url}
        return uvloop.run(_measure(urls, writes, pause_s))


async def _measure(urls: dict[str, str], writes: int, pause_s: tuple[float, float]) -> list[Table]:
    ways = {f"{kind}, {place}": (url, *STREAMS[kind]) for kind in STREAMS for place, url in urls.items()}
    watch = _Watch(ways, (WARM_UP + writes) * len(ways))
    streams = []
    for way, (url, path, *who) in ways.items():
        streams.append(await Stream.opened(url, path, token(*who), functools.partial(watch.heard, way)))
    poster = await Poster.opened(urls["the same process"])
    sent, answered = await _write(poster, WARM_UP + writes, pause_s)
    async with asyncio.timeout(ARRIVE_S):
        await watch.all_came.wait()
    poster.close()
    for stream in streams:
        stream.close()
    counted = range(WARM_UP, len(sent))
    columns = ["p50", "p99", "least", "greatest"]
    table = Table("latency", f"From a write to its event, ms, {writes} writes", columns)
    table.add("sent to answered", *_figures([answered[n] - sent[n] for n in counted]))
    for began, name in ((answered, "answered"), (sent, "sent")):
        for what, came in watch.came.items():
            table.add(f"{name} to {what}", *_figures([came[n] - began[n] for n in counted]))
    return [table]


async def _write(poster: Poster, writes: int, pause_s: tuple[float, float]) -> tuple[list[float], list[float]]:
    """When each was sent, and when it was answered, which is when its commit was known."""
    chance = random.Random(1)  # noqa: S311 -- so that the pauses keep no step with the sequencer's
    sent, answered = [], []
    for number in range(writes):
        await asyncio.sleep(chance.uniform(*pause_s))
        body = f'[{{"item":"latency-{number}","actionDate":"2026-01-01T00:00:00Z","action":"ADD"}}]'
        sent.append(time.perf_counter())
        await poster.post(PATH, token(WRITER), body.encode())
        answered.append(time.perf_counter())
    return sent, answered


def _figures(times_s: list[float]) -> list[float]:
    return [1000 * figure for figure in (quantile(times_s, 0.5), quantile(times_s, 0.99), min(times_s), max(times_s))]
