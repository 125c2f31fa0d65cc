"""A closed loop of writers: each POSTs one new record, waits for the answer, and POSTs the next.

`python -m bench.load URL RUN CONNECTIONS USERS`, then on each line "SECONDS" a run of that length, told of in JSON.
"""

import asyncio
import itertools
import json
import sys
import time

import uvloop

from bench.quantiles import quantile
from bench.tokens import token
from bench.wire import Poster, Refused

PAUSE_S = 0.1  # after a refusal
PATH = "/sync/favorites"
_DATE = "2026-01-01T00:00:00.000Z"
_APPLIED = b'"outcome":"applied"'


class Load:
    """Writers, one a connection, of whom each writes for `users` in turn. `run`: tells its items from others'."""

    def __init__(self, posters: list[Poster], *, run: str, users: int) -> None:
        self._posters = posters
        self._tokens = [[token(f"writer-{n}-{user}") for user in range(users)] for n in range(len(posters))]
        self._run = run
        self._numbers = itertools.count()
        self._times_s: list[float] = []
        self._refused = 0

    async def go(self, seconds: float) -> dict[str, float]:
        """`rate`: writes acknowledged a second; how long an answer took; and how many were 503."""
        self._times_s, self._refused = [], 0
        began = time.perf_counter()
        await asyncio.gather(*(self._write(n, began + seconds) for n in range(len(self._posters))))
        lasted_s = time.perf_counter() - began
        times_s = self._times_s or [lasted_s]
        return {
            "rate": len(self._times_s) / lasted_s,
            "p50_ms": 1000 * quantile(times_s, 0.5),
            "p99_ms": 1000 * quantile(times_s, 0.99),
            "refused": self._refused,
        }

    async def _write(self, number: int, until: float) -> None:
        poster = self._posters[number]
        for user in itertools.cycle(self._tokens[number]):
            began = time.perf_counter()
            if began > until:
                return
            item = f"{self._run}-{next(self._numbers)}"
            body = f'[{{"item":"{item}","actionDate":"{_DATE}","action":"ADD"}}]'
            try:
                answer = await poster.post(PATH, user, body.encode())
            except Refused:
                self._refused += 1
                await asyncio.sleep(PAUSE_S)
                continue
            if _APPLIED not in answer:
                raise RuntimeError(f"{item} was not applied: {answer!r}")
            self._times_s.append(time.perf_counter() - began)


async def main(url: str, run: str, connections: str, users: str) -> None:
    posters = [await Poster.opened(url) for _ in range(int(connections))]
    load = Load(posters, run=run, users=int(users))
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        sys.stdout.write(json.dumps(await load.go(float(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
