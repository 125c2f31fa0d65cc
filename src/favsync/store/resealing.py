"""Sealing anew, with the first key of the settings, what older keys have sealed: after that these may go."""

from typing import NamedTuple

import asyncpg

from favsync.identity.vault import Unreadable, Vault
from favsync.store import sql

_PAGE = sql.query("links/page")
_RESEAL = sql.query("links/reseal")

_LINKS_AT_ONCE = 500
_PASSES_MAX = 5  # a running service may renew a token at the same moment, and seal it with the key that it has


class Resealed(NamedTuple):
    """Links: how many there are, were sealed anew, are not yet of the first key, and no key opens."""

    links: int
    resealed: int
    left: int
    unreadable: int


async def reseal(connection: asyncpg.Connection, vault: Vault) -> Resealed:
    """Each link by itself: ended at any moment, it goes on with the next call."""
    resealed = 0
    for _ in range(_PASSES_MAX):
        once = await _once(connection, vault)
        resealed += once.resealed
        if not (once.resealed or once.left):
            break
    return once._replace(resealed=resealed)


async def _once(connection: asyncpg.Connection, vault: Vault) -> Resealed:
    links = resealed = left = unreadable = 0
    user = peer = ""
    while rows := await connection.fetch(_PAGE, user, peer, _LINKS_AT_ONCE):
        for user, peer, secret in rows:
            links += 1
            if vault.is_current(secret):
                continue
            try:
                again = vault.seal(user, peer, vault.open(user, peer, secret))
            except Unreadable:
                unreadable += 1
                continue
            done = await connection.fetch(_RESEAL, user, peer, secret, again)
            resealed, left = (resealed + 1, left) if done else (resealed, left + 1)
    return Resealed(links, resealed, left, unreadable)
