"""A client of this service, and of any that has the two endpoints of the protocol: docs/sdk.md.

Knows the wire and `favsync.core`, and nothing of how the service works.
"""

from favsync.client.auth import Auth, Bearer
from favsync.client.client import SEED, SYNC, Client, Paths, Pulled
from favsync.client.clock import Clock
from favsync.client.errors import (
    BadAnswer,
    Busy,
    ClientError,
    CursorGone,
    ForbiddenAddress,
    Invalid,
    Refused,
    ServerFault,
    Unauthorized,
    Unreachable,
    Unsendable,
)
from favsync.client.feeds import Change, FeedPage
from favsync.client.records import Receipt, Record, RefusedRecord
from favsync.client.retries import Retry
from favsync.client.session import Session, Timeouts

__all__ = [
    "SEED",
    "SYNC",
    "Auth",
    "BadAnswer",
    "Bearer",
    "Busy",
    "Change",
    "Client",
    "ClientError",
    "Clock",
    "CursorGone",
    "FeedPage",
    "ForbiddenAddress",
    "Invalid",
    "Paths",
    "Pulled",
    "Receipt",
    "Record",
    "Refused",
    "RefusedRecord",
    "Retry",
    "ServerFault",
    "Session",
    "Timeouts",
    "Unauthorized",
    "Unreachable",
    "Unsendable",
]
