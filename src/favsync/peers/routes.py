"""Links as their users make, see and end them: /peers/{peer}/link."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, cast

import marshmallow
from aiohttp import web

from favsync.core.errors import Fault, InsufficientScope, InvalidRecords, NotThere
from favsync.core.fields import pointer_to
from favsync.core.record import owner_of
from favsync.http import keys, owners, queueing
from favsync.http.body import read_json
from favsync.http.respond import PRIVATE, Reply, private_json
from favsync.identity.authenticator import Identity
from favsync.identity.issuers import SYNC_ANY
from favsync.identity.vault import Credentials, Unreadable, Vault
from favsync.peering import Peer
from favsync.peers.schemas import EntrustedSchema, dump_link
from favsync.store import links

BODY_BYTES_MAX = 64 * 1024


class Links:
    """`made`, `ended`: told a peer and a user between which there is a new link or secret, or no link any more."""

    def __init__(
        self,
        peers: Mapping[str, Peer],
        vault: Vault,
        made: Callable[[str, str], None],
        ended: Callable[[str, str], None],
    ) -> None:
        self._peers = peers
        self._vault = vault
        self._made = made
        self._ended = ended

    async def put(self, request: web.Request, caller: Identity) -> web.StreamResponse:
        """Keeps how the user is known at the peer; a cycle begins at once."""
        peer, owner = self._addressed(request, caller)
        given = _read(await read_json(request, max_bytes=BODY_BYTES_MAX), peer)
        entrusted = given if peer.by_token else _named(given, request, caller, owner)
        database = request.app[keys.DATABASE]
        async with _turn(request, caller):
            before = await links.get(database, owner, peer.name)
            same = before is not None and self._is_same_account(owner, peer, before.secret, entrusted)
            sealed = self._vault.seal(owner, peer.name, entrusted)
            await links.put(database, owner, peer.name, sealed, same_account=same)
            self._made(peer.name, owner)
            return await self._shown(request, owner, peer)

    async def get(self, request: web.Request, caller: Identity) -> web.StreamResponse:
        peer, owner = self._addressed(request, caller)
        async with _turn(request, caller):
            return await self._shown(request, owner, peer)

    async def delete(self, request: web.Request, caller: Identity) -> web.StreamResponse:
        """Forgets it, and what was entrusted. What was learnt stays: those are the user's records."""
        peer, owner = self._addressed(request, caller)
        async with _turn(request, caller):
            if not await links.delete(request.app[keys.DATABASE], owner, peer.name):
                raise NotThere("There is no link with this peer.")
        self._ended(peer.name, owner)
        return Reply(status=204, headers=PRIVATE)

    async def _shown(self, request: web.Request, owner: str, peer: Peer) -> web.StreamResponse:
        link = await links.get(request.app[keys.DATABASE], owner, peer.name)
        if link is None:
            raise NotThere("There is no link with this peer.")
        return private_json(request, dump_link(peer.name, link))

    def _addressed(self, request: web.Request, caller: Identity) -> tuple[Peer, str]:
        peer = self._peers.get(request.match_info["peer"])
        if peer is None or peer.tenant != caller.tenant:
            raise NotThere("There is no peer of this name.")
        return peer, owners.addressed(request, caller, may_ignore=False)

    def _is_same_account(self, owner: str, peer: Peer, sealed: bytes, now: Credentials) -> bool:
        """Whether what is remembered of the peer's list still counts: not where it may be another account's."""
        try:
            before = self._vault.open(owner, peer.name, sealed)
        except Unreadable:
            return False
        return before == now or (before.account is not None and before.account == now.account)


def _turn(request: web.Request, caller: Identity) -> AbstractAsyncContextManager[None]:
    """At the database, where all that one user asks for waits for one row."""
    return queueing.turn(request, request.app[keys.READS], caller)


def _read(body: object, peer: Peer) -> Credentials:
    """Raises InvalidRecords, with each place."""
    if not isinstance(body, dict):
        raise InvalidRecords([Fault(None, "", "is not an object")], "The body must be an object.")
    try:
        loaded = cast("dict[str, Any]", EntrustedSchema().load(body))
    except marshmallow.ValidationError as error:
        messages = cast("dict[str, list[str]]", error.messages)
        faults = [Fault(None, pointer_to(name), _lower(said[0])) for name, said in messages.items()]
        raise InvalidRecords(faults) from None
    found = Credentials(loaded["token"], loaded["refreshToken"], loaded["account"])
    if peer.by_token and found.token is None:
        raise InvalidRecords([Fault(None, "/token", "is missing")])
    unused = {
        "token": not peer.by_token and found.token is not None,
        "refreshToken": peer.renewal is None and found.refresh_token is not None,
    }
    if kept_in_vain := [name for name, is_unused in unused.items() if is_unused]:
        why = "is not what this peer is asked with"
        raise InvalidRecords([Fault(None, pointer_to(name), why) for name in kept_in_vain])
    return found


def _named(given: Credentials, request: web.Request, caller: Identity, owner: str) -> Credentials:
    """With the account at a peer that our own key opens, the same for all of our users.

    They cannot choose it: each could have another's. It is what a backend says, or what the user is called here, where
    no two are called the same. Raises InsufficientScope, InvalidRecords.
    """
    account = given.account
    if account is not None and SYNC_ANY not in caller.scopes:
        raise InsufficientScope(SYNC_ANY, "`account` is for a backend to say, with a token that grants sync:any.")
    if account is None and len(owners.namespaces(request, caller)) == 1:
        account = owner_of(owner).subject
    if account is None:
        raise InvalidRecords([Fault(None, "/account", "is missing")])
    if account in (".", "..") or ";" in account:  # behind which some servers take the rest for no part of the name
        raise InvalidRecords([Fault(None, "/account", "is no name where it stands in a path")])
    return replace(given, account=account)


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:].rstrip(".")
