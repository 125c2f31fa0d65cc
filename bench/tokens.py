"""Tokens for whoever is played here; in a module of its own, which costs a small process little."""

import functools
import time

import jwt

SECRET = "a secret for measurements, 32 bytes long"  # noqa: S105 -- it guards nothing
TTL_S = 24 * 3600


@functools.cache
def token(user: str, *scopes: str) -> str:
    now_s = int(time.time())
    return jwt.encode({"sub": user, "scope": " ".join(scopes), "iat": now_s, "exp": now_s + TTL_S}, SECRET, "HS256")
