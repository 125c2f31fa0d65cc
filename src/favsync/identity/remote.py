"""What issuers are asked over HTTP: bounded in time and size, without redirects, proxies or cookies."""

from typing import Any

import aiohttp
import orjson

from favsync.core.errors import IssuerUnavailable

TIMEOUT_S = 3.0
BYTES_MAX = 256 * 1024
OK = 200


def session() -> aiohttp.ClientSession:
    """Needs a running event loop."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        connector=aiohttp.TCPConnector(limit=100),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json", "User-Agent": "favsync"},
        trust_env=False,
    )


async def ask(client: aiohttp.ClientSession, method: str, url: str, **options: Any) -> object:  # noqa: ANN401 -- aiohttp's own
    """The JSON of a 200. Raises IssuerUnavailable for any other end, its cause in words for the log alone."""
    try:
        async with client.request(method, url, allow_redirects=False, **options) as response:
            return orjson.loads(await _read(response))
    except TimeoutError:
        raise IssuerUnavailable from ValueError(f"it did not answer within {TIMEOUT_S:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise IssuerUnavailable from error


def bare(url: str) -> str:
    """A URL as a log may have it: what follows the path may be a secret."""
    return url.partition("?")[0]


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if response.status != OK:
        raise ValueError(f"it answered {response.status}")
    body = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        body += chunk
        if len(body) > BYTES_MAX:
            raise ValueError(f"it answered more than {BYTES_MAX} bytes")
    return bytes(body)
