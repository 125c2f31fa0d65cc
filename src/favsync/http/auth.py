"""Who asks: RFC 6750 bearer tokens, or a header that a known proxy vouches for."""

import re
from collections.abc import Sequence
from typing import Any

import jwt
from aiohttp import web

from favsync.core.errors import Unauthenticated
from favsync.core.record import owner_key
from favsync.http import address, keys, limits
from favsync.identity.authenticator import Identity, check_subject
from favsync.identity.issuers import UserHeader

TOKEN_LENGTH_MAX = 8192

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.ASCII | re.IGNORECASE)
_SHAPE = "The Authorization header must be: Bearer, a space, a token."


async def identify(request: web.Request) -> Identity:
    """The caller. Where a configured proxy names a user, that decides; else exactly one Authorization header.

    Raises Unauthenticated, IssuerUnavailable.
    """
    app = request.app
    user_header = app[keys.SETTINGS].user_header
    if user_header is not None and user_header.name in request.headers:
        peer = address.peer(request)
        if peer is not None and any(peer in network for network in user_header.proxies):
            return _vouched_for(request, user_header)
    headers = request.headers.getall("Authorization", [])
    if not headers:
        raise Unauthenticated
    if len(headers) > 1:
        raise Unauthenticated("There is more than one Authorization header.", token_sent=True)
    # A token that was good a moment ago is not held up by what else comes from its address, nor looked at again.
    scheme, _, token = headers[0].strip().partition(" ")
    if scheme.lower() == "bearer" and (known := app[keys.AUTHENTICATOR].known(token.lstrip(" "))):
        return known
    match = _BEARER.fullmatch(headers[0].strip())
    if match is None:
        raise Unauthenticated(_SHAPE, token_sent=True)
    if len(match[1]) > TOKEN_LENGTH_MAX:
        raise Unauthenticated(f"The token has more than {TOKEN_LENGTH_MAX} characters.", token_sent=True)
    return await _verified(request, match[1])


async def _verified(request: web.Request, token: str) -> Identity:
    """Tokens that prove nothing cost more than others, and an issuer's time too: of those an address has few."""
    limiter = request.app[keys.FAILURE_LIMITER]
    sender = address.client(request, request.app[keys.SETTINGS].trusted_proxies)
    limits.check(limiter, sender, count=False)
    try:
        return await request.app[keys.AUTHENTICATOR].identify(token)
    except Unauthenticated:
        limits.check(limiter, sender)
        raise


def _vouched_for(request: web.Request, user_header: UserHeader) -> Identity:
    values = request.headers.getall(user_header.name)
    if len(values) > 1:
        raise Unauthenticated(f"There is more than one {user_header.name} header.", token_sent=True)
    try:
        subject = check_subject(values[0].strip())
    except ValueError as error:
        raise Unauthenticated(f"The {user_header.name} header {error}.", token_sent=True) from None
    tenant, namespace = user_header.tenant, user_header.namespace
    return Identity(owner_key(subject, tenant=tenant, namespace=namespace), tenant, namespace)


def issue(secret: str, subject: str, *, scopes: Sequence[str], now_s: int, ttl_s: int) -> str:
    """A token of the deployment's own, for trying things out and for backends that have no issuer yet."""
    claims: dict[str, Any] = {"sub": subject, "iat": now_s, "exp": now_s + ttl_s}
    if scopes:
        claims["scope"] = " ".join(scopes)
    return jwt.encode(claims, secret, algorithm="HS256")
