"""Event streams that are held open, and read at once.

`python -m bench.streams URL COUNT PATH WHO` says in JSON when all are open; then, for each line that it gets, how many
events have come by now, and how many of the streams have ended. WHO: `users`, each stream another one, or `backend`.
"""

import asyncio
import json
import sys

import uvloop

from bench.tokens import token
from bench.wire import Stream

AT_ONCE = 20


async def main(url: str, count: str, path: str, who: str) -> None:
    tokens = [token("backend", "feed:read") if who == "backend" else token(f"reader-{n}") for n in range(int(count))]
    streams: list[Stream] = []
    for first in range(0, len(tokens), AT_ONCE):
        some = tokens[first : first + AT_ONCE]
        streams += await asyncio.gather(*(Stream.opened(url, path, one) for one in some))
    loop = asyncio.get_running_loop()
    while True:
        told = {"events": sum(stream.events for stream in streams), "lost": sum(stream.lost for stream in streams)}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        if not await loop.run_in_executor(None, sys.stdin.readline):
            return


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
