"""What a link remembers, as it is stored: packed, since nobody but its next cycle reads it."""

import hashlib
import zlib
from collections.abc import Iterable
from typing import Any

import orjson

from favsync.client.turns import aside
from favsync.core.reconcile import Memory, Offer
from favsync.core.record import Version
from favsync.peering import Peer

_LAYOUT = 1
_RECORD_BYTES = 10  # of a record, as it is packed, at least
_LEVEL = 1  # dates and items shrink to a third at once, and little more later


def _place(peer: Peer) -> str:
    """Whose list is remembered: at another place that list says nothing, and least of all what was deleted."""
    return orjson.dumps([peer.url, peer.get, peer.entity, peer.tenant, peer.prefix]).decode()


def tagged(peer: Peer, etag: str | None) -> str | None:
    """An ETag as it is stored: with what the settings say of the peer, by which both sides were equal."""
    return None if etag is None else f"{_terms(peer)} {etag}"


def untagged(peer: Peer, stored: str | None) -> str | None:
    """The ETag; None where the settings say something else by now: then equal is not what it was."""
    terms, _, etag = (stored or "").partition(" ")
    return etag if terms == _terms(peer) else None


def _terms(peer: Peer) -> str:
    terms = [_place(peer), peer.post, peer.direction, repr(peer.rules)]
    return hashlib.sha256(orjson.dumps(terms)).hexdigest()[:16]


async def keep(memory: Memory, peer: Peer) -> bytes | None:
    """As it is stored; None for one that is empty."""
    records = len(memory.shadow) + len(memory.offers)
    return await aside(lambda: _pack(memory, peer), records=records) if records else None


async def recall(packed: bytes | None, peer: Peer) -> Memory:
    """Empty for None, for one of another place, and for one that another release has written in a form of its own."""
    if packed is None:
        return Memory()
    return await aside(lambda: _unpack(packed, peer), records=len(packed) // _RECORD_BYTES)


def _pack(memory: Memory, peer: Peer) -> bytes:
    shadow = {item: _written(version) for item, version in memory.shadow.items()}
    offers = {item: [*_written(offer.version), offer.times, offer.restamped] for item, offer in memory.offers.items()}
    return zlib.compress(orjson.dumps([_LAYOUT, _place(peer), shadow, offers]), _LEVEL)


def _unpack(packed: bytes, peer: Peer) -> Memory:
    layout, *rest = orjson.loads(zlib.decompress(packed))
    if layout != _LAYOUT:
        return Memory()
    where, shadow, offers = rest
    if where != _place(peer):
        return Memory()
    return Memory(
        {item: _version(*parts) for item, parts in shadow.items()},
        {item: Offer(_version(*version), times, restamped) for item, (*version, times, restamped) in offers.items()},
    )


def _written(version: Version) -> Iterable[Any]:
    return [version.action_us, version.deleted, version.digest.hex()]


def _version(action_us: int, deleted: bool, digest: str) -> Version:  # noqa: FBT001 -- as it is written
    return Version(action_us, deleted, bytes.fromhex(digest))
