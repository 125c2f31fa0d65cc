"""Who a client is: what it sends with each request to prove it."""

from collections.abc import Mapping
from typing import Protocol


class Auth(Protocol):
    """Whatever knows how to prove it. Its `repr` should not show what it knows."""

    async def headers(self) -> Mapping[str, str]:
        """The headers that a request gets, asked for before each."""

    async def renew(self) -> bool:
        """After a 401: whether other headers are to be had now, so that the request is worth sending once more."""


class Bearer:
    """A token that is what it is."""

    def __init__(self, token: str) -> None:
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("a bearer token is ASCII, without spaces and control characters")
        self._token = token

    def __repr__(self) -> str:
        return "Bearer(***)"

    async def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    async def renew(self) -> bool:
        return False


class Anonymous:
    """Nothing is sent: the other side knows by other means, or needs not to know."""

    async def headers(self) -> Mapping[str, str]:
        return {}

    async def renew(self) -> bool:
        return False


def auth_of(given: "Auth | str | None") -> Auth:
    if given is None:
        return Anonymous()
    return Bearer(given) if isinstance(given, str) else given
