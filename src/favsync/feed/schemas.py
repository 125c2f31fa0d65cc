"""A change in a feed, as the wire has it."""

from typing import Any

import marshmallow
from marshmallow import fields

from favsync.core.record import ITEM_LENGTH_MAX, SUBJECT_LENGTH_MAX, Action, owner_of
from favsync.http.wire import dump_version
from favsync.store.feed import Change


class _Change(marshmallow.Schema):
    """What dump_change makes."""

    position = fields.Integer(required=True, metadata={"description": "Its place in the feed, which only grows"})
    user = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "A `sub`; null in a set that the tenant shares", "maxLength": SUBJECT_LENGTH_MAX},
    )
    namespace = fields.String(metadata={"description": "Of that user, where it is not the caller's own"})
    item = fields.String(required=True, metadata={"maxLength": ITEM_LENGTH_MAX})
    action = fields.String(required=True, metadata={"enum": list(Action)})
    actionDate = fields.String(required=True)  # noqa: N815 -- the protocol's name


# The schema's own attribute `fields` is taken.
ChangeSchema = _Change.from_dict(
    {"fields": fields.Dict(metadata={"description": "Of an ADD, as it was written"})}, name="ChangeSchema"
)


class PageSchema(marshmallow.Schema):
    """A part of a feed."""

    changes = fields.List(fields.Nested(ChangeSchema), required=True)
    cursor = fields.String(required=True, metadata={"description": "For `after`: keep it once you have stored these"})
    hasMore = fields.Boolean(required=True)  # noqa: N815 -- the protocol's name


def dump_change(change: Change, namespace: str) -> dict[str, Any]:
    """`namespace`: the caller's own, which goes without saying."""
    owner = owner_of(change.user)
    dumped: dict[str, Any] = {"position": change.position, "user": owner.subject}
    if owner.namespace not in (None, namespace):
        dumped["namespace"] = owner.namespace
    return dumped | dump_version(change.item, change.action_us, change.deleted, change.fields)
