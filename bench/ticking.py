"""The service, with a watch on its event loop: `python -m bench.ticking`, with its settings in the environment.

It says its URL in JSON; then on each line how its loop has done since the line before. `late_ms`: how much later than
asked the loop came back to one who asked it for a millisecond, which a machine's other processes may have caused too.
`busy_ms`: how much CPU the loop's thread used between two such looks, which is its own doing.
"""

import asyncio
import gc
import json
import sys
import time

import uvloop
from aiohttp import web

from bench.quantiles import quantile
from favsync import logs, settings
from favsync.app import create_app
from favsync.http import keys
from favsync.http.server import Runner

TICK_S = 0.001


class Ticks:
    def __init__(self) -> None:
        self._late_s: list[float] = []
        self._busy_s: list[float] = []

    async def watch(self) -> None:
        while True:
            asked, used = time.perf_counter() + TICK_S, time.thread_time()
            await asyncio.sleep(TICK_S)
            self._late_s.append(time.perf_counter() - asked)
            self._busy_s.append(time.thread_time() - used)

    def told(self) -> dict[str, dict[str, float]]:
        """Since this was told last."""
        late_s, busy_s = self._late_s, self._busy_s
        self._late_s, self._busy_s = [], []
        return {"late_ms": _figures(late_s), "busy_ms": _figures(busy_s)}


def _figures(times_s: list[float]) -> dict[str, float]:
    times_ms = [1000 * each for each in times_s] or [0.0]
    return {"p50": quantile(times_ms, 0.5), "p99": quantile(times_ms, 0.99), "greatest": max(times_ms)}


def _say(told: object) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


async def main() -> None:
    effective = settings.load()[0]
    logs.configure(style="json", level=effective.log_level)
    app = create_app(effective)
    runner = Runner(app)
    await runner.setup()
    await web.TCPSite(runner, effective.host, effective.port).start()
    await app[keys.DATABASE].opened.wait()
    gc.collect()
    gc.freeze()  # as favsync/serve.py does
    ticks = Ticks()
    watch = asyncio.create_task(ticks.watch())
    _say({"url": f"http://{effective.host}:{runner.addresses[0][1]}"})
    while await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        _say(ticks.told())
    watch.cancel()
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main())
