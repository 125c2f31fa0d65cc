"""How long a POST of 1,000 records keeps everybody else from being served: bench/ticking.py looks from within."""

import time
from collections.abc import Callable
from typing import Any

from bench import stock
from bench.outside import THREADS, wrk
from bench.results import Spread, Table
from bench.servers import Helper, Machine
from bench.tokens import SECRET

RECORDS = 1000
USERS = 20
SETTLE_S = 0.5
KINDS = ("late_ms", "busy_ms")
PARTS = ("p50", "p99", "greatest")


def measure(machine: Machine, *, rounds: int, seconds: float) -> list[Table]:
    """One client, which POSTs again as soon as it is answered; and nobody, in turn."""
    tokens = stock.write_tokens(machine.folder / "tokens-of-stalls", USERS, who="staller")
    settings = {"database_url": machine.database_url(), "jwt_secret": SECRET, "port": 0}
    alone, beside = [], []
    with machine.sql() as sql, Helper("ticking", log=machine.folder / "ticking.log", **settings) as ticking:
        url = ticking.hear()["url"]

        def post(seconds: float) -> None:
            words = (tokens, THREADS, RECORDS, RECORDS, stock.next_day())
            wrk(f"{url}/postUserFavorites", "post", *words, connections=1, seconds=seconds)

        post(1)
        for _ in range(rounds):
            time.sleep(SETTLE_S)  # wrk leaves before its last POST is answered
            sql.settle()
            alone.append(_during(ticking, time.sleep, seconds))
            beside.append(_during(ticking, post, seconds))
    columns = [f"{what}, {part}" for what in ("late", "at work") for part in PARTS]
    title = f"How much later than asked, after 1 ms, the event loop came back, ms, {rounds} times {seconds:g} s"
    table = Table("stall", title, columns)
    table.add("nobody asks", *_figures(alone))
    table.add(f"POSTs of {RECORDS:,} records", *_figures(beside))
    pairs = zip(_figures(beside), _figures(alone), strict=True)
    table.add("more than without", *(one.median - other.median for one, other in pairs))
    return [table]


def _during(ticking: Helper, load: Callable[[float], None], seconds: float) -> dict[str, Any]:
    ticking.say()
    ticking.hear()
    load(seconds)
    ticking.say()
    return ticking.hear()


def _figures(told: list[dict[str, Any]]) -> list[Spread]:
    return [Spread.of([each[kind][part] for each in told]) for kind in KINDS for part in PARTS]
