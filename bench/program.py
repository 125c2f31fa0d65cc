"""What the programs have in common: arguments, parts that can be measured alone, and the file that they renew."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.results import Busy, Table, circumstances, say
from bench.servers import Machine, raise_file_limit

Parts = Mapping[str, Callable[[], list[Table]]]


class Found(NamedTuple):
    """`measured`: each part's circumstances and tables, those of earlier runs too. `out`: the file that keeps them."""

    measured: dict[str, Any]
    out: Path


def run(
    words: Sequence[str] | None, *, name: str, about: str, out: Path, parts: Callable[[Machine, bool], Parts]
) -> Found:
    """Measures the parts that `words` ask for, all unless they name some, in their order.

    `parts`: makes them, for a machine that is started here, in small numbers (True) or large. `about`: a sentence.
    """
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=about)
    parser.add_argument("--quick", action="store_true", help="small numbers: whether it works")
    parser.add_argument("--out", type=Path, default=out, help="a file of JSON, in which what is measured is renewed")
    parser.add_argument("--only", action="append", help="one part; may be given again", metavar="PART")
    wanted = parser.parse_args(words)
    raise_file_limit()
    measured: dict[str, Any] = json.loads(wanted.out.read_text()) if wanted.out.exists() else {}
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    with Machine.started() as machine:
        with machine.sql() as sql:
            around = circumstances(sql.value("SHOW server_version"), quick=wanted.quick)
        known = parts(machine, wanted.quick)
        if unknown := set(wanted.only or ()) - known.keys():
            parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(known)}")
        for part, measure in known.items():
            if wanted.only is None or part in wanted.only:
                measured[part] = _measured(part, measure, around)
                wanted.out.write_text(json.dumps(measured, indent=1) + "\n")
    return Found(measured, wanted.out)


def _measured(part: str, measure: Callable[[], list[Table]], around: Mapping[str, Any]) -> dict[str, Any]:
    began, busy = time.monotonic(), Busy()
    tables = measure()
    others = busy.others()
    say(f"{part}: {time.monotonic() - began:.0f} s, {others} of the cores were taken by others")
    sys.stdout.writelines(f"\n{table.as_text()}" for table in tables)
    sys.stdout.flush()
    found = {table.name: table.as_json() for table in tables}
    return {"circumstances": {**around, "cores_of_others": others}, "tables": found}
