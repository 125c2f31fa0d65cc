"""Who may say who a caller is: the tables `[[issuers]]` and `[user_header]` of favsync.toml."""

import dataclasses
import ipaddress
from pathlib import Path
from typing import Any

import marshmallow
from marshmallow import fields, validate

from favsync.core.errors import SettingsError
from favsync.core.record import DEFAULT_NAMESPACE, DEFAULT_TENANT
from favsync.identity import tables
from favsync.identity.keys import Key, from_pem, from_secret

SYNC_ANY = "sync:any"
FEED_READ = "feed:read"
SCOPES = (FEED_READ, SYNC_ANY, "admin")
SECRET_BYTES_MIN = 32  # RFC 7518, section 3.2: no shorter than the hash

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# What proxies and servers give a meaning of their own.
_TAKEN_HEADERS = frozenset(
    {"accept", "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "content-type",
     "cookie", "expect", "forwarded", "host", "if-none-match", "last-event-id", "origin", "prefer",
     "sync-clock-offset", "te", "transfer-encoding", "upgrade", "x-forwarded-for", "x-real-ip", "x-request-id"}
)  # fmt: skip
_KINDS = ("secrets", "secret_files", "pem_file", "jwks", "introspection")


@dataclasses.dataclass(frozen=True, slots=True)
class Introspection:
    """RFC 7662: where to ask, and as whom."""

    url: str
    client_id: str
    client_secret: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Somebody whose tokens are believed. Of `keys`, `jwks` and `introspection` one is given.

    `iss`: None only for the deployment's own secret, and for opaque tokens. `audiences`: None where any will do, empty
    where a token must name none. `scopes`: those its tokens may carry; others are passed over.
    """

    iss: str | None = None
    audiences: tuple[str, ...] | None = ()
    keys: tuple[Key, ...] = dataclasses.field(default=(), repr=False)
    jwks: str | None = None
    introspection: Introspection | None = None
    tenant: str = DEFAULT_TENANT
    namespace: str = DEFAULT_NAMESPACE
    scopes: frozenset[str] = frozenset()
    subject_claim: str = "sub"
    scope_claim: str = "scope"

    @property
    def label(self) -> str:
        """What a log calls it."""
        return self.iss or f"{self.tenant}/{self.namespace}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UserHeader:
    """A header in which proxies, known by their addresses, say who the caller is."""

    name: str
    proxies: tuple[Network, ...]
    tenant: str = DEFAULT_TENANT
    namespace: str


def own(secrets: tuple[str, ...]) -> Issuer:
    """The deployment itself, by its `jwt_secret`: whoever holds that could speak for everybody, so any scope is its."""
    return Issuer(keys=tuple(map(from_secret, secrets)), scopes=frozenset(SCOPES))


def networks(text: str) -> tuple[Network, ...]:
    """The networks of `10.0.0.0/8, 192.168.1.7`; ValueError that names the one which is none."""
    found = []
    for word in filter(None, (word.strip() for word in text.split(","))):
        try:
            found.append(ipaddress.ip_network(word))
        except ValueError:
            raise ValueError(f"{word!r} is not an address or a network such as 10.0.0.0/8") from None
    return tuple(found)


# -- the tables as they are written ----------------------------------------------------------------------------------


class _Audience(fields.Field[tuple[str, ...]]):
    def _deserialize(self, value: object, *_args: object, **_kwargs: object) -> tuple[str, ...]:
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not listed or not all(isinstance(one, str) and one for one in listed):
            raise marshmallow.ValidationError("must be a text or a list of them")
        return tuple(listed)


class _IssuerTable(tables.Table):
    iss = tables.text()
    aud = _Audience()
    any_audience = fields.Boolean(truthy={True}, falsy={False})
    secrets = fields.List(tables.text(), validate=validate.Length(1, 4, error="must be a list of {min} to {max}"))
    secret_files = fields.List(tables.text(), validate=validate.Length(1, 4, error="must be a list of {min} to {max}"))
    pem_file = tables.text()
    jwks = tables.text(validate=tables.is_url)
    introspection = fields.Nested(tables.ClientTable)
    tenant = tables.name()
    namespace = tables.name()
    scopes = fields.List(tables.text(validate=validate.OneOf(SCOPES, error="must be one of: {choices}")))
    subject_claim = tables.text()
    scope_claim = tables.text()


class _UserHeaderTable(tables.Table):
    name = tables.text(required=True, validate=validate.Regexp(tables.HEADER, error="is not the name of a header"))
    proxies = fields.List(
        tables.text(), required=True, validate=validate.Length(1, 100, error="must have {min} to {max}")
    )
    tenant = tables.name()
    namespace = tables.name(required=True)  # that of an issuer or not: said on purpose


def read_issuers(value: object, folder: Path) -> tuple[Issuer, ...]:
    """The issuers of `[[issuers]]`. `folder`: what the names of files are relative to.

    Raises SettingsError, which names the place.
    """
    if not isinstance(value, list):
        raise SettingsError("issuers: must be a list of tables: [[issuers]]")
    return tuple(_issuer(f"issuers[{index}]", table, folder) for index, table in enumerate(value))


def read_user_header(value: object) -> UserHeader:
    """The header of `[user_header]`. Raises SettingsError, which names the place."""
    table = tables.load(_UserHeaderTable(), "user_header", value)
    if table["name"].lower() in _TAKEN_HEADERS:
        raise SettingsError(f"user_header.name: {table['name']} has a meaning of its own")
    try:
        table["proxies"] = tuple(network for text in table["proxies"] for network in networks(text))
    except ValueError as error:
        raise SettingsError(f"user_header.proxies: {error}") from None
    if not table["proxies"]:
        raise SettingsError("user_header.proxies: names none")
    return UserHeader(**table)


def check_apart(issuers: tuple[Issuer, ...]) -> None:
    """SettingsError where two issuers share what keeps their users apart, or a token would not say whose it is."""
    spaces: dict[tuple[str, str], Issuer] = {}
    names: set[str] = set()
    for issuer in issuers:
        space = (issuer.tenant, issuer.namespace)
        if space in spaces:
            raise SettingsError(
                f"issuers: {issuer.label} and {spaces[space].label} share tenant {space[0]!r} and namespace "
                f"{space[1]!r}, where their users would meet; give each a namespace of its own"
            )
        spaces[space] = issuer
        if issuer.iss is not None and issuer.iss in names:
            raise SettingsError(f"issuers: {issuer.iss} is there twice; one issuer may have several keys")
        names.add(issuer.iss or "")
    if sum(issuer.introspection is not None for issuer in issuers) > 1:
        raise SettingsError("issuers: only one may have introspection, since an opaque token does not say whose it is")


def _issuer(place: str, value: object, folder: Path) -> Issuer:
    table = tables.load(_IssuerTable(), place, value)
    given = [kind for kind in _KINDS if kind in table]
    if len(given) != 1:
        raise SettingsError(f"{place}: needs exactly one of {', '.join(_KINDS)}; it has {', '.join(given) or 'none'}")
    [kind] = given
    if "iss" not in table and kind != "introspection":
        raise SettingsError(f"{place}.iss: is missing: the iss that its tokens carry")
    any_audience = table.pop("any_audience", False)
    if any_audience and "aud" in table:
        raise SettingsError(f"{place}: has both aud and any_audience")
    if not any_audience and "aud" not in table and kind in ("jwks", "introspection"):
        raise SettingsError(
            f"{place}.aud: is missing: the audience that its tokens for this service name; without one, tokens for "
            "other services would be taken: say any_audience = true if they may be"
        )
    table["audiences"] = None if any_audience else table.pop("aud", ())
    table["scopes"] = frozenset(table.pop("scopes", ()))
    try:
        _resolve(table, kind, folder)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise SettingsError(f"{place}.{kind}: {getattr(error, 'filename', None) or ''}: {reason}") from None
    except ValueError as error:
        raise SettingsError(f"{place}.{kind}: {error}") from None
    return Issuer(**table)


def _resolve(table: dict[str, Any], kind: str, folder: Path) -> None:
    """Puts what Issuer wants in the place of what was written. Raises OSError, UnicodeError, ValueError."""
    match kind:
        case "secrets" | "secret_files":
            written = table.pop(kind)
            found = written if kind == "secrets" else [(folder / name).read_text().strip() for name in written]
            if any(len(secret.encode()) < SECRET_BYTES_MIN for secret in found):
                raise ValueError(f"each must be at least {SECRET_BYTES_MIN} bytes long")
            table["keys"] = tuple(map(from_secret, found))
        case "pem_file":
            table["keys"] = from_pem((folder / table.pop("pem_file")).read_bytes())
        case "introspection":
            asked: dict[str, str] = table["introspection"]
            secret = tables.secret(asked, "client_secret", folder)
            table["introspection"] = Introspection(asked["url"], asked["client_id"], secret)
