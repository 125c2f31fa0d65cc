"""Several issuers: whose tokens are taken, for whom, and what an attacker, or an outage of theirs, changes."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ed25519

from favsync.identity import issuers as config
from favsync.identity import jwks
from favsync.identity.issuers import Issuer
from tests.http.conftest import SECRET, Client, Serve, token
from tests.identity.fake import (
    AUD,
    CLIENT,
    EC_KEY,
    ED_KEY,
    ISS,
    OTHER_RSA_KEY,
    RSA_KEY,
    WEAK_RSA_KEY,
    FakeIssuer,
    forge,
    jwk,
    pem,
    signed,
)

GET = "/getUserFavorites"
POST = "/postUserFavorites"


def issuers(fake: FakeIssuer, *more: dict[str, Any], **changes: Any) -> tuple[Issuer, ...]:
    first = {"iss": ISS, "aud": AUD, "jwks": fake.url("/jwks"), "namespace": "id"} | changes
    return config.read_issuers([first, *more], Path())


async def get(client: Client, bearer_token: str) -> int:
    return (await client.get(GET, headers={"Authorization": f"Bearer {bearer_token}"})).status


@pytest.mark.parametrize(
    ("key", "alg", "kid"), [(RSA_KEY, "RS256", "rsa"), (EC_KEY, "ES256", "ec"), (ED_KEY, "EdDSA", "ed")]
)
async def test_each_kind_of_key_is_taken(serve: Serve, fake: FakeIssuer, key: Any, alg: str, kid: str) -> None:
    client = await serve(issuers=issuers(fake))
    for header in ({"kid": kid}, None):
        assert await get(client, signed(key, alg=alg, header=header)) == 200
        assert await get(client, signed(key, alg=alg, header=header, aud=["x", AUD])) == 200


ATTACKS: dict[str, Callable[[FakeIssuer], str]] = {
    "HS256 with the public key for a secret": lambda _: _hs256(pem(RSA_KEY), {"kid": "rsa"}),
    "the same without a kid": lambda _: _hs256(pem(RSA_KEY), {}),
    "the same, the key trimmed": lambda _: _hs256(pem(RSA_KEY).strip(), {"kid": "rsa"}),
    "HS256 with the deployment's secret, in the issuer's name": lambda _: signed(SECRET, alg="HS256"),
    "RS256 with another key": lambda _: signed(OTHER_RSA_KEY, header={"kid": "rsa"}),
    "RS256 with another key, no kid": lambda _: signed(OTHER_RSA_KEY),
    "RS512 with the right key": lambda _: signed(RSA_KEY, alg="RS512", header={"kid": "rsa"}),
    "PS256 with the right key": lambda _: signed(RSA_KEY, alg="PS256", header={"kid": "rsa"}),
    "a weak key, published": lambda _: signed(WEAK_RSA_KEY, header={"kid": "weak"}),
    "a key to encrypt with": lambda _: signed(OTHER_RSA_KEY, header={"kid": "enc"}),
    "a published secret": lambda _: _hs256(b"0123456789abcdef0123456789abcdef", {"kid": "oct"}),
    "the kid of another key": lambda _: signed(RSA_KEY, header={"kid": "ec"}),
    "a kid that is a path": lambda _: signed(RSA_KEY, header={"kid": "../../../../dev/null"}),
    "a kid that is SQL": lambda _: signed(RSA_KEY, header={"kid": "rsa' OR '1'='1"}),
    "a kid that is a URL": lambda fake: signed(OTHER_RSA_KEY, header={"kid": fake.url("/evil")}),
    "a long kid": lambda _: signed(RSA_KEY, header={"kid": "r" * 5000}),
    "jku": lambda fake: signed(OTHER_RSA_KEY, header={"kid": "rsa", "jku": fake.url("/evil")}),
    "x5u": lambda fake: signed(OTHER_RSA_KEY, header={"kid": "rsa", "x5u": fake.url("/evil")}),
    "jwk": lambda _: signed(OTHER_RSA_KEY, header={"jwk": jwk(OTHER_RSA_KEY, "rsa")}),
    "crit": lambda _: signed(RSA_KEY, header={"kid": "rsa", "crit": ["b64"], "b64": False}),
    "another issuer": lambda _: signed(RSA_KEY, header={"kid": "rsa"}, iss="https://evil.example.org"),
    "the issuer with a slash more": lambda _: signed(RSA_KEY, header={"kid": "rsa"}, iss=ISS + "/"),
    "no issuer": lambda _: signed(RSA_KEY, header={"kid": "rsa"}, iss=None),
    "an issuer that is a list": lambda _: signed(RSA_KEY, header={"kid": "rsa"}, iss=[ISS]),
    "another audience": lambda _: signed(RSA_KEY, header={"kid": "rsa"}, aud="another"),
    "part of the audience": lambda _: signed(RSA_KEY, header={"kid": "rsa"}, aud="fav"),
    "no audience": lambda _: signed(RSA_KEY, header={"kid": "rsa"}, aud=None),
    "an audience that is a number": lambda _: signed(RSA_KEY, header={"kid": "rsa"}, aud=[1]),
    "expired": lambda _: signed(RSA_KEY, header={"kid": "rsa"}, exp=int(time.time()) - 31),
    "no exp": lambda _: signed(RSA_KEY, header={"kid": "rsa"}, exp=None),
    "not yet": lambda _: signed(RSA_KEY, header={"kid": "rsa"}, nbf=int(time.time()) + 60),
    "no sub": lambda _: signed(RSA_KEY, header={"kid": "rsa"}, sub=None),
    "a sub that is a path": lambda _: signed(RSA_KEY, header={"kid": "rsa"}, sub="a\0b"),
    "alg none": lambda _: _unsigned(),
    "opaque, and nobody to ask": lambda _: "0123456789abcdef",
}


def _hs256(secret: bytes, header: dict[str, Any]) -> str:
    claims = {"iss": ISS, "aud": AUD, "sub": "ann", "exp": int(time.time()) + 600}
    return forge({"alg": "HS256", "typ": "JWT"} | header, claims, secret=secret)


def _unsigned() -> str:
    return ".".join([*_hs256(b"", {"alg": "none"}).split(".")[:2], ""])


@pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits long")
@pytest.mark.parametrize("attack", ATTACKS)
async def test_attacks(serve: Serve, fake: FakeIssuer, attack: str) -> None:
    fake.keys += [
        jwk(WEAK_RSA_KEY, "weak"),
        jwk(OTHER_RSA_KEY, "enc", use="enc"),
        {"kty": "oct", "kid": "oct", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY", "alg": "HS256"},
        {"kty": "RSA", "kid": "broken"},
        "not a key",  # type: ignore[list-item]
    ]
    client = await serve(issuers=issuers(fake))
    assert await get(client, signed(RSA_KEY, header={"kid": "rsa"})) == 200
    forged = ATTACKS[attack](fake)
    for method, path in (("GET", GET), ("POST", POST)):
        headers = {"Authorization": f"Bearer {forged}"}
        response = await client.request(method, path, headers=headers, json=[] if method == "POST" else None)
        assert response.status == 401, await response.text()
        assert forged[-20:] not in await response.text() or not forged[-20:]
    assert set(fake.asked) == {"/jwks"}
    assert fake.asked["/jwks"] <= 2


async def test_no_two_of_them_share_a_user(serve: Serve, fake: FakeIssuer, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(pem(EC_KEY))
    (tmp_path / "secret").write_text("the secret of a third issuer, with a line end\n")
    third = {"iss": "https://third", "secret_files": ["secret"], "tenant": "other", "namespace": "main"}
    second = {"iss": "https://second", "pem_file": "key.pem", "aud": "a", "tenant": "other", "namespace": "id"}
    first = {"iss": ISS, "aud": AUD, "jwks": fake.url("/jwks"), "namespace": "id"}
    client = await serve(issuers=config.read_issuers([first, second, third], tmp_path))
    tokens = [
        token(),  # the deployment's own: main/main
        signed(RSA_KEY),
        signed(EC_KEY, alg="ES256", iss="https://second", aud="a"),
        signed((tmp_path / "secret").read_text().strip(), alg="HS256", iss="https://third", aud=None),
    ]
    for number, one in enumerate(tokens):
        record = {"item": f"of {number}", "actionDate": "2020-01-01T00:00:00Z", "action": "ADD"}
        headers = {"Authorization": f"Bearer {one}"}
        assert (await client.post(POST, json=[record], headers=headers)).status == 200
    cursors, etags = [], []
    for number, one in enumerate(tokens):
        response = await client.get(GET, headers={"Authorization": f"Bearer {one}"})
        assert [record["item"] for record in await response.json()] == [f"of {number}"]
        cursors.append(response.headers["Sync-Cursor"])
        etags.append(response.headers["ETag"])
    for one, foreign_cursor, foreign_etag in zip(tokens, cursors[1:] + cursors[:1], etags[1:] + etags[:1], strict=True):
        headers = {"Authorization": f"Bearer {one}", "If-None-Match": foreign_etag}
        assert (await client.get(GET, params={"after": foreign_cursor}, headers=headers)).status == 410
        assert (await client.get(GET, headers=headers)).status == 200


async def test_the_claims_may_have_other_names(serve: Serve, fake: FakeIssuer) -> None:
    trusted = issuers(fake, subject_claim="user_id", scope_claim="scp", scopes=["feed:read"])
    client = await serve(issuers=trusted)
    for user, status in ((1001, 200), ("1001", 200), (True, 401), (None, 401), ([1], 401)):
        assert await get(client, signed(RSA_KEY, user_id=user)) == status
    record = {"item": "x", "actionDate": "2020-01-01T00:00:00Z", "action": "ADD"}
    headers = {"Authorization": f"Bearer {signed(RSA_KEY, user_id=1001, sub='somebody')}"}
    assert (await client.post(POST, json=[record], headers=headers)).status == 200
    headers = {"Authorization": f"Bearer {signed(RSA_KEY, user_id='1001', sub=None)}"}
    assert len(await (await client.get(GET, headers=headers)).json()) == 1


async def test_keys_rotate_under_load(serve: Serve, fake: FakeIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """New keys are taken as soon as they are met, the old ones' verdicts die with them, and nobody waits."""
    monkeypatch.setattr(jwks, "UNKNOWN_KID_S", 0.2)
    client = await serve(issuers=issuers(fake))
    statuses: list[tuple[str, int]] = []
    current = {"kid": "rsa", "key": RSA_KEY}
    over = asyncio.Event()

    async def phone(number: int) -> None:
        while not over.is_set():
            kid = str(current["kid"])
            key: Any = current["key"]
            statuses.append((kid, await get(client, signed(key, header={"kid": kid}, sub=f"user {number}"))))

    phones = [asyncio.create_task(phone(number)) for number in range(8)]
    for turn in range(4):
        await asyncio.sleep(0.4)
        key = OTHER_RSA_KEY if turn % 2 == 0 else RSA_KEY
        fake.keys = [*fake.keys[-1:], jwk(key, f"turn {turn}")]  # the last one stays for a while
        current.update(kid=f"turn {turn}", key=key)
    await asyncio.sleep(0.4)
    over.set()
    await asyncio.gather(*phones)
    assert {kid for kid, _ in statuses} == {"rsa", "turn 0", "turn 1", "turn 2", "turn 3"}
    assert {status for _, status in statuses} == {200}
    assert await get(client, signed(RSA_KEY, header={"kid": "turn 1"}, sub="user 1")) == 401
    assert fake.asked["/jwks"] <= 12


async def test_a_removed_key_takes_what_it_proved_with_it(
    serve: Serve, fake: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "REFRESH_S", 0.1)
    client = await serve(issuers=issuers(fake))
    stolen = signed(RSA_KEY, header={"kid": "rsa"})
    assert await get(client, stolen) == 200
    fake.keys = fake.keys[1:]
    await asyncio.sleep(0.4)
    assert await get(client, stolen) == 401
    fake.keys = []
    await asyncio.sleep(0.4)
    assert await get(client, signed(EC_KEY, alg="ES256", header={"kid": "ec"})) == 401


async def _down(fake: FakeIssuer) -> None:
    await fake.stop()


async def _slow(fake: FakeIssuer) -> None:
    fake.delay_s = 30.0


def _says(status: int, body: bytes, **headers: str) -> Callable[[FakeIssuer], Coroutine[None, None, None]]:
    async def change(fake: FakeIssuer) -> None:
        fake.answer = web.Response(status=status, body=body, headers=headers)

    return change


OUTAGES = {
    "down": _down,
    "slow": _slow,
    "500": _says(500, b"oops"),
    "a page": _says(200, b"<html>maintenance</html>"),
    "half": _says(200, b'{"keys": [{"kty"'),
    "endless": _says(200, b" " * 3_000_000 + b'{"keys": []}'),
    "elsewhere": _says(302, b"", Location="http://127.0.0.1:1/"),
    "no keys in it": _says(200, b"[]"),
}


@pytest.mark.parametrize("outage", OUTAGES)
async def test_an_outage_of_the_keys(
    serve: Serve, fake: FakeIssuer, outage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known keys go on; of an unknown one nobody can tell, and that is said: 503, not 401."""
    monkeypatch.setattr(jwks, "REFRESH_S", 0.1)
    monkeypatch.setattr(jwks, "RETRY_S", 0.1)
    monkeypatch.setattr(jwks, "UNKNOWN_KID_S", 0.0)
    client = await serve(issuers=issuers(fake))
    assert await get(client, signed(RSA_KEY, header={"kid": "rsa"})) == 200
    await OUTAGES[outage](fake)
    await asyncio.sleep(0.3)
    unknown = asyncio.create_task(get(client, signed(RSA_KEY, header={"kid": "new"})))
    slowest_s = 0.0
    for number in range(20):
        began = time.monotonic()
        assert await get(client, signed(RSA_KEY, header={"kid": "rsa"}, sub=f"user {number}")) == 200
        slowest_s = max(slowest_s, time.monotonic() - began)
    assert slowest_s < 2.5, "as long as the issuer is waited for"
    assert await unknown == 503
    assert await get(client, token()) == 200


async def test_an_odd_key_among_them_ends_nothing(
    serve: Serve, fake: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "REFRESH_S", 0.1)
    odd: list[Any] = [
        jwk(OTHER_RSA_KEY, "odd", alg="none"), {"kty": "RSA", "alg": [], "kid": "odd"}, {"kty": "EC", "crv": {}},
        {"kty": "OKP", "crv": "X25519", "x": "AAAA"}, [], None, {"kty": "RSA", "n": 5, "e": "AQAB"},
    ]  # fmt: skip
    fake.keys += odd
    client = await serve(issuers=issuers(fake))
    old = signed(RSA_KEY, header={"kid": "rsa"})
    assert await get(client, old) == 200
    assert await get(client, signed(RSA_KEY, header={"kid": "unknown"})) == 401
    fake.keys = [*odd, jwk(OTHER_RSA_KEY, "new")]
    await asyncio.sleep(0.4)
    assert await get(client, old) == 401
    assert await get(client, signed(OTHER_RSA_KEY, header={"kid": "new"})) == 200


async def test_of_keys_without_names_each_is_tried(serve: Serve, tmp_path: Path) -> None:
    keys = [ed25519.Ed25519PrivateKey.generate() for _ in range(4)]
    (tmp_path / "keys.pem").write_bytes(b"".join(map(pem, keys)))
    table = {"iss": ISS, "aud": AUD, "pem_file": "keys.pem", "namespace": "id"}
    client = await serve(issuers=config.read_issuers([table], tmp_path))
    for key in keys:
        assert await get(client, signed(key, alg="EdDSA", header={"kid": "whatever"})) == 200


@pytest.mark.parametrize(("exp", "status"), [(10**60, 401), ("4102444800", 401), (True, 401), (4102444800.5, 200)])
async def test_a_token_ends_at_a_time(serve: Serve, fake: FakeIssuer, exp: object, status: int) -> None:
    fake.tokens = {"opaque": {"active": True, "sub": "ann", "aud": AUD, "exp": exp}}
    client = await serve(issuers=introspected(fake, iss="https://opaque"), rate_limit_address=0)
    assert await get(client, "opaque") == status
    assert await get(client, token(exp=exp)) == status


async def test_before_the_first_keys_nobody_can_tell(serve: Serve, fake: FakeIssuer) -> None:
    await fake.stop()
    client = await serve(issuers=issuers(fake))
    response = await client.get(GET, headers={"Authorization": f"Bearer {signed(RSA_KEY)}"})
    assert response.status == 503
    assert response.headers["Retry-After"]
    assert (await response.json())["type"] == "/problems/issuer-unavailable"
    assert await get(client, token()) == 200


def introspected(fake: FakeIssuer, **changes: Any) -> tuple[Issuer, ...]:
    asked = {"url": fake.url("/introspect"), "client_id": CLIENT[0], "client_secret": CLIENT[1]}
    table = {"introspection": asked, "aud": AUD, "namespace": "opaque"} | changes
    return config.read_issuers([table], Path())


async def test_opaque_tokens(serve: Serve, fake: FakeIssuer) -> None:
    now_s = int(time.time())
    good = {"active": True, "sub": "ann", "aud": AUD, "exp": now_s + 600}
    fake.tokens = {
        "good": good,
        "a-list-of-audiences": good | {"aud": ["x", AUD]},
        "no-exp": {name: value for name, value in good.items() if name != "exp"},
        "expired": good | {"exp": now_s - 31},
        "active-in-words": good | {"active": "true"},
        "active-1": good | {"active": 1},
        "another-audience": good | {"aud": "x"},
        "no-audience": {"active": True, "sub": "ann"},
        "nobody": {"active": True, "aud": AUD},
        "a-list": [good],  # type: ignore[dict-item]
        "another-issuer": good | {"iss": "https://evil.example.org"},
    }
    client = await serve(issuers=introspected(fake, iss=ISS))
    statuses = {name: await get(client, name) for name in [*fake.tokens, "unknown"]}
    accepted = {"good", "a-list-of-audiences", "no-exp"}
    assert statuses == {name: 200 if name in accepted else 401 for name in [*fake.tokens, "unknown"]}
    before = fake.asked["/introspect"]
    assert [await get(client, "good") for _ in range(5)] == [200] * 5
    assert fake.asked["/introspect"] == before, "an answer holds for a minute"


async def test_of_one_token_in_many_requests_one_question_is_asked(serve: Serve, fake: FakeIssuer) -> None:
    fake.tokens = {"good": {"active": True, "sub": "ann", "aud": AUD}}
    fake.delay_s = 0.3
    client = await serve(issuers=introspected(fake))
    assert await asyncio.gather(*(get(client, "good") for _ in range(30))) == [200] * 30
    assert fake.asked == {"/introspect": 1}


@pytest.mark.parametrize("outage", OUTAGES)
async def test_an_outage_of_introspection(serve: Serve, fake: FakeIssuer, outage: str) -> None:
    fake.tokens = {"good": {"active": True, "sub": "ann", "aud": AUD}}
    client = await serve(issuers=introspected(fake))
    assert await get(client, "good") == 200
    await OUTAGES[outage](fake)
    other = asyncio.create_task(get(client, "other"))
    assert await get(client, "good") == 200
    assert await get(client, token()) == 200
    assert await other == (401 if outage == "no keys in it" else 503)  # that one is JSON, of nothing active
    if outage == "down":
        await fake.start()
        fake.tokens["other"] = fake.tokens["good"]
        assert await get(client, "other") == 200
