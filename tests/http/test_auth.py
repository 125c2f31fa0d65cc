"""Tokens: whom they let in, and what a log says of them."""

import hashlib
import json
import time
from typing import Any

import pytest
import structlog

from tests.http.conftest import OLD_SECRET, SECRET, Client, bearer, token
from tests.identity.fake import b64, forge

GET = "/getUserFavorites"
FAR = 4102444800


def _forge(header: dict[str, Any], claims: object, *, secret: str = SECRET, digest: Any = hashlib.sha256) -> str:
    return forge(header, claims, secret=secret.encode(), digest=digest)


GOOD = {"sub": "ann", "exp": FAR}
HS256 = {"alg": "HS256", "typ": "JWT"}

ATTACKS: dict[str, str] = {
    "alg none, unsigned": f"{b64(json.dumps({'alg': 'none'}).encode())}.{b64(json.dumps(GOOD).encode())}.",
    "alg none, signed": _forge({"alg": "none"}, GOOD),
    "alg nOnE": _forge({"alg": "nOnE"}, GOOD),
    "HS384 with the right secret": _forge({"alg": "HS384"}, GOOD, digest=hashlib.sha384),
    "HS512 with the right secret": _forge({"alg": "HS512"}, GOOD, digest=hashlib.sha512),
    "RS256 named, HS256 signed": _forge({"alg": "RS256"}, GOOD),
    "no alg": _forge({}, GOOD),
    "alg a number": _forge({"alg": 1}, GOOD),
    "an unknown critical header": _forge(HS256 | {"crit": ["x"], "x": 1}, GOOD),
    "another secret": _forge(HS256, GOOD, secret="another secret, and a long one too"),
    "an empty secret": _forge(HS256, GOOD, secret=""),
    "expired": _forge(HS256, GOOD | {"exp": time.time() - 31}),
    "expired long ago": _forge(HS256, GOOD | {"exp": 0}),
    "not yet valid": _forge(HS256, GOOD | {"nbf": FAR - 60}),
    "issued in the future": _forge(HS256, GOOD | {"iat": FAR - 60}),
    "no exp": _forge(HS256, {"sub": "ann"}),
    "exp null": _forge(HS256, GOOD | {"exp": None}),
    "exp text": _forge(HS256, GOOD | {"exp": "tomorrow"}),
    "exp infinite": _forge(HS256, GOOD | {"exp": float("inf")}),
    "exp a list": _forge(HS256, GOOD | {"exp": [FAR]}),
    "no sub": _forge(HS256, {"exp": FAR}),
    "sub null": _forge(HS256, GOOD | {"sub": None}),
    "sub a number": _forge(HS256, GOOD | {"sub": 1001}),
    "sub a list": _forge(HS256, GOOD | {"sub": ["ann"]}),
    "sub empty": _forge(HS256, GOOD | {"sub": ""}),
    "sub too long": _forge(HS256, GOOD | {"sub": "a" * 256}),
    "sub with a NUL": _forge(HS256, GOOD | {"sub": "ann\0"}),
    "sub half a surrogate pair": _forge(HS256, GOOD | {"sub": "\ud800"}),
    "for somebody else": _forge(HS256, GOOD | {"aud": "another service"}),
    "for nobody": _forge(HS256, GOOD | {"aud": []}),
    "claims that are a list": _forge(HS256, [GOOD]),
    "claims that are text": _forge(HS256, "ann"),
    "no signature": _forge(HS256, GOOD).rpartition(".")[0] + ".",
    "two parts": _forge(HS256, GOOD).rpartition(".")[0],
    "signature cut": _forge(HS256, GOOD)[:-4],
    "garbage": "garbage",
    "garbage in three parts": "a.b.c",
    "deep": f"{b64(b'[' * 5000)}.e30.x",
    "20 kB": _forge(HS256, GOOD | {"padding": "x" * 15_000}),
    "20 kB of nothing": "x" * 20_000,
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_what_proves_nothing_is_refused(client: Client, attack: str) -> None:
    for method, path in (("GET", GET), ("POST", "/postUserFavorites")):
        headers = {"Authorization": f"Bearer {ATTACKS[attack]}"}
        response = await client.request(method, path, headers=headers, json=[] if method == "POST" else None)
        assert response.status == 401, await response.text()
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
        assert ATTACKS[attack][:40] not in await response.text()


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YW5uOng=",
        "bearer a b",
        "Token x",
        "Bearer\tx",
        "Bearer ü",
        f"Bearer {token()}, {token()}",
    ],
)
async def test_what_is_no_bearer_token_is_refused(client: Client, header: str) -> None:
    response = await client.get(GET, headers={"Authorization": header})
    assert response.status == 401


async def test_no_token_is_told_what_is_needed_and_no_more(client: Client) -> None:
    response = await client.get(GET)
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="favsync"'


async def test_two_authorization_headers_are_refused_even_where_both_are_good(client: Client) -> None:
    good = f"Bearer {token()}"
    response = await client.get(GET, headers=[("Authorization", good), ("Authorization", good)])
    assert response.status == 401


@pytest.mark.parametrize(
    "good",
    [
        token(),
        token(secret=OLD_SECRET),
        token(nbf=0, iat=1.5),
        token(scope="feed:read"),
        token(scope=["not", "text"]),
        token(subject="a" * 255),
        token(subject="../../main/main/bob"),
        token(subject="\U0001f600" * 255),
    ],
)
async def test_what_proves_something_is_accepted(client: Client, good: str) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        response = await client.get(GET, headers={"Authorization": f"{scheme} {good}"})
        assert response.status == 200, await response.text()
        assert await response.json() == []


async def test_the_leeway_is_half_a_minute_each_way(client: Client) -> None:
    now_s = int(time.time())
    cases: list[tuple[dict[str, Any], int]] = [
        ({"exp": now_s - 20}, 200),
        ({"exp": now_s - 31}, 401),
        ({"nbf": now_s + 20, "iat": now_s + 20}, 200),
        ({"nbf": now_s + 60}, 401),
        ({"iat": now_s + 60}, 401),
    ]
    for claims, status in cases:
        response = await client.get(GET, headers={"Authorization": f"Bearer {token(**claims)}"})
        assert response.status == status, claims


async def test_users_never_meet(client: Client) -> None:
    users = ["ann", "Ann", "ann ", "main/main/ann", "a/nn", "%61nn", "ann\u0301"]
    for number, user in enumerate(users):
        record = {"item": f"of {number}", "actionDate": "2020-01-01T00:00:00Z", "action": "ADD"}
        assert (await client.post("/postUserFavorites", json=[record], headers=bearer(user))).status == 200
    for number, user in enumerate(users):
        content = await (await client.get(GET, headers=bearer(user))).json()
        assert [record["item"] for record in content] == [f"of {number}"]


async def test_the_log_has_one_line_a_request_and_no_secret_in_it(client: Client) -> None:
    record = {"item": "secret-item", "actionDate": "2020-01-01T00:00:00Z", "action": "ADD"}
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        await client.post("/postUserFavorites", json=[record], headers=bearer(**{"X-Request-ID": "req-1"}))
        await client.get(GET + "?after=x", headers=bearer())
        await client.get("/nothing/here", headers={"X-Request-ID": "two words\u2028"})
        await client.get(GET, headers=bearer("bob"))
    lines = [entry for entry in logs if entry["event"] == "request"]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("POST", "/postUserFavorites", 200),
        ("GET", GET, 400),
        ("GET", None, 404),
        ("GET", GET, 200),
    ]
    assert lines[0]["request_id"] == "req-1"
    assert len(lines[2]["request_id"]) == 32
    assert lines[0]["user"] == lines[1]["user"] != lines[3]["user"]
    assert all(line["duration_ms"] >= 0 for line in lines)
    everything = repr(logs)
    for secret in ("secret-item", token(), "ann", "main/main"):
        assert secret not in everything
