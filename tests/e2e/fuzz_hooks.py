"""What a generator cannot know: a cursor of this very user, preferences, and that clocks are not off by centuries.

Loaded by schemathesis, in a process of its own, by the variable SCHEMATHESIS_HOOKS.
"""

import itertools
import os
from typing import Any

import schemathesis

CURSOR = os.environ["FUZZ_CURSOR"]
DAY_MS = 86_400_000
PREFERENCES = itertools.cycle(
    ["return=minimal", "return=representation", "handling=lenient", "handling=lenient, return=representation", "x"]
)
_every_other = itertools.cycle([True, False])


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: object) -> None:
    """Makes cases that follow the document answerable; those that break it on purpose stay as they are."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if isinstance(case.query, dict) and "after" in case.query and next(_every_other):
        case.query["after"] = CURSOR
    for name, value in dict(case.headers or {}).items():
        if name == "Sync-Clock-Offset" and abs(int(value)) > DAY_MS:
            case.headers[name] = "-1500"
        if name == "Prefer":
            case.headers[name] = next(PREFERENCES)
