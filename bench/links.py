"""The figures of links: cycles a second, how evenly they are spread over links, and what they take of memory.

`python -m bench.links [--quick] [--out FILE]` links users of a service with one peer, which answers from memory in a
process of its own (bench/link_peer.py), at an interval that leaves no link time to rest.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import aiohttp

from bench import program
from bench.processes import Peak, of_service
from bench.results import Figure, Table
from bench.servers import ROOT, Helper, Machine
from bench.tokens import token

OUT = ROOT / "bench" / "results" / "links.json"
MIB = 2**20
AT_ONCE = 32
FIRST_S = 180.0  # until each link has had its first cycle, at most


class Size(NamedTuple):
    """`items`: of each list. `seconds`: of each load."""

    links: int
    items: int
    seconds: float


FULL = Size(10_000, 20, 65.0)
QUICK = Size(30, 5, 3.0)


def measure(machine: Machine, size: Size) -> list[Table]:
    columns = ["cycles/s", "p50", "p99", "longest", "service, MiB", "POSTs"]
    title = (
        f"{size.links:,} links with one peer, {size.items} records each, {AT_ONCE} at a time: cycles a second, "
        "s from one cycle of a link to its next, memory at most"
    )
    table = Table("links", title, columns)
    with Helper("link_peer", size.items) as peer:
        url = peer.hear()["url"]
        config = machine.folder / "links.toml"
        config.write_text(
            f'[[peers]]\nname = "peer"\nurl = "{url}"\ninterval = "1s"\nper_s = 100000.0\nat_once = {AT_ONCE}\n'
        )
        machine.service.stop()
        machine.service.start(config=config)
        with Peak(*of_service(machine.service.pid)) as rest:
            time.sleep(1)
        table.add("at rest, no links", 0, None, None, None, sum(rest.peak) / MIB, 0)
        with Peak(*of_service(machine.service.pid)) as peak:
            began = time.monotonic()
            asyncio.run(_link(machine.service.url, size.links))
            told = _linked(peer, size.links, began + FIRST_S)
        table.add("linked, and all learnt", *_figures(told, time.monotonic() - began, peak))
        for what, way in (("nothing to do (304)", "still"), ("one record changed there", "changing")):
            peer.say(way)
            peer.hear()
            with Peak(*of_service(machine.service.pid)) as peak:
                began = time.monotonic()
                time.sleep(size.seconds)
                peer.say("still")
                told = peer.hear()
            table.add(what, *_figures(told, time.monotonic() - began, peak))
    return [table]


def _linked(peer: Helper, links: int, give_up: float) -> dict[str, Any]:
    cycles = 0
    while True:
        time.sleep(0.5)
        peer.say("still")
        told = peer.hear()
        cycles += told["cycles"]
        if told["users"] == links:
            return {**told, "cycles": cycles, "gaps": None}
        if time.monotonic() > give_up:
            raise RuntimeError(f"only {told['users']} links have had a cycle")


def _figures(told: dict[str, Any], seconds: float, peak: Peak) -> list[Figure]:
    gaps = told["gaps"] or [None, None, None]
    return [told["cycles"] / seconds, *gaps, sum(peak.peak) / MIB, told["posts"]]


async def _link(url: str, count: int) -> None:
    """Each user's own link, a few at a time."""
    numbers = iter(range(count))

    async def some(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            headers = {"Authorization": f"Bearer {token(f'user-{number}')}"}
            given = {"token": f"token-{number}"}
            async with session.put(f"{url}/peers/peer/link", json=given, headers=headers) as answer:
                if answer.status != 200:  # noqa: PLR2004 -- OK
                    raise RuntimeError(await answer.text())

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(some(session) for _ in range(16)))


def main(words: Sequence[str] | None = None) -> None:
    program.run(
        words, name="links", about="Measures links with a peer.", out=OUT,
        parts=lambda machine, quick: {"links": lambda: measure(machine, QUICK if quick else FULL)},
    )  # fmt: skip


if __name__ == "__main__":
    main()
