"""The keys that tokens are signed with: which algorithm each is for is told by the key, never by a token."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

RSA_BITS_MIN = 2048
KEYS_MAX = 100
_TRIED_MAX = 4  # of those that a token does not tell apart; verifying with each takes its time

Material = bytes | RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


class Key(NamedTuple):
    """A key, what it is for, and what its owner calls it (`kid`; None: nothing)."""

    kid: str | None
    algorithm: str
    material: Material

    def __repr__(self) -> str:
        return f"Key({self.kid!r}, {self.algorithm!r})"  # not what may be a secret

    def __reduce__(self) -> tuple[object, ...]:
        """For workers, to whom settings are handed over: of a public key, what can be written down."""
        if isinstance(self.material, bytes):
            return Key, tuple(self)
        return _from_der, (self.kid, self.material.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def from_secret(secret: str) -> Key:
    return Key(None, "HS256", secret.encode())


def from_public(material: object, kid: str | None = None) -> Key:
    """ValueError for a key that is not RSA of 2048 bits or more, EC P-256 or Ed25519."""
    match material:
        case RSAPublicKey() if material.key_size >= RSA_BITS_MIN:
            return Key(kid, "RS256", material)
        case RSAPublicKey():
            raise ValueError(f"an RSA key must have {RSA_BITS_MIN} bits or more")
        case EllipticCurvePublicKey() if isinstance(material.curve, SECP256R1):
            return Key(kid, "ES256", material)
        case Ed25519PublicKey():
            return Key(kid, "EdDSA", material)
    raise ValueError("a key must be RSA, EC P-256 or Ed25519")


def _from_der(kid: str | None, content: bytes) -> Key:
    return from_public(load_der_public_key(content), kid)


def from_pem(content: bytes) -> tuple[Key, ...]:
    """The public keys, or those of the certificates, in a PEM file; ValueError where there are none, or others."""
    keys = []
    for block in _PEM.finditer(content):
        label = block[1].decode()
        if "PRIVATE" in label:
            raise ValueError("holds a private key, which is its issuer's alone: put the public one here")
        try:
            if label == "CERTIFICATE":
                keys.append(from_public(x509.load_pem_x509_certificate(block[0]).public_key()))
            else:
                keys.append(from_public(load_pem_public_key(block[0])))
        except UnsupportedAlgorithm:
            raise ValueError("holds a key of a kind that is not known") from None
    if not 0 < len(keys) <= _TRIED_MAX:
        raise ValueError(f"must hold 1 to {_TRIED_MAX} public keys in PEM form")
    return tuple(keys)


def from_jwks(document: object) -> tuple[Key, ...]:
    """The keys of a JWK Set (RFC 7517) that tokens may be verified with here; ValueError where it is not one.

    What else is in it is passed over: keys to encrypt with, other kinds, and secrets, which have no place there.
    """
    listed = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(listed, list) or len(listed) > KEYS_MAX:
        raise ValueError(f"is not a JWK Set of up to {KEYS_MAX} keys")
    keys = []
    for jwk in listed:
        if not isinstance(jwk, dict) or jwk.get("kty") not in ("RSA", "EC", "OKP") or jwk.get("use", "sig") != "sig":
            continue
        kid = jwk.get("kid")
        try:
            key = from_public(jwt.PyJWK(jwk).key, kid if isinstance(kid, str) else None)
        except Exception:  # noqa: BLE001, S112 -- whatever is odd about one, the others count
            continue
        if jwk.get("alg", key.algorithm) == key.algorithm:
            keys.append(key)
    return tuple(keys)


def fitting(keys: Sequence[Key], kid: str | None, algorithm: str) -> list[Key]:
    """The few keys that may have signed a token whose header names `kid` and `algorithm`; those of that name first."""
    fit = [key for key in keys if key.algorithm == algorithm and (kid is None or key.kid in (None, kid))]
    return sorted(fit, key=lambda key: key.kid != kid)[:_TRIED_MAX]


def fingerprints(keys: Sequence[Key]) -> frozenset[tuple[str | None, bytes]]:
    """What tells two sets of public keys apart."""
    return frozenset(
        (key.kid, key.material.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        for key in keys
        if not isinstance(key.material, bytes)
    )
