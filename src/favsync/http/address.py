"""Where a request comes from: the other end of the connection, or whom a trusted proxy names."""

import functools
import ipaddress
import re
from collections.abc import Sequence

from aiohttp import web

from favsync.identity.issuers import Network

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_WITH_PORT = re.compile(r"([0-9.]+):\d+|\[([^]]+)\](?::\d+)?", re.ASCII)
_FORWARDED_MAX = 20  # proxies in a row


def peer(request: web.Request) -> IPAddress | None:
    """The other end of the connection; None where that is no address."""
    return _parse(request.remote or "")


def client(request: web.Request, trusted: Sequence[Network]) -> str:
    """Whom to hold to account: the peer, or where that is a trusted proxy, the nearest in X-Forwarded-For that is none.

    Of IPv6 the network of 64 bits, all of which one subscriber has.
    """
    if not trusted:
        return _account(request.remote or "")
    found = peer(request)
    if found is not None:
        hops = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")[-_FORWARDED_MAX:]
        while hops and any(found in network for network in trusted):
            named = _parse(hops.pop().strip())
            if named is None:
                break
            found = named
    return _named(found)


@functools.lru_cache(10_000)
def _account(text: str) -> str:
    return _named(_parse(text))


@functools.lru_cache(10_000)
def _named(found: IPAddress | None) -> str:
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return str(found)


@functools.lru_cache(10_000)  # the same few come again and again, and reading one takes 3 microseconds
def _parse(text: str) -> IPAddress | None:
    """An address, with or without a port or a zone; None for what is none."""
    match = _WITH_PORT.fullmatch(text)
    try:
        found = ipaddress.ip_address((match[1] or match[2] if match else text).partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found
