"""What several doors show alike."""

from typing import Any

import orjson

from favsync.core import timestamp
from favsync.core.record import Action


def dump_version(item: str, action_us: int, deleted: bool, fields: str | None) -> dict[str, Any]:  # noqa: FBT001 -- a column
    """A record as the protocol shows it, for orjson. `fields`: canonical JSON, None for none."""
    dumped: dict[str, Any] = {
        "item": item,
        "actionDate": timestamp.render(action_us),
        "action": (Action.DELETE if deleted else Action.ADD).value,
    }
    if fields is not None:
        dumped["fields"] = orjson.Fragment(fields)  # the very bytes that were hashed
    return dumped
