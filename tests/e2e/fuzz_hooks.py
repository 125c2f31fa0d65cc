"""What a generator cannot know: cursors of this very user, preferences, users, what lies at the edge.

Loaded by schemathesis, in a process of its own, by the variable SCHEMATHESIS_HOOKS.
"""

import itertools
import json
import os
from typing import Any

import schemathesis

from favsync.core.fields import is_exact
from favsync.http.doors import WAIT_MAX_S

CURSORS: dict[str, str] = json.loads(os.environ["FUZZ_CURSORS"])  # by path
DAY_MS = 86_400_000
EDGES = ("1970-01", "2100-12")  # where a zone, or Sync-Clock-Offset, may lead out of the range
PREFERENCES = itertools.cycle(
    ["return=minimal", "return=representation", "handling=lenient", "handling=lenient, return=representation", "x"]
)
_waits = itertools.cycle([1] + [0] * 49)  # seconds, where nothing changes; longer ones are tried elsewhere
_every_fourth = itertools.cycle([True, False, False, False])


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: object) -> None:
    """Makes cases that follow the document answerable; those that break it on purpose stay as they are."""
    if (
        isinstance(case.query, dict)
        and str(case.query.get("wait", "")).isdecimal()
        and int(case.query["wait"]) <= WAIT_MAX_S
    ):
        case.query["wait"] = next(_waits)
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if isinstance(case.query, dict):
        _mend_query(case.query, CURSORS.get(case.operation.path, ""))
    for records in case.body.values() if isinstance(case.body, dict) else [case.body]:
        for record in records if isinstance(records, list) else []:
            if isinstance(record, dict):
                record.update(_kept(record))
                date = record.get("actionDate")
                if isinstance(date, str) and date.startswith(EDGES):
                    record["actionDate"] = "2000" + date[4:]
                if "namespace" in record:
                    record.update(user="ann", namespace="main")
    _mend_headers(case.headers)


def _mend_headers(headers: Any) -> None:
    for name, value in dict(headers or {}).items():
        if name == "Sync-Clock-Offset" and abs(int(value)) > DAY_MS:
            headers[name] = "-1500"
        if name == "If-None-Match" and value.strip() == "*" and not next(_every_fourth):
            headers[name] = '"x"'
        if name == "Prefer":
            headers[name] = next(PREFERENCES)


def _mend_query(query: dict[str, Any], cursor: str) -> None:
    if "namespace" in query:
        query |= {"user": "ann", "namespace": "main"}
    if "page" in query and ("after" in query or not next(_every_fourth)):
        del query["page"]
    if "after" in query and not next(_every_fourth):
        query["after"] = cursor
        query.pop("user", None)
        query.pop("namespace", None)


def _kept(value: Any) -> Any:
    """The same with 0 for each number, and _ for each NUL, that could not be kept: no schema can say that of all."""
    match value:
        case dict():
            return {_kept(name): _kept(member) for name, member in value.items()}
        case list():
            return [_kept(element) for element in value]
        case str():
            return value.replace("\0", "_")
        case int() | float():
            return value if is_exact(value) else 0
        case _:
            return value
