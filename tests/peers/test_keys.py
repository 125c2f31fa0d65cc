"""Tokens at rest: what the database holds says nothing without a key of the settings, and keys can be changed."""

import asyncio
import base64
import functools
import re
from typing import Any

import pytest

from favsync.identity.vault import Credentials, Unreadable, Vault
from favsync.peering import Renewal
from favsync.peers import findings
from tests.e2e.test_cli import favsync
from tests.peers.conftest import KEY, SECRET, Serve, Service, peer
from tests.peers.test_third_parties import Start
from tests.peers.third_party import until

DATE = "2026-01-01T00:00:00.000Z"
NEW = "the key that comes after the first of 32 bytes or more"
USERS = ("ann", "bob", "eve")


async def rows(service: Service) -> list[dict[str, Any]]:
    async with service.database.connection() as connection:
        found = await connection.fetch("SELECT user_id, secret, memory, etag, seq FROM links ORDER BY user_id")
        return [dict(row) for row in found]


async def reseal(dsn: str, *keys: str) -> tuple[int, str]:
    done = await asyncio.to_thread(
        favsync, "peer", "reseal", database_url=dsn, jwt_secret=SECRET, link_keys=",".join(keys)
    )
    assert not any(key in done.stdout + done.stderr for key in keys)
    return done.returncode, (done.stdout + done.stderr).strip()


async def linked(serve: Serve, party: Any, *keys: str) -> Service:
    party.tokens = {f"token-of-{user}": user for user in USERS}
    service = await serve(peer(party.url), link_keys=keys)
    for user in USERS:
        await service.edit("ours", DATE, user=user)
        await service.link(user=user)
    await until(lambda: len(party.has) == len(USERS))
    return service


async def test_the_table_holds_no_token(serve: Serve, third_party: Start) -> None:
    """In no column, in no encoding that is not a cipher; nor does anything else in the database."""
    party = await third_party(tokens={"seesecret-token": "ann"})
    service = await serve(peer(party.url, renewal=Renewal(f"{party.url}/token", "us", "s")))
    await service.edit("ours", DATE)
    await service.link(token="seesecret-token", refreshToken="seesecret-refresh", account="seesecret-account")
    await until(lambda: party.has.get("ann"))
    async with service.database.connection() as connection:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        assert "links" in {table["tablename"] for table in tables}
        written = b""
        for table in tables:
            for [row] in await connection.fetch(f"SELECT t::text FROM {table['tablename']} t"):
                written += row.encode() + b"\n"
    for text in re.findall(rb"\\x([0-9a-f]+)", written):
        written += bytes.fromhex(text.decode()) + b"\n"
    [link] = await rows(service)
    assert link["secret"] in written, "that this reads what is there"
    written += base64.urlsafe_b64decode(link["secret"])
    for secret in (b"seesecret", b"token-of", KEY.encode()):
        assert secret not in written
    expected = Credentials("seesecret-token", "seesecret-refresh", "seesecret-account")
    assert Vault([KEY]).open(link["user_id"], "other", link["secret"]) == expected


def test_what_is_sealed_opens_with_its_key_and_as_whose_it_is() -> None:
    vault, credentials = Vault([KEY]), Credentials("a token", "a refresh token", "an account")
    sealed = vault.seal("ann", "other", credentials)
    assert sealed != vault.seal("ann", "other", credentials)
    assert vault.open("ann", "other", sealed) == credentials
    assert Vault([NEW, KEY]).open("ann", "other", sealed) == credentials
    assert "token" not in repr(credentials)
    changed = sealed[:-8] + (b"A" if sealed[-8:-7] != b"A" else b"B") + sealed[-7:]
    for opened, user, where, what in (
        (Vault([NEW]), "ann", "other", sealed),
        (vault, "bob", "other", sealed),
        (vault, "ann", "another", sealed),
        (vault, "ann", "other", changed),
        (vault, "ann", "other", b""),
    ):
        with pytest.raises(Unreadable):
            opened.open(user, where, what)


async def test_a_secret_of_another_user_opens_nothing(serve: Serve, third_party: Start) -> None:
    """Who can write to the database cannot have one user's list come to another."""
    party = await third_party()
    service = await linked(serve, party, KEY)
    async with service.database.connection() as connection:
        await connection.execute(
            "UPDATE links SET secret = (SELECT secret FROM links WHERE user_id LIKE '%/bob'), due_at = now() "
            "WHERE user_id LIKE '%/ann'"
        )
    await until(service.fault)
    assert "cannot be opened" in str(await service.fault())


async def test_with_another_key_nothing_is_lost(
    serve: Serve, third_party: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(findings, "KEYLESS_S", 0.2)
    party = await third_party()
    service = await linked(serve, party, KEY)
    await asyncio.sleep(0.5)
    await service.stop()
    requests = len(party.requests)
    capsys.readouterr()
    other = await serve(peer(party.url), link_keys=(NEW,))
    before = await rows(other)
    for user in USERS:
        await until(functools.partial(other.fault, user=user))
    await until(lambda: _failures(other))
    state = await other.state()
    assert state["lastError"]["detail"].endswith("cannot be opened: the key that sealed it is not among link_keys")
    assert (state["needsLogin"], state["lastSync"] is None, state["counts"] is None) == (False, False, False)
    assert await rows(other) == before
    assert len(party.requests) == requests
    assert "".join(capsys.readouterr()).count("is not among link_keys") == 1
    await other.stop()
    again = await serve(peer(party.url), link_keys=(KEY,))
    await again.edit("more", DATE)
    await until(lambda: len(party.has["ann"]) == 2)
    for user in USERS:
        await until(functools.partial(_recovered, again, user), timeout_s=20)


async def _recovered(service: Service, user: str) -> bool:
    return await service.fault(user=user) is None


async def _failures(service: Service) -> bool:
    return bool((await service.state())["failures"] >= 3)


async def test_keys_can_be_changed(serve: Serve, third_party: Start, dsn: str) -> None:
    """A new one first; what the old one sealed is sealed anew, while the service runs; then the old one goes."""
    party = await third_party()
    service = await linked(serve, party, KEY)
    await service.stop()
    both = await serve(peer(party.url), link_keys=(NEW, KEY))
    await both.edit("with both", DATE)
    await until(lambda: len(party.has["ann"]) == 2)
    before = await rows(both)
    assert await reseal(dsn, NEW, KEY) == (0, "sealed anew: 3; of the first key: 3 of 3")
    assert await reseal(dsn, NEW, KEY) == (0, "sealed anew: 0; of the first key: 3 of 3")
    assert not {row["secret"] for row in before} & {row["secret"] for row in await rows(both)}
    await both.edit("after that", DATE)
    await until(lambda: len(party.has["ann"]) == 3)
    await both.stop()
    alone = await serve(peer(party.url), link_keys=(NEW,))
    for user in USERS:
        await alone.edit("with the new one", DATE, user=user)
    await until(lambda: all("with the new one" in party.has[user] for user in USERS))
    assert [await alone.fault(user=user) for user in USERS] == [None] * 3


async def test_without_the_old_key_nothing_is_sealed_anew(serve: Serve, third_party: Start, dsn: str) -> None:
    service = await linked(serve, await third_party(), KEY)
    await service.stop()
    other = await serve(link_keys=(NEW,))
    before = await rows(other)
    status, said = await reseal(dsn, NEW)
    told, advice = said.splitlines()
    assert (status, told) == (1, "sealed anew: 0; of the first key: 0 of 3")
    assert advice == (
        "favsync: sealed with a key that is not among link_keys, and as before: 3 of 3; "
        "put the older keys behind the first one"
    )
    assert [row["secret"] for row in await rows(other)] == [row["secret"] for row in before]


async def test_without_keys_it_says_so(dsn: str) -> None:
    assert await reseal(dsn) == (1, "favsync: FAVSYNC_LINK_KEYS is not set: say what the service was started with")
