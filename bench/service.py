"""The figures of the service, set against those of its database.

`python -m bench.service [--quick] [--out FILE]` starts a service with a PostgreSQL of its own, in a temporary folder,
with the defaults. `BENCH_SECONDS`: for how long at a time. docs/performance.md says what the figures mean. Needs wrk
and curl.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import rows
from bench.chart import draw
from bench.results import Busy, circumstances, say
from bench.servers import ROOT, Machine, raise_file_limit

OUT = ROOT / "bench" / "results" / "service.json"
ROUNDS, SECONDS = 5, 5.0
QUICK_USERS = 50


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.service", description="Measures the service.")
    parser.add_argument("--quick", action="store_true", help="small numbers: whether it works")
    parser.add_argument("--out", type=Path, default=OUT, help="the file of JSON; the chart goes beside it")
    wanted = parser.parse_args(words)
    seconds = float(os.environ.get("BENCH_SECONDS", SECONDS))
    raise_file_limit()
    with Machine.started() as machine:
        with machine.sql() as sql:
            around = circumstances(sql.value("SHOW server_version"), quick=wanted.quick)
        busy = Busy()
        users, rounds = (QUICK_USERS, 1) if wanted.quick else (rows.USERS, ROUNDS)
        tables = rows.measure(machine, users=users, rounds=rounds, seconds=seconds)
        others = busy.others()
    say(f"{others} of the cores were taken by others")
    sys.stdout.writelines(f"\n{table.as_text()}" for table in tables)
    measured: dict[str, Any] = {
        "circumstances": around | {"cores_of_others": others},
        "tables": {table.name: table.as_json() for table in tables},
    }
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    wanted.out.write_text(json.dumps(measured, indent=1) + "\n")
    wanted.out.with_suffix(".svg").write_text(draw(measured["tables"]["rows"]["rows"]))


if __name__ == "__main__":
    main()
