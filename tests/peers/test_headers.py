"""Peers that are asked with a header of ours: what it means where that is refused, and where it was a token before."""

from typing import Any

from aiohttp import web
from yarl import URL

from favsync.core.record import Version
from favsync.peering import Direction
from tests.peers.conftest import Serve, peer
from tests.peers.test_links import by_key, serves_lists
from tests.peers.test_third_parties import Start
from tests.peers.third_party import MS, until


async def test_an_account_that_came_with_a_token_opens_nothing_with_our_key(serve: Serve, third_party: Start) -> None:
    """A user may say any account beside a token, which decides; the settings may later have a header in its place."""
    party = await third_party()
    party.has["victim"] = {"of victim": Version(MS, deleted=False)}
    service = await serve(peer(party.url, direction=Direction.PULL))
    await service.link(token="token-of-ann", account="victim")
    await until(lambda: _synced(service))
    await service.stop()
    asked = await serves_lists(party)
    service = await serve(by_key(party))
    await until(service.waits)
    assert (asked, await service.has()) == ([], [])
    assert (await service.ask("PUT", "/peers/other/link", json={}))[0] == 200
    await until(lambda: asked)
    assert asked[0] == URL("/users/ann/list?of=ann")


async def _synced(service: Any) -> bool:
    return (await service.state())["lastSync"] is not None


async def test_where_our_header_is_refused_no_user_has_to_log_in(serve: Serve, third_party: Start) -> None:
    party = await third_party()
    party.has["ann"] = {"theirs": Version(MS, deleted=False)}

    async def refuses(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=401)

    party.instead = refuses
    service = await serve(by_key(party))
    assert (await service.ask("PUT", "/peers/other/link", json={}))[0] == 200
    await until(service.fault)
    assert not await service.waits()
    await serves_lists(party)  # the operator has mended it
    await until(service.has)
