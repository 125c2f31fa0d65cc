"""How long a verdict holds, and how many are kept."""

import time
from pathlib import Path
from typing import Any

import pytest

from favsync.core.errors import Unauthenticated
from favsync.identity import authenticator, issuers
from favsync.identity.authenticator import Authenticator
from tests.identity.fake import AUD, CLIENT, RSA_KEY, FakeIssuer, signed

SPACE = {"tenant": "acme", "namespace": "staff"}


def asking(fake: FakeIssuer) -> list[issuers.Issuer]:
    asked = {"url": fake.url("/introspect"), "client_id": CLIENT[0], "client_secret": CLIENT[1]}
    return list(issuers.read_issuers([SPACE | {"introspection": asked, "aud": AUD}], Path()))


async def test_a_verdict_holds_for_a_minute_or_until_the_token_ends(fake: FakeIssuer) -> None:
    begun_s = now_s = time.time()
    fake.tokens = {
        "long": {"active": True, "sub": "ann", "aud": AUD, "exp": begun_s + 3600},
        "short": {"active": True, "sub": "ann", "aud": AUD, "exp": begun_s + 20},
        "endless": {"active": True, "sub": "ann", "aud": AUD},
    }
    asked: dict[str, list[int]] = {}
    trusted = Authenticator(asking(fake), now_s=lambda: now_s)
    async with trusted.running():
        for name in fake.tokens:
            for offset_s in (0, 19, 21, 59, 61, 119, 122):
                now_s = begun_s + offset_s
                before = fake.asked.get("/introspect", 0)
                identity = await trusted.identify(name)
                assert (identity.owner, identity.tenant, identity.namespace) == ("acme/staff/ann", "acme", "staff")
                assert identity.expires_s == fake.tokens[name].get("exp")
                asked.setdefault(name, []).append(fake.asked["/introspect"] - before)
    assert asked == {
        "long": [1, 0, 0, 0, 1, 0, 1],
        "short": [1, 0, 1, 1, 1, 1, 1],
        "endless": [1, 0, 0, 0, 1, 0, 1],
    }


async def test_a_token_that_was_revoked_is_good_for_a_minute_at_most(fake: FakeIssuer) -> None:
    now_s = time.time()
    fake.tokens = {"t": {"active": True, "sub": "ann", "aud": AUD}}
    trusted = Authenticator(asking(fake), now_s=lambda: now_s)
    async with trusted.running():
        await trusted.identify("t")
        fake.tokens = {}
        await trusted.identify("t")
        now_s += authenticator.CACHED_S
        assert trusted.known("t") is None
        with pytest.raises(Unauthenticated):
            await trusted.identify("t")
        fake.tokens = {"t": {"active": True, "sub": "ann", "aud": AUD}}
        await trusted.identify("t")  # a refusal is not remembered


async def test_only_so_many_are_kept(fake: FakeIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authenticator, "CACHED_MAX", 3)
    fake.tokens = {f"t{number}": {"active": True, "sub": "ann", "aud": AUD} for number in range(5)}
    trusted = Authenticator(asking(fake))
    async with trusted.running():
        for name in fake.tokens:
            await trusted.identify(name)
        assert len(trusted._cache) == 3
        assert fake.asked["/introspect"] == 5
        await trusted.identify("t4")
        assert fake.asked["/introspect"] == 5
        await trusted.identify("t0")
        assert fake.asked["/introspect"] == 6


async def test_verdicts_do_not_hold_tokens(fake: FakeIssuer) -> None:
    table: dict[str, Any] = {"iss": "https://id.example.org", "aud": AUD, "jwks": fake.url("/jwks")}
    trusted = Authenticator(issuers.read_issuers([table], Path()))
    token = signed(RSA_KEY)
    async with trusted.running():
        await trusted.identify(token)
        assert token not in repr(trusted._cache)
        assert token.encode() not in list(trusted._cache)
