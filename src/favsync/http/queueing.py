"""Requests that wait for their turn: for as long as their client does, within the bound of what is held for clients."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

from aiohttp import web

from favsync.http import keys
from favsync.http.protocol import Connection
from favsync.identity.authenticator import Identity
from favsync.turns import Turns

READ_WAIT_S = 3.0
BATCH_WAIT_S = 10.0


@contextlib.asynccontextmanager
async def turn(
    request: web.Request, turns: Turns, caller: Identity, *, wait_s: float = READ_WAIT_S, held_bytes: int = 0
) -> AsyncIterator[None]:
    """A turn of the caller's, for as long as the block takes. Raises Overloaded where none comes within `wait_s`.

    CancelledError where the client goes before. `held_bytes`: of the request, while it waits; where all that wait hold
    too much, who has waited longest is ended.
    """
    connections, connection = request.app[keys.CONNECTIONS], cast("Connection", request.protocol)
    connection.queued = asyncio.current_task()
    connections.hold(connection, held_bytes)
    try:
        await turns.take(caller.owner, wait_s=wait_s)
    finally:
        connection.queued = None
        connections.hold(connection, 0)
    try:
        yield
    finally:
        turns.give_back()
