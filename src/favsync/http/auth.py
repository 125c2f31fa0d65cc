"""Who asks: RFC 6750 bearer tokens, HS256."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from aiohttp import web

from favsync.core.errors import Unauthenticated
from favsync.core.record import SUBJECT_LENGTH_MAX, owner_key
from favsync.core.text import check_text

ALGORITHM = "HS256"
LEEWAY_S = 30
TOKEN_LENGTH_MAX = 8192

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.ASCII | re.IGNORECASE)
_SHAPE = "The Authorization header must be: Bearer, a space, a token."


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller. `owner`: the key its records are stored under. `scopes`: what its token grants beyond them."""

    owner: str
    scopes: frozenset[str]


class Authenticator:
    """Verifies tokens that are signed with one of `secrets`: two, while one replaces the other."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = [secret.encode() for secret in secrets]

    def identify(self, request: web.Request) -> Identity:
        """The caller; Unauthenticated unless exactly one Authorization header proves who it is."""
        headers = request.headers.getall("Authorization", [])
        if not headers:
            raise Unauthenticated
        if len(headers) > 1:
            raise Unauthenticated("There is more than one Authorization header.", token_sent=True)
        match = _BEARER.fullmatch(headers[0].strip()) if len(headers[0]) <= TOKEN_LENGTH_MAX else None
        if match is None:
            raise Unauthenticated(_SHAPE, token_sent=True)
        claims = self._verify(match[1])
        if "aud" in claims:  # PyJWT lets an empty one pass
            raise Unauthenticated("The token is for another service: it names an aud.", token_sent=True)
        subject = claims["sub"]
        if not 0 < len(subject) <= SUBJECT_LENGTH_MAX:
            raise Unauthenticated(f"The token's sub must have 1 to {SUBJECT_LENGTH_MAX} characters.", token_sent=True)
        try:
            check_text(subject)
        except ValueError as error:
            raise Unauthenticated(f"The token's sub {error}.", token_sent=True) from None
        scope = claims.get("scope", "")
        return Identity(owner_key(subject), frozenset(scope.split() if isinstance(scope, str) else ()))

    def _verify(self, token: str) -> dict[str, Any]:
        """The claims of a token; each secret is tried, since HS256 tokens rarely say which one signed them."""
        for secret in self._secrets:
            try:
                return jwt.decode(
                    token,
                    secret,
                    algorithms=[ALGORITHM],
                    leeway=LEEWAY_S,
                    options={"require": ["exp", "sub"]},
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.ExpiredSignatureError:
                raise Unauthenticated("The token has expired.", token_sent=True) from None
            except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
                # What PyJWT says would repeat parts of the token.
                break
        raise Unauthenticated("The token is not one that this service accepts.", token_sent=True)


def issue(secret: str, subject: str, *, scopes: Sequence[str], now_s: int, ttl_s: int) -> str:
    """A token such as `identify` accepts, for trying things out and for backends that have no issuer yet."""
    claims: dict[str, Any] = {"sub": subject, "iat": now_s, "exp": now_s + ttl_s}
    if scopes:
        claims["scope"] = " ".join(scopes)
    return jwt.encode(claims, secret, algorithm=ALGORITHM)
