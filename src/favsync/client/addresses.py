"""Where requests may go: URLs by their form, and the addresses that their names turn out to stand for.

The networks are those of IANA's special-purpose registries (RFC 6890) that are not globally reachable. They are written
out here, since what `ipaddress` calls global differs between releases of Python.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from yarl import URL

from favsync.client.errors import ForbiddenAddress

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Http = Literal["any", "loopback", "none"]

URL_LENGTH_MAX = 2048

_CLOSED_4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host, the unspecified one among them
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # private
        "100.64.0.0/10",  # behind a carrier's NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, where clouds keep their metadata
        "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15",  # protocols, old relays, benchmarks
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",  # documentation
        "224.0.0.0/4", "240.0.0.0/4",  # multicast, and reserved, with broadcast
    )
]  # fmt: skip
_OPEN_6 = IPv6Network("2000::/3")  # all that is assigned for the world to reach; loopback, local, multicast lie outside
_CLOSED_6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocols: Teredo, benchmarks, ORCHID
        "2001:db8::/32", "3fff::/20",  # documentation
        "2002::/16",  # 6to4, whose relays are gone (RFC 7526): what is embedded there may be anything
    )
]  # fmt: skip
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")


def networks(named: Iterable[str | Network]) -> tuple[Network, ...]:
    """ValueError for what is not a network such as 10.0.0.0/8 or fd00::/8."""
    return tuple(ipaddress.ip_network(one) for one in named)


def permitted(address: str, allowed: Sequence[Network]) -> bool:
    """Whether a connection may go there: it lies in a network that is allowed, or the whole world can reach it.

    An IPv6 address in which an IPv4 one is embedded counts as public only where that one is, too.
    """
    one = _plain(ipaddress.ip_address(address))
    if any(one in network for network in allowed):
        return True
    if isinstance(one, IPv4Address):
        return not any(one in network for network in _CLOSED_4)
    if one in _NAT64:
        return permitted(str(IPv4Address(int(one) & 0xFFFF_FFFF)), ())
    return one in _OPEN_6 and not any(one in network for network in _CLOSED_6)


def _plain(one: Address) -> Address:
    """A mapped IPv4 address is one: that is where the system connects to."""
    return IPv4Address(int(one) & 0xFFFF_FFFF) if isinstance(one, IPv6Address) and one in _MAPPED else one


def base(text: str, *, http: Http) -> URL:
    """The URL of a service; ForbiddenAddress for one that no request shall go to, without repeating it.

    `http`: where URLs may lead that begin with http: localhost and literals of loopback are where nobody listens in.
    """
    try:
        url = URL(text) if len(text) <= URL_LENGTH_MAX else URL()
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ForbiddenAddress("the URL needs a scheme and a host, as in https://favsync.example.org")
    if url.user is not None or url.password is not None:
        raise ForbiddenAddress("the URL holds a user or a password")
    if url.query_string or url.fragment:
        raise ForbiddenAddress("the URL of a service ends with its path")
    if url.scheme == "http" and not (http == "any" or (http == "loopback" and _is_loopback(url.host))):
        raise ForbiddenAddress("the URL must begin with https: over http anybody on the way can read the token")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return _plain(ipaddress.ip_address(host)).is_loopback
    except ValueError:
        return host == "localhost"
