"""An issuer for tests, on a real port: it publishes keys, and says what opaque tokens are worth."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 -- to be refused
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

ISS = "https://id.example.org"
AUD = "favsync"
CLIENT = ("favsync", "a secret: with/odd+signs")


def pem(key: Private) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(key: Private, kid: str, **members: Any) -> dict[str, Any]:
    algorithm = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256"}
    name = next((alg for kind, alg in algorithm.items() if isinstance(key, kind)), "EdDSA")
    made = jwt.get_algorithm_by_name(name).to_jwk(key.public_key())
    return {**json.loads(str(made)), "kid": kid, **members}


def signed(key: Private | str, *, alg: str = "RS256", header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token of ISS for AUD and ann; a claim given as None is left out."""
    content = {"iss": ISS, "aud": AUD, "sub": "ann", "exp": int(time.time()) + 600} | claims
    kept = {name: value for name, value in content.items() if value is not None}
    return jwt.PyJWS().encode(json.dumps(kept).encode(), key, alg, headers={"typ": "JWT"} | (header or {}))


def forge(header: dict[str, Any], claims: object, *, secret: bytes, digest: Any = hashlib.sha256) -> str:
    """What no library would make."""
    signed_part = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signed_part}.{b64(hmac.new(secret, signed_part.encode(), digest).digest())}"


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class FakeIssuer:
    """`keys`: what is published. `tokens`: what introspection says. `asked`: how often each path was."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [jwk(RSA_KEY, "rsa"), jwk(EC_KEY, "ec"), jwk(ED_KEY, "ed")]
        self.tokens: dict[str, dict[str, Any]] = {}
        self.asked: dict[str, int] = {}
        self.delay_s = 0.0
        self.answer: web.Response | None = None
        self.port: int | None = None
        self._server: TestServer | None = None

    async def start(self) -> None:
        """The second time, where it was before."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._server = TestServer(app, port=self.port)
        await self._server.start_server()
        self.port = self._server.port

    async def stop(self) -> None:
        """Nothing listens there from now on."""
        if self._server is not None:
            await self._server.close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def _serve(self, request: web.Request) -> web.Response:
        self.asked[request.path] = self.asked.get(request.path, 0) + 1
        await asyncio.sleep(self.delay_s)
        if self.answer is not None:
            return web.Response(status=self.answer.status, body=self.answer.body, headers=self.answer.headers)
        if request.path != "/introspect":
            return web.json_response({"keys": self.keys})
        form = await request.post()
        if request.method != "POST" or request.headers.get("Authorization") != self.expected_authorization:
            return web.json_response({"error": "invalid_client"}, status=401)
        return web.json_response(self.tokens.get(str(form["token"]), {"active": False}))

    # of CLIENT: RFC 6749, section 2.3.1, worked out by hand
    expected_authorization = "Basic ZmF2c3luYzphK3NlY3JldCUzQSt3aXRoJTJGb2RkJTJCc2lnbnM="
