"""Where requests may go, and where not, however it is written."""

import asyncio
import ipaddress
import socket
import threading
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from favsync.client import BadAnswer, Client, ForbiddenAddress, Session, Timeouts, Unreachable
from favsync.client.addresses import base, networks, permitted
from tests.client.peer import Peer, answer

PRIVATE = [
    "0.0.0.0",  # noqa: S104 -- to be refused
    "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1",
    "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1", "64:ff9b:1::808:808", "100::1", "2001::1", "2001:2::1", "2001:10::1", "2001:db8::1",
    "2002:7f00:1::", "2002:a00:1::1", "2002:c0a8:101::", "2002:808:808::1",
    "3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1",
    "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "126.255.255.255",
    "128.0.0.1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2606:4700::1111", "2001:4860:4860::8888",
    "2a00::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_what_the_world_cannot_reach_is_refused(address: str) -> None:
    assert not permitted(address, ())


@pytest.mark.parametrize("address", PUBLIC)
def test_what_the_world_can_reach_is_not(address: str) -> None:
    assert permitted(address, ())


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_as_good_as_itself(one: IPv4Address) -> None:
    expected = permitted(str(one), ())
    assert expected <= one.is_global
    for embedding in ((0xFFFF << 32) + int(one), (0x64FF9B << 96) + int(one)):
        assert permitted(str(IPv6Address(embedding)), ()) == expected


@given(st.ip_addresses(v=6))
def test_nothing_is_public_that_python_calls_private(one: IPv6Address) -> None:
    assert permitted(str(one), ()) <= (one.is_global and not one.is_multicast)


@given(st.ip_addresses(), st.integers(0, 32))
def test_what_is_allowed_is_allowed(one: IPv4Address | IPv6Address, length: int) -> None:
    network = ipaddress.ip_network(f"{one}/{length}", strict=False)
    mapped = isinstance(one, IPv6Address) and one.ipv4_mapped is not None
    assert mapped or permitted(str(one), networks([network]))
    if isinstance(one, IPv4Address):
        assert permitted(f"::ffff:{one}", networks([str(network)]))


def test_a_network_allows_its_own_addresses_alone() -> None:
    allowed = networks(["127.0.0.0/8", "fd00::/8"])
    assert [permitted(one, allowed) for one in ("127.0.0.1", "fd00::1", "8.8.8.8")] == [True, True, True]
    assert not any(permitted(one, allowed) for one in ("10.0.0.1", "fe80::1", "::1", "2002:7f00:1::"))
    assert not permitted("::ffff:127.0.0.1", networks(["::/0"])), "that is an address of IPv4"
    with pytest.raises(ValueError):
        networks(["10.0.0.1/8"])


@pytest.mark.parametrize(
    "url",
    [
        "", "favsync.example.org", "ftp://example.org", "file:///etc/passwd", "https://", "https:///x", "javascript:1",
        "https://user@example.org", "https://user:secret@example.org", "https://:secret@example.org",
        "https://example.org/?a=secret", "https://example.org/#secret", "https://[::1", "https://example.org:99999",
        "http://example.org", "http://10.0.0.1", "http://localhost.example.org", "http://127.0.0.1.example.org",
        "http://2130706433", "https://example.org/" + 3000 * "a",
    ],
)  # fmt: skip
def test_a_url_that_is_none_for_a_service(url: str) -> None:
    with pytest.raises(ForbiddenAddress) as caught:
        base(url, http="loopback")
    assert "secret" not in str(caught.value)


def test_http_is_for_ones_own_machine_unless_said_otherwise() -> None:
    for url in ("http://127.0.0.1:8080", "http://localhost/x", "http://[::1]:80", "http://[::ffff:127.0.0.1]"):
        assert Session().check(url)
        with pytest.raises(ForbiddenAddress, match="https"):
            Session(allowed_networks=["127.0.0.0/8", "::1/128"]).check(url)
    assert Session(allow_http=True).check("http://example.org")
    assert Session(allowed_networks=[], allow_http=True).check("http://example.org")
    assert Session(allowed_networks=[]).check("https://example.org")


def _asking(port: int) -> list[str]:
    names = ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1", "0"]
    return [f"http://{name}:{port}" for name in names] + [f"http://2130706433:{port}", f"http://0177.0.0.1:{port}"]


async def test_a_literal_and_a_name_are_held_to_it_when_the_connection_is_made(peer: Peer) -> None:
    peer.answers = [answer(200, [])]
    async with Session(allowed_networks=[], allow_http=True) as strict:
        for url in _asking(peer.port):
            with pytest.raises(ForbiddenAddress):
                await Client(url, "secret", session=strict, retry=None).pull()
    assert not peer.asked
    async with Session(allowed_networks=["127.0.0.0/8"], allow_http=True) as allowing:
        for url in _asking(peer.port)[:3]:
            assert (await Client(url, "secret", session=allowing, retry=None).pull()).records == []
    assert len(peer.asked) == 3


async def test_a_name_that_becomes_another_address_is_not_followed_there(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebinding: what counts is the address of the connection, and not one that was looked up before."""
    looked_up = []

    def resolve(host: str, port: int, *_args: object, **_options: object) -> list[object]:
        looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    peer.answers = [answer(200, [])]
    url = f"http://rebound.example.org:{peer.port}"
    async with Session(allowed_networks=[], allow_http=True) as strict:
        with pytest.raises(ForbiddenAddress):
            await Client(url, "secret", session=strict).pull()
    assert looked_up
    assert not peer.asked
    async with Session(allow_http=True) as trusting:
        await Client(url, "secret", session=trusting).pull()
    assert len(peer.asked) == 1


async def test_of_several_addresses_the_one_that_is_allowed_is_used(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(_host: str, port: int, *_args: object, **_options: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in ("127.0.0.9", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    peer.answers = [answer(200, [])]
    url = f"http://several.example.org:{peer.port}"
    async with Session(allowed_networks=["127.0.0.1/32"], allow_http=True) as strict:
        await Client(url, "secret", session=strict, retry=None).pull()
    assert len(peer.asked) == 1
    async with Session(allowed_networks=["10.0.0.0/8"], allow_http=True) as stricter:
        with pytest.raises(ForbiddenAddress):
            await Client(url, "secret", session=stricter, retry=None).pull()


async def test_names_that_hang_hold_up_nobody_else(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads of the loop are fewer than these; and a look-up that was given up goes on."""
    real, end = socket.getaddrinfo, threading.Event()

    def resolve(host: str, *args: Any, **options: Any) -> Any:
        if host.startswith("hangs"):
            end.wait(20)
            raise socket.gaierror(socket.EAI_AGAIN, "Try again")
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    peer.answers = [answer(200, [])]
    async with Session(timeouts=Timeouts(total=1)) as session:
        urls = [f"https://hangs{number}.example.org" for number in range(20)]
        pulls = [Client(url, "secret", session=session, retry=None).pull() for url in urls]
        hanging = asyncio.gather(*pulls, return_exceptions=True)
        await asyncio.sleep(0.1)
        await Client(f"http://localhost:{peer.port}", "secret", session=session, retry=None).pull()
        assert {type(one) for one in await hanging} == {Unreachable}
        end.set()


async def test_hosts_that_cannot_be(session: Session) -> None:
    for url in ("https://" + 64 * "a" + ".example", "https://1.2.3", "https://127.0.0.1."):
        with pytest.raises(ForbiddenAddress, match="cannot be one"):
            await Client(url, "secret", session=session, retry=None).pull()
    with pytest.raises(Unreachable, match="name"):
        await Client("https://nobody.invalid", "secret", session=session, retry=None).pull()


async def test_no_redirect_is_followed(peer: Peer, session: Session) -> None:
    other = Peer()
    await other.start()
    other.answers = [answer(200, [])]
    for status in (301, 302, 303, 307, 308):
        peer.answers = [answer(status, Location=f"{other.url}/sync/favorites?secret=1")]
        with pytest.raises(BadAnswer, match="redirect") as caught:
            await Client(peer.url, "secret", session=session).pull()
        assert "secret" not in str(caught.value)
    assert not other.asked
    await other.stop()
