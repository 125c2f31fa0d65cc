"""Whose work a link is: at any moment one process's, and nobody's for long; on a real database, without cycles."""

import asyncio
import uuid

import pytest

from favsync.store import links
from favsync.store.database import Database
from favsync.store.links import Claim, Found
from tests.peers.conftest import Serve

PEER = "other"
ONE, OTHER = uuid.uuid4(), uuid.uuid4()
FOUND = Found(b"memory", '"tag"', 7, 0, {"counts": None}, False, 60.0, 0.0)


@pytest.fixture
async def database(serve: Serve) -> Database:
    return (await serve()).database


async def put(database: Database, user: str = "ann", secret: bytes = b"sealed", *, same: bool = False) -> None:
    await links.put(database, user, PEER, secret, same_account=same)


async def claim(database: Database, lease: uuid.UUID = ONE, most: int = 10, lease_s: float = 60) -> list[Claim]:
    return await links.claim(database, PEER, lease, most=most, lease_s=lease_s)


async def test_each_link_is_claimed_once(database: Database) -> None:
    """By eight processes at a time that all look for the longest due."""
    users = {f"user-{number:03}" for number in range(200)}
    for user in users:
        await put(database, user)

    async def process() -> list[str]:
        lease, mine = uuid.uuid4(), []
        while True:
            mine += [one.user_id for one in await claim(database, lease)]
            async with database.connection() as connection:
                if not await connection.fetchval("SELECT count(*) FROM links WHERE lease IS NULL"):
                    return mine

    taken = await asyncio.gather(*(process() for _ in range(8)))
    assert sorted(user for mine in taken for user in mine) == sorted(users)


async def test_what_a_process_took_that_died_is_due_when_its_lease_ends(database: Database) -> None:
    await put(database)
    [dead] = await claim(database, lease_s=0.3)
    assert await claim(database, OTHER) == []
    await asyncio.sleep(0.4)
    [taken] = await claim(database, OTHER)
    assert taken == dead
    assert await links.renew(database, PEER, [dead], ONE, lease_s=60) == set()
    await links.release(database, PEER, [dead], ONE, wait_s=0)
    assert not await links.finish(database, PEER, dead, ONE, FOUND)
    assert await claim(database) == []
    assert await links.finish(database, PEER, taken, OTHER, FOUND)


async def test_a_lease_goes_on_while_it_is_renewed(database: Database) -> None:
    await put(database)
    claimed = await claim(database, lease_s=0.3)
    assert await links.renew(database, PEER, claimed, ONE, lease_s=60) == {("ann", claimed[0].revision)}
    await asyncio.sleep(0.4)
    assert await claim(database, OTHER) == []


async def test_what_is_released_is_anybodys(database: Database) -> None:
    await put(database)
    claimed = await claim(database)
    await links.release(database, PEER, claimed, OTHER, wait_s=0)
    assert await claim(database, OTHER) == [], "it was not theirs to release"
    await links.release(database, PEER, claimed, ONE, wait_s=0.3)
    assert await claim(database, OTHER) == []
    await asyncio.sleep(0.4)
    assert await claim(database, OTHER) == claimed


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("claimed_anew", [False, True])
async def test_a_cycle_of_another_secret_keeps_nothing(database: Database, deleted: bool, claimed_anew: bool) -> None:
    """Even where the same process has taken the link again."""
    await put(database)
    [before] = await claim(database)
    if deleted:
        assert await links.delete(database, "ann", PEER)
    await put(database, secret=b"another")
    now = await claim(database) if claimed_anew else []
    assert not await links.finish(database, PEER, before, ONE, FOUND)
    assert await links.renew(database, PEER, [before], ONE, lease_s=60) == set()
    await links.release(database, PEER, [before], ONE, wait_s=0)
    await links.renewed(database, PEER, before, b"renewed")
    link = await links.get(database, "ann", PEER)
    assert link is not None
    assert (link.secret, link.at_work) == (b"another", claimed_anew)
    [after] = now or await claim(database)
    assert (after.secret, after.memory, after.etag, after.seq) == (b"another", None, None, None)
    assert after.revision > before.revision


@pytest.mark.parametrize("same", [False, True])
async def test_what_is_remembered_stays_with_the_account(database: Database, same: bool) -> None:
    await put(database)
    [claimed] = await claim(database)
    assert await links.finish(database, PEER, claimed, ONE, FOUND)
    await put(database, secret=b"another", same=same)
    [again] = await claim(database)
    expected = (b"memory", {"counts": None}) if same else (None, {})
    assert (again.memory, again.state) == expected
    assert (again.etag, again.seq) == (None, None)


async def test_a_change_has_a_cycle_begin_once_and_soon(database: Database) -> None:
    for user in ("ann", "bob", "eve", "joe"):
        await put(database, user)
    at_work = {one.user_id: one for one in await claim(database)}
    for user, found in (
        ("bob", FOUND),
        ("eve", FOUND._replace(failures=1)),
        ("joe", FOUND._replace(needs_login=True)),
    ):
        assert await links.finish(database, PEER, at_work[user], ONE, found)
    changed = {"ann": 8, "bob": 7, "eve": 8, "joe": 8, "nobody": 8}
    await links.hurry(database, PEER, changed, wait_s=0)
    assert await claim(database) == [], "bob's cycle has compared this; eve's peer failed; ann's cycle goes on"
    await links.hurry(database, PEER, changed | {"bob": 8}, wait_s=0)
    assert [one.user_id for one in await claim(database)] == ["bob"]
    assert await links.finish(database, PEER, at_work["ann"], ONE, FOUND)
    assert [one.user_id for one in await claim(database)] == ["ann"], "in 0 s instead of 60"
