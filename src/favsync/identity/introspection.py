"""Opaque tokens: their issuer is asked what they are worth. RFC 7662."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus

import aiohttp
import structlog

from favsync.core.errors import IssuerUnavailable
from favsync.identity import remote
from favsync.identity.issuers import Introspection, Issuer
from favsync.identity.jwks import Spawn
from favsync.identity.tokens import LEEWAY_S, Head, check_audience, expires_s, refused

_log = structlog.get_logger(__name__)

ASKING_MAX = 50
UNDER_WAY_MAX = 500


class Introspector:
    """Asks one endpoint; of a token that many requests carry at once, once."""

    generation = 0

    def __init__(self, issuer: Issuer, asked: Introspection, client: aiohttp.ClientSession, spawn: Spawn) -> None:
        self._issuer = issuer
        self._spawn = spawn
        self._asked = asked
        self._client = client
        self._slots = asyncio.Semaphore(ASKING_MAX)
        self._under_way: dict[str, asyncio.Task[Mapping[str, Any]]] = {}
        # RFC 6749, section 2.3.1: both are form-encoded before they are joined.
        name, password = quote_plus(asked.client_id), quote_plus(asked.client_secret)
        self._headers = {"Authorization": aiohttp.encode_basic_auth(name, password)}

    async def claims(self, token: str, _head: Head | None = None) -> Mapping[str, Any]:
        """What the issuer says of an active token. Raises Unauthenticated, IssuerUnavailable."""
        task = self._under_way.get(token)
        if task is None:
            if len(self._under_way) >= UNDER_WAY_MAX:
                raise IssuerUnavailable
            task = self._under_way[token] = self._spawn(self._ask(token))
            task.add_done_callback(lambda _: self._under_way.pop(token))
        return self._check(await asyncio.shield(task))

    async def _ask(self, token: str) -> Mapping[str, Any]:
        form = {"token": token, "token_type_hint": "access_token"}
        try:
            async with asyncio.timeout(remote.TIMEOUT_S), self._slots:
                answer = await remote.ask(self._client, "POST", self._asked.url, data=form, headers=self._headers)
        except (TimeoutError, IssuerUnavailable) as error:
            reason = str(error.__cause__ or "too many tokens at once")
            _log.warning(
                "an issuer does not say what a token is worth", url=remote.bare(self._asked.url), reason=reason
            )
            raise IssuerUnavailable from error
        return answer if isinstance(answer, Mapping) else {}

    def _check(self, claims: Mapping[str, Any]) -> Mapping[str, Any]:
        if claims.get("active") is not True:
            raise refused()
        if self._issuer.iss is not None and claims.get("iss", self._issuer.iss) != self._issuer.iss:
            raise refused()
        end_s = expires_s(claims)
        if end_s is not None and end_s + LEEWAY_S <= time.time():
            raise refused("The token has expired.")
        check_audience(claims, self._issuer)
        return claims
