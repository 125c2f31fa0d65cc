"""Where requests come from: a proxy's word for a user, addresses behind proxies, and how many may come."""

import asyncio
import ipaddress
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from favsync.http import address
from favsync.identity.issuers import UserHeader, networks, read_issuers
from tests.http.conftest import Client, Serve, bearer, token
from tests.identity.fake import CLIENT, FakeIssuer

GET = "/getUserFavorites"
POST = "/postUserFavorites"
HERE = networks("127.0.0.0/8")
ELSEWHERE = networks("10.0.0.0/8")


async def test_a_proxy_says_who_it_is(serve: Serve) -> None:
    client = await serve(user_header=UserHeader(name="X-User-Id", proxies=HERE, namespace="intranet"))
    record = {"item": "of the intranet", "actionDate": "2020-01-01T00:00:00Z", "action": "ADD"}
    assert (await client.post(POST, json=[record], headers={"X-User-Id": "ann"})).status == 200
    content = await (await client.get(GET, headers={"x-user-id": " ann "})).json()
    assert [one["item"] for one in content] == ["of the intranet"]
    assert await (await client.get(GET, headers=bearer("ann"))).json() == [], "ann by token is somebody else"
    both = {"X-User-Id": "ann", **bearer("bob")}
    assert len(await (await client.get(GET, headers=both)).json()) == 1, "the proxy decides"
    for wrong in ("", " ", "a" * 256, "\ud800"):
        response = await client.get(GET, headers={"X-User-Id": wrong})
        assert response.status == 401, wrong
    assert (await client.get(GET, headers=[("X-User-Id", "ann"), ("X-User-Id", "bob")])).status == 401
    assert (await client.get(GET)).status == 401


async def test_from_anywhere_else_the_header_is_nothing(serve: Serve) -> None:
    header = UserHeader(name="X-User-Id", proxies=ELSEWHERE, namespace="main")
    client = await serve(user_header=header, trusted_proxies=HERE)
    assert (await client.get(GET, headers={"X-User-Id": "ann"})).status == 401
    spoofed = {"X-User-Id": "ann", "X-Forwarded-For": "10.0.0.1"}
    assert (await client.get(GET, headers=spoofed)).status == 401, "only the connection itself counts"
    record = {"item": "x", "actionDate": "2020-01-01T00:00:00Z", "action": "ADD"}
    await client.post(POST, json=[record], headers=bearer("ann"))
    assert await (await client.get(GET, headers=bearer("bob") | {"X-User-Id": "ann"})).json() == []


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.7, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("10.0.0.1", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("10.0.0.1", "[2001:db8:1:2:3::4]:4711", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8::1", "", "2001:db8::/64"),
    ],
)
def test_the_address_that_is_held_to_account(peer: str, forwarded: str, found: str) -> None:
    class Transport(asyncio.Transport):
        def get_extra_info(self, _name: str, _default: object = None) -> object:
            return (peer, 1)

    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": forwarded}, transport=Transport())
    assert address.client(request, ELSEWHERE) == found


def test_a_connection_that_is_gone_has_no_address() -> None:
    request = make_mocked_request("GET", "/", transport=asyncio.Transport())
    assert address.peer(request) is None
    assert address.client(request, ELSEWHERE) == "None"


async def many(client: Client, count: int, **headers: str) -> list[web.Response]:
    answers = [client.get(GET, headers=headers) for _ in range(count)]
    return await asyncio.gather(*answers)  # type: ignore[return-value]


async def test_a_user_who_sends_too_much_waits_and_nobody_else(serve: Serve) -> None:
    client = await serve(rate_limit_user=2)
    answers = await many(client, 14, **bearer("ann"))
    statuses = sorted(answer.status for answer in answers)
    assert statuses[:10] == [200] * 10
    assert statuses[-1] == 429
    [refused, *_] = [answer for answer in answers if answer.status == 429]
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["Sync-Time"]
    assert (await client.get(GET, headers=bearer("bob"))).status == 200
    another = {"Authorization": f"Bearer {token('ann', iat=1)}"}
    assert (await client.get(GET, headers=another)).status == 429, "the user counts, not the token"
    await asyncio.sleep(0.6)
    assert (await client.get(GET, headers=bearer("ann"))).status == 200


async def test_so_does_an_address_whoever_it_says_it_is(serve: Serve) -> None:
    client = await serve(rate_limit_address=2, trusted_proxies=ELSEWHERE)
    answers = [await client.get(GET, headers={"X-Forwarded-For": f"198.51.100.{number}"}) for number in range(14)]
    assert {answer.status for answer in answers} == {401, 429}
    assert (await client.get("/")).status == 429
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await client.get(path)).status == 200, "who watches over us is not to be shut out by others"


async def test_behind_a_trusted_proxy_each_has_its_own(serve: Serve) -> None:
    client = await serve(rate_limit_address=1, trusted_proxies=HERE)
    for number in range(20):
        assert (await client.get("/", headers={"X-Forwarded-For": f"198.51.100.{number}"})).status == 200
    statuses = {(await client.get("/", headers={"X-Forwarded-For": "evil, 198.51.100.99"})).status for _ in range(8)}
    assert statuses == {200, 429}


async def test_tokens_that_prove_nothing_hold_up_only_others_like_them(serve: Serve, fake: FakeIssuer) -> None:
    asked = {"url": fake.url("/introspect"), "client_id": CLIENT[0], "client_secret": CLIENT[1]}
    opaque = read_issuers([{"introspection": asked, "any_audience": True, "namespace": "opaque"}], Path())
    fake.tokens = {"good": {"active": True, "sub": "ann"}, "later": {"active": True, "sub": "bob"}}
    client = await serve(issuers=opaque, rate_limit_failures=1)
    assert (await client.get(GET, headers={"Authorization": "Bearer good"})).status == 200
    statuses = [(await client.get(GET, headers={"Authorization": f"Bearer bad{n}"})).status for n in range(20)]
    assert statuses[:5] == [401] * 5
    assert set(statuses[7:]) == {429}
    assert fake.asked["/introspect"] <= 8
    assert (await client.get(GET, headers={"Authorization": "Bearer good"})).status == 200
    assert (await client.get(GET, headers={"Authorization": "Bearer later"})).status == 429
    assert (await client.get(GET)).status == 401


def test_networks() -> None:
    assert networks(" 10.0.0.0/8 ,, ::1") == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1"))
