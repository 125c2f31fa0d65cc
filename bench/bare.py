"""An aiohttp server that does nothing: `python -m bench.bare` says its URL on a line, and ends with its input."""

import asyncio
import json
import sys

import uvloop
from aiohttp import web
from aiohttp.typedefs import Handler


async def _nothing(_request: web.Request) -> web.Response:
    return web.json_response([])


async def serve(method: str, path: str, handler: Handler) -> None:
    """Serves one path, and says on a line where that is; until the input ends."""
    app = web.Application()
    app.router.add_route(method, path, handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{runner.addresses[0][1]}{path}"}) + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(serve("GET", "/", _nothing))
