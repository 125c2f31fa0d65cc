"""A link, as the wire has it."""

from typing import Any

import marshmallow
from marshmallow import fields, validate

from favsync.catalog.types import checked_text
from favsync.core import timestamp
from favsync.core.record import SUBJECT_LENGTH_MAX
from favsync.http.auth import TOKEN_LENGTH_MAX
from favsync.store.links import Link

_PRINTED = r"^[!-~]+$"


def _token(description: str) -> fields.String:
    return fields.String(
        load_default=None,
        metadata={"description": description, "pattern": _PRINTED},
        validate=[
            validate.Length(1, TOKEN_LENGTH_MAX, error="must have {min} to {max} characters"),
            validate.Regexp(r"[!-~]+\Z", error="is not ASCII without spaces"),
        ],
    )


class EntrustedSchema(marshmallow.Schema):
    """How a user is known at a peer."""

    class Meta:
        unknown = marshmallow.RAISE

    token = _token("The user's own access token for that peer")
    refreshToken = _token("From which a new one is had, where the peer's settings say how")  # noqa: N815 -- of the wire
    account = fields.String(
        load_default=None,
        metadata={"description": "What the user is called there", "pattern": "^[^\\x00]*$"},
        validate=[validate.Length(1, SUBJECT_LENGTH_MAX, error="must have {min} to {max} characters"), checked_text],
    )


class _CountsSchema(marshmallow.Schema):
    """Of the latest cycle that came to its end, in records."""

    received = fields.Integer(required=True)
    refused = fields.Integer(required=True, metadata={"description": "Of the peer's, not valid here"})
    future = fields.Integer(required=True, metadata={"description": "Of the peer's, too far ahead of this clock"})
    beyondLimit = fields.Integer(required=True)  # noqa: N815 -- of the wire
    learnt = fields.Integer(required=True)
    sent = fields.Integer(required=True)
    parked = fields.Integer(required=True, metadata={"description": "Offered to the peer in vain: not again as it is"})
    heldBack = fields.Integer(required=True, metadata={"description": "Deletions by absence that would be too many"})  # noqa: N815 -- of the wire


class _ErrorSchema(marshmallow.Schema):
    at = fields.String(required=True)
    detail = fields.String(required=True)


class LinkSchema(marshmallow.Schema):
    """How a link does. Never what was entrusted."""

    peer = fields.String(required=True)
    needsLogin = fields.Boolean(required=True, metadata={"description": "Nothing goes until there is a new token"})  # noqa: N815 -- of the wire
    failures = fields.Integer(required=True, metadata={"description": "In a row"})
    atWork = fields.Boolean(required=True)  # noqa: N815 -- of the wire
    nextAt = fields.String(required=True, allow_none=True)  # noqa: N815 -- of the wire
    lastSync = fields.String(required=True, allow_none=True)  # noqa: N815 -- of the wire
    lastError = fields.Nested(_ErrorSchema, required=True, allow_none=True)  # noqa: N815 -- of the wire
    counts = fields.Nested(_CountsSchema, required=True, allow_none=True)


def dump_link(peer: str, link: Link) -> dict[str, Any]:
    due_us = int(link.due_at.timestamp() * timestamp.US_PER_S)
    return {
        "peer": peer,
        "needsLogin": link.needs_login,
        "failures": link.failures,
        "atWork": link.at_work,
        "nextAt": None if link.needs_login else timestamp.render(due_us // timestamp.US_PER_MS * timestamp.US_PER_MS),
        "lastSync": link.state.get("lastSync"),
        "lastError": link.state.get("lastError"),
        "counts": link.state.get("counts"),
    }
