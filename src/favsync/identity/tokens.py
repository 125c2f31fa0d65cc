"""What a JWT says, and whether it is true: pure functions of the token, the keys and the rules."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jwt

from favsync.core.errors import Unauthenticated
from favsync.identity.issuers import Issuer
from favsync.identity.keys import Key

LEEWAY_S = 30

_UNREADABLE = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
_END_OF_TIME_S = 2**53
_NOT_OURS = "The token is not one that this service accepts."


class Head(NamedTuple):
    """What a token says of itself, unproven: good for finding keys by, and for nothing else."""

    algorithm: str
    kid: str | None
    iss: str | None


def refused(detail: str = _NOT_OURS) -> Unauthenticated:
    """The error for a token that was sent. `detail` never repeats any of it."""
    return Unauthenticated(detail, token_sent=True)


def read_head(token: str) -> Head | None:
    """None for what is no JWT. Of its header only `alg` and `kid` are read: never a key, nor where to get one."""
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except _UNREADABLE:
        return None
    algorithm, kid, iss = header.get("alg"), header.get("kid"), claims.get("iss")
    if not isinstance(algorithm, str):
        return None
    return Head(algorithm, kid if isinstance(kid, str) else None, iss if isinstance(iss, str) else None)


def verify(token: str, keys: Sequence[Key], issuer: Issuer) -> Mapping[str, Any]:
    """The claims of a token that one of `keys` signed, for this service and for now; Unauthenticated otherwise.

    `iss`, `exp` and `nbf` with `iat`, `aud` are checked; the subject is not. Raises Unauthenticated.
    """
    for key in keys:
        try:
            claims = jwt.decode(
                token,
                key.material,
                algorithms=[key.algorithm],
                issuer=issuer.iss,
                leeway=LEEWAY_S,
                options={"require": ["exp"], "verify_aud": False, "verify_sub": False},
            )
        except jwt.InvalidSignatureError:
            continue
        except jwt.ExpiredSignatureError:
            raise refused("The token has expired.") from None
        except _UNREADABLE:  # what PyJWT says would repeat parts of the token
            break
        check_audience(claims, issuer)
        return claims
    raise refused()


def expires_s(claims: Mapping[str, Any]) -> float | None:
    """When a token ends, in seconds since the epoch; None: it does not say. Raises Unauthenticated for no number."""
    value = claims.get("exp")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _END_OF_TIME_S:
        raise refused("The token's exp is not a time.")
    return float(value)


def check_audience(claims: Mapping[str, Any], issuer: Issuer) -> None:
    """Whether a token is meant for this service (RFC 7519, section 4.1.3); Unauthenticated where it is not."""
    if issuer.audiences is None:
        return
    named = claims.get("aud")
    if not issuer.audiences:
        if "aud" in claims:
            raise refused("The token is for another service: it names an aud.")
        return
    listed = named if isinstance(named, list) else [named]
    if not any(isinstance(one, str) and one in issuer.audiences for one in listed):
        raise refused("The token is for another service: its aud is not this one's.")
