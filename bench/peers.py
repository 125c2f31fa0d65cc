"""The service set against another that keeps records of users: Kinto. For the record; nothing has to be reached.

`python -m bench.peers [--quick] [--out FILE]` installs Kinto, as bench/kinto locks it, into build/kinto, and starts it
beside a service of ours, on the same PostgreSQL; they take turns. `BENCH_SECONDS`: for how long at a time.
docs/performance.md says what the figures mean. Needs wrk.
"""

import os
from collections.abc import Callable, Sequence

from bench import kinto_peer, program
from bench.results import Spread, Table
from bench.servers import ROOT, Machine
from bench.sides import Sides
from bench.stock import ITEMS

OUT = ROOT / "bench" / "results" / "peers.json"
SECONDS = 5.0
USERS, ROUNDS = 2000, 5
QUICK_USERS, QUICK_ROUNDS = 50, 1


def measure(machine: Machine, *, users: int, rounds: int, seconds: float) -> list[Table]:
    """The two in turn; a ratio is that of two neighbours."""
    with Sides.stocked(machine, users) as sides, kinto_peer.started(machine, users) as kinto:
        rows: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
            "POST of one record, against a PUT": (lambda s: sides.post(s).rate, lambda s: kinto.put(s).rate),
            f"GET of {ITEMS} records, against a GET": (lambda s: sides.get(s).rate, lambda s: kinto.get(s).rate),
        }
        seen: dict[str, list[tuple[float, float]]] = {}
        for what, (ours, theirs) in rows.items():
            ours(1)
            theirs(1)
            seen[what] = [(ours(seconds), theirs(seconds)) for _ in range(rounds)]
    title = f"{users:,} users of {ITEMS} records, {seconds:g} s at a time, {rounds} times each"
    table = Table("kinto", title, ["ours, a second", f"Kinto {kinto_peer.version()}, a second", "ratio"])
    for what, pairs in seen.items():
        ratios = Spread.of([one / other for one, other in pairs])
        table.add(what, *map(Spread.of, zip(*pairs, strict=True)), ratios)
    return [table]


def main(words: Sequence[str] | None = None) -> None:
    seconds = float(os.environ.get("BENCH_SECONDS", SECONDS))

    def parts(machine: Machine, quick: bool) -> program.Parts:  # noqa: FBT001 -- as bench/program.py calls it
        users, rounds = (QUICK_USERS, QUICK_ROUNDS) if quick else (USERS, ROUNDS)
        return {"kinto": lambda: measure(machine, users=users, rounds=rounds, seconds=seconds)}

    program.run(words, name="peers", about="Measures the service against others.", out=OUT, parts=parts)


if __name__ == "__main__":
    main()
