"""What users have entrusted to us for other services, sealed: nobody can read it without a key of the settings.

Fernet (AES-128-CBC with HMAC-SHA-256), by the library `cryptography`; each key is made of a text by SHA-256.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class Unreadable(Exception):
    """No key opens it, or it is another's."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """How a user is known at a peer. `account`: what the user is called there, where that is known."""

    token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    account: str | None = None


class Vault:
    """`keys`: the first one seals, all of them open; each a text of 32 bytes or more."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernets = [_fernet(key) for key in keys]
        self._any = MultiFernet(self._fernets)

    def seal(self, user: str, peer: str, credentials: Credentials) -> bytes:
        """`user`, `peer`: whose it is, so that it opens as nobody else's."""
        whole = [user, peer, credentials.token, credentials.refresh_token, credentials.account]
        return self._any.encrypt(orjson.dumps(whole))

    def open(self, user: str, peer: str, sealed: bytes) -> Credentials:
        """Raises Unreadable."""
        try:
            whose, where, *rest = orjson.loads(self._any.decrypt(sealed))
        except InvalidToken:
            raise Unreadable from None
        if (whose, where) != (user, peer):
            raise Unreadable
        return Credentials(*rest)

    def is_current(self, sealed: bytes) -> bool:
        """Whether it is the first key that opens it."""
        try:
            self._fernets[0].decrypt(sealed)
        except InvalidToken:
            return False
        return True


def _fernet(key: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()))
