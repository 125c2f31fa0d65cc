"""An issuer's keys, as it publishes them: fetched beside the requests, and kept while it cannot be reached."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import structlog

from favsync.core.errors import IssuerUnavailable
from favsync.identity.keys import Key, fingerprints, fitting, from_jwks
from favsync.identity.remote import bare

_log = structlog.get_logger(__name__)

REFRESH_S = 600.0
RETRY_S = 15.0  # after a failure
UNKNOWN_KID_S = 5.0  # how often a token with an unknown kid may cause a fetch


Spawn = Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]


class FixedKeys:
    """Keys that stand in the settings."""

    generation = 0

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = keys

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        return fitting(self._keys, kid, algorithm)


class RemoteKeys:
    """The keys of one JWKS URL. `fetch`: asks it, and raises IssuerUnavailable. `spawn`: runs something beside.

    `generation` rises when any key goes or comes: what was verified before is then not proven any more.
    """

    def __init__(self, url: str, fetch: Callable[[str], Awaitable[object]], spawn: Spawn) -> None:
        self._url = url
        self._fetch = fetch
        self._spawn = spawn
        self._keys: tuple[Key, ...] | None = None
        self._answered = False  # whether the latest fetch brought keys
        self._fetched_s = -math.inf
        self._fetching: asyncio.Task[None] | None = None
        self.generation = 0

    async def keep_fresh(self) -> None:
        """Fetches for as long as it is not cancelled."""
        while True:
            await self._fetch_once()
            await asyncio.sleep(REFRESH_S if self._answered else RETRY_S)

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        """The keys that may have signed such a token.

        Known keys are given at once. An unknown one waits for a fetch, of which there is one at a time and one in a few
        seconds. Raises IssuerUnavailable where the issuer, asked, did not answer: then nobody can tell.
        """
        found = fitting(self._keys or (), kid, algorithm)
        if not found:
            due = time.monotonic() - self._fetched_s >= UNKNOWN_KID_S
            if due or self._fetching is not None:
                await self._fetch_once()
                found = fitting(self._keys or (), kid, algorithm)
            if not found and not self._answered:
                raise IssuerUnavailable
        return found

    async def _fetch_once(self) -> None:
        """Fetches, or waits for the fetch that is under way; whoever waits may leave, and it goes on."""
        if self._fetching is None:
            self._fetched_s = time.monotonic()
            self._fetching = self._spawn(self._take())
        await asyncio.shield(self._fetching)

    async def _take(self) -> None:
        try:
            keys = from_jwks(await self._fetch(self._url))
        except Exception as error:  # noqa: BLE001 -- whatever it was, the next time may be better
            self._answered = False
            _log.warning("an issuer's keys cannot be had", jwks=bare(self._url), reason=str(error.__cause__ or error))
        else:
            self._answered = True
            if self._keys is None or fingerprints(keys) != fingerprints(self._keys):
                self.generation += 1
                kids = [key.kid for key in keys]
                log = _log.info if keys else _log.warning
                log("an issuer's keys are others now", jwks=bare(self._url), kids=kids)
            self._keys = keys
        finally:
            self._fetching = None
