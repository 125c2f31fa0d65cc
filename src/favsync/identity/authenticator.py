"""From a token to a caller: which issuer it belongs to, what that issuer says, and how long that holds."""

import asyncio
import contextlib
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import aiohttp

from favsync.core.record import SUBJECT_LENGTH_MAX, owner_key
from favsync.core.text import check_text
from favsync.identity import remote
from favsync.identity.introspection import Introspector
from favsync.identity.issuers import Issuer
from favsync.identity.jwks import FixedKeys, RemoteKeys
from favsync.identity.tokens import Head, expires_s, read_head, refused, verify

CACHED_MAX = 10_000
CACHED_S = 60.0


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller. `owner`: the key its records are stored under. `namespace`: that of its issuer, within the tenant.

    `scopes`: what its token grants beyond its own records. `expires_s`: when its token ends, in seconds since the
    epoch; None where nothing says so.
    """

    owner: str
    tenant: str
    namespace: str
    scopes: frozenset[str] = frozenset()
    expires_s: float | None = None


class _Verifier(Protocol):
    @property
    def generation(self) -> int:
        """What was said before holds no longer once this has risen."""

    async def claims(self, token: str, head: Head | None) -> Mapping[str, Any]: ...


class _Signed:
    """An issuer that signs its tokens."""

    def __init__(self, issuer: Issuer, keys: FixedKeys | RemoteKeys) -> None:
        self._issuer = issuer
        self._keys = keys

    @property
    def generation(self) -> int:
        return self._keys.generation

    async def claims(self, token: str, head: Head | None) -> Mapping[str, Any]:
        return verify(token, await self._keys.find(head.kid, head.algorithm) if head else (), self._issuer)


class _Trusted(NamedTuple):
    issuer: Issuer
    verifier: _Verifier


class _Cached(NamedTuple):
    identity: Identity
    until_s: float
    verifier: _Verifier
    generation: int


class Authenticator:
    """Knows callers by the tokens of `issuers`, no two of which share a tenant and namespace. Used within `running`."""

    def __init__(self, issuers: Sequence[Issuer], *, now_s: Callable[[], float] = time.time) -> None:
        self._issuers = issuers
        self._now_s = now_s
        self._by_iss: dict[str, _Trusted] = {}
        self._own: _Trusted | None = None  # takes what no issuer claims
        self._opaque: _Trusted | None = None
        self._cache: OrderedDict[bytes, _Cached] = OrderedDict()
        self._tasks: set[asyncio.Task[Any]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keeps the issuers' keys fresh, and asks them; at the end nothing of it goes on."""
        async with remote.session() as client:
            for issuer in self._issuers:
                trusted = _Trusted(issuer, self._verifier(issuer, client))
                if issuer.introspection is not None:
                    self._opaque = trusted
                elif issuer.iss is None:
                    self._own = trusted
                if issuer.iss is not None:
                    self._by_iss[issuer.iss] = trusted
            try:
                yield
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def _verifier(self, issuer: Issuer, client: aiohttp.ClientSession) -> _Verifier:
        if issuer.introspection is not None:
            return Introspector(issuer, issuer.introspection, client, self._spawn)
        if issuer.jwks is not None:
            keys = RemoteKeys(issuer.jwks, lambda url: remote.ask(client, "GET", url), self._spawn)
            self._spawn(keys.keep_fresh())
            return _Signed(issuer, keys)
        return _Signed(issuer, FixedKeys(issuer.keys))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Runs beside the requests, none of which it belongs to; what it raises is for whoever awaits it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    def known(self, token: str) -> Identity | None:
        """The caller, where the token was verified a moment ago. Any text will do, of which most are no token."""
        cached = self._cache.get(_digest(token))
        if cached and self._now_s() < cached.until_s and cached.generation == cached.verifier.generation:
            return cached.identity
        return None

    async def identify(self, token: str) -> Identity:
        """The caller that a token speaks for. Raises Unauthenticated, or IssuerUnavailable: nobody can tell now."""
        if known := self.known(token):
            return known
        now_s = self._now_s()
        head = read_head(token)
        issuer, verifier = self._responsible(head)
        generation = verifier.generation
        identity = _identity(await verifier.claims(token, head), issuer)
        until_s = min(now_s + CACHED_S, identity.expires_s or now_s + CACHED_S)
        self._cache[_digest(token)] = _Cached(identity, until_s, verifier, generation)
        if len(self._cache) > CACHED_MAX:
            self._cache.popitem(last=False)
        return identity

    def _responsible(self, head: Head | None) -> _Trusted:
        trusted = self._by_iss.get(head.iss or "", self._own) if head else self._opaque
        if trusted is None:
            raise refused()
        return trusted


def _digest(token: str) -> bytes:
    """What stands for a token where it is remembered."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def check_subject(value: object) -> str:
    """The text of a caller's name; ValueError for what is none, or cannot be stored."""
    if not isinstance(value, str) or not 0 < len(value) <= SUBJECT_LENGTH_MAX:
        raise ValueError(f"must have 1 to {SUBJECT_LENGTH_MAX} characters")
    check_text(value)
    return value


def _identity(claims: Mapping[str, Any], issuer: Issuer) -> Identity:
    try:
        subject = claims.get(issuer.subject_claim)
        if issuer.subject_claim != "sub" and type(subject) is int:  # JWT says that sub is text, and of others nothing
            subject = str(subject)
        subject = check_subject(subject)
    except ValueError as error:
        raise refused(f"The token's {issuer.subject_claim} {error}.") from None
    granted = claims.get(issuer.scope_claim)
    words = granted.split() if isinstance(granted, str) else granted if isinstance(granted, list) else ()
    return Identity(
        owner_key(subject, tenant=issuer.tenant, namespace=issuer.namespace),
        issuer.tenant,
        issuer.namespace,
        frozenset(word for word in words if isinstance(word, str)) & issuer.scopes,
        expires_s(claims),
    )
