"""Third-party backends that records are kept in step with: the tables `[[peers]]` of favsync.toml."""

import dataclasses
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum
from pathlib import Path
from typing import cast
from urllib.parse import quote

from marshmallow import fields, validate

from favsync.catalog.entity import FAVORITES
from favsync.client import SEED
from favsync.core.errors import SettingsError
from favsync.core.reconcile import Absence, Rules
from favsync.core.record import DEFAULT_TENANT
from favsync.identity import tables
from favsync.identity.issuers import Network, networks
from favsync.setting_fields import MASK, Duration, bounds

PEERS_MAX = 100
PREFIX_LENGTH_MAX = 64
USER = "{user}"
BATCH = 100  # records in one POST, unless the settings say otherwise

# Of what a peer may make us hold. The work is done in turns, so that of what is unpacked there is one at a time.
ANSWER_BYTES_MAX = 16 * 1024 * 1024
LIST_BYTES_MAX = 32 * 1024 * 1024
LIST_RECORDS_MAX = 100_000

_PRECISION_US = {"us": 1, "ms": 1000, "s": 1_000_000}
_PATH = re.compile(r"/[A-Za-z0-9._~/{}?=&%:@!$'()*+,;-]{0,500}\Z", re.ASCII)


class Direction(StrEnum):
    """Whether a peer is written to, or only read."""

    BOTH = "both"
    PULL = "pull"


@dataclasses.dataclass(frozen=True, slots=True)
class Renewal:
    """RFC 6749, section 6: where a refresh token becomes a new access token, and as whom we ask."""

    url: str
    client_id: str
    client_secret: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A backend of the two endpoints, for users of one tenant.

    `get`, `post`: paths; `{user}` in them stands for what the user is called there. `header`: a name and a secret that
    are sent with each request; None where each user's own bearer token is. `per_s`, `at_once`: requests to it, of each
    process. `prefix`: what its items begin with here. `networks`: of addresses it may have beside public ones. `said`:
    the keys that the settings name.
    """

    name: str
    url: str
    get: str
    post: str
    entity: str
    tenant: str
    direction: Direction
    interval_s: float
    timeout_s: float
    per_s: float
    at_once: int
    batch: int
    prefix: str
    rules: Rules
    header: tuple[str, str] | None = dataclasses.field(default=None, repr=False)
    renewal: Renewal | None = None
    networks: tuple[Network, ...] = ()
    said: frozenset[str] = dataclasses.field(default=frozenset(), compare=False)

    @property
    def by_token(self) -> bool:
        """Whether a link needs the user's own token."""
        return self.header is None


class _HeaderTable(tables.Table):
    name = tables.text(required=True, validate=validate.Regexp(tables.HEADER, error="is not the name of a header"))
    value = tables.text()
    value_file = tables.text()


def _path(default: str) -> fields.String:
    return tables.text(
        load_default=default, validate=validate.Regexp(_PATH, error="must be a path such as /getUserFavorites")
    )


def _one_of(*choices: str) -> fields.String:
    return tables.text(load_default=choices[0], validate=validate.OneOf(choices, error="must be one of: {choices}"))


class _PeerTable(tables.Table):
    name = tables.name(required=True)
    url = tables.text(required=True, validate=tables.is_url)
    get = _path(SEED.read)
    post = _path(SEED.write)
    entity = tables.text(load_default=FAVORITES.name)
    tenant = tables.text(load_default=DEFAULT_TENANT, validate=validate.Regexp(tables.NAME, error="is not a tenant"))
    direction = _one_of(*Direction)
    interval = Duration(load_default=60.0, validate=bounds(1, 7 * 86400))
    timeout = Duration(load_default=15.0, validate=bounds(0.1, 300))
    per_s = fields.Float(load_default=20.0, validate=bounds(0.01, 100_000))
    at_once = fields.Integer(load_default=8, validate=bounds(1, 1000))
    batch = fields.Integer(load_default=BATCH, validate=bounds(1, 10_000))
    prefix = tables.text(
        load_default="", validate=validate.Length(max=PREFIX_LENGTH_MAX, error="may have {max} characters")
    )
    precision = _one_of("ms", "us", "s")
    absence = _one_of(*Absence)
    max_delete_percent = fields.Float(load_default=30.0, validate=bounds(0, 100))
    header = fields.Nested(_HeaderTable)
    oauth = fields.Nested(tables.ClientTable)
    networks = fields.List(tables.text())


def named(path: str, account: str | None) -> str:
    """The path for an account: whatever that holds, it is one segment, or one value, of what the settings say."""
    return path.replace(USER, quote(account or "", safe=""))


def doubled(url: str, *paths: str) -> str | None:
    """The path of the seed's that a URL ends with, although it is among those that come behind it."""
    return next((path for path in (SEED.read, SEED.write) if path in paths and url.rstrip("/").endswith(path)), None)


def read_peers(value: object, folder: Path) -> tuple[Peer, ...]:
    """The peers of `[[peers]]`. `folder`: what the names of files are relative to.

    Raises SettingsError, which names the place.
    """
    if not isinstance(value, list) or len(value) > PEERS_MAX:
        raise SettingsError(f"peers: must be a list of up to {PEERS_MAX} tables: [[peers]]")
    found = tuple(_peer(f"peers[{index}]", table, folder) for index, table in enumerate(value))
    names = [peer.name for peer in found]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise SettingsError(f"peers[{index}].name: there are two of the name {name!r}")
    return found


def check_peers(peers: tuple[Peer, ...], entities: AbstractSet[str], tenants: AbstractSet[str]) -> None:
    """SettingsError for a peer of an entity that is not declared, or of a tenant that has no users."""
    for peer in peers:
        if peer.entity not in entities:
            raise SettingsError(f"peers: {peer.name}: {peer.entity!r} is not an entity of users")
        if peer.tenant not in tenants:
            raise SettingsError(f"peers: {peer.name}: no issuer has the tenant {peer.tenant!r}")


def shown(peer: Peer) -> dict[str, str]:
    """What is said of it, as text, by its place in the settings; no secret."""
    rules, renewal = peer.rules, peer.renewal
    told = {
        "url": peer.url, "get": _masked(peer.get), "post": _masked(peer.post), "entity": peer.entity,
        "tenant": peer.tenant, "direction": peer.direction, "interval": f"{peer.interval_s:g}s",
        "timeout": f"{peer.timeout_s:g}s", "per_s": f"{peer.per_s:g}", "at_once": peer.at_once, "batch": peer.batch,
        "prefix": peer.prefix,
        "precision": next(name for name, us in _PRECISION_US.items() if us == rules.precision_us),
        "absence": rules.absence, "max_delete_percent": f"{rules.max_delete_percent:g}",
        "header": peer.header[0] if peer.header else "", "oauth": renewal.url if renewal else "",
        "networks": ", ".join(map(str, peer.networks)),
    }  # fmt: skip
    return {f"peers.{peer.name}.{key}": str(value) for key, value in told.items()}


def _masked(path: str) -> str:
    """Without what may be a secret in it."""
    return re.sub(r"([?&][^=&]*=)(?!\{user\})[^&]+", rf"\1{MASK}", path)


def _peer(place: str, value: object, folder: Path) -> Peer:
    table = tables.load(_PeerTable(), place, value)
    if "?" in table["url"]:
        raise SettingsError(f"{place}.url: must end with its path: what is asked for stands in get and post")
    if path := doubled(table["url"], table["get"], table["post"]):
        raise SettingsError(f"{place}.url: is what the paths are behind: leave {path} away")
    header, renewal = table.pop("header", None), table.pop("oauth", None)
    if header and renewal:
        raise SettingsError(f"{place}: a token of its users is renewed (oauth), or a header is sent, not both")
    if USER in table["get"] + table["post"] and not header:
        raise SettingsError(f"{place}: {USER} in a path goes with a header: a user's token says whose it is")
    paths = [table["get"]] if table["direction"] == Direction.PULL else [table["get"], table["post"]]
    if header and not all(USER in path for path in paths):
        raise SettingsError(f"{place}: with a header, {USER} has to be in each path: else all users had one list")
    rules = Rules(
        precision_us=_PRECISION_US[table.pop("precision")],
        absence=Absence(table.pop("absence")),
        max_delete_percent=table.pop("max_delete_percent"),
    )
    try:
        allowed = tuple(one for text in table.pop("networks", []) for one in networks(text))
    except ValueError as error:
        raise SettingsError(f"{place}.networks: {error}") from None
    return Peer(
        **{
            key: table[key]
            for key in ("name", "url", "get", "post", "entity", "tenant", "per_s", "at_once", "batch", "prefix")
        },
        direction=Direction(table["direction"]),
        interval_s=table["interval"],
        timeout_s=table["timeout"],
        rules=rules,
        header=_header(f"{place}.header", header, folder) if header else None,
        renewal=_renewal(place, renewal, folder) if renewal else None,
        networks=allowed,
        said=frozenset(cast("dict[str, object]", value)),
    )


def _header(place: str, table: dict[str, str], folder: Path) -> tuple[str, str]:
    value = _secret(place, table, "value", folder)
    if not tables.HEADER_VALUE.match(value):
        raise SettingsError(f"{place}: the value of a header is ASCII, on one line")
    return table["name"], value


def _renewal(place: str, table: dict[str, str], folder: Path) -> Renewal:
    return Renewal(table["url"], table["client_id"], _secret(f"{place}.oauth", table, "client_secret", folder))


def _secret(place: str, table: Mapping[str, str], key: str, folder: Path) -> str:
    try:
        return tables.secret(table, key, folder)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise SettingsError(f"{place}.{key}_file: {table[f'{key}_file']}: {reason}") from None
    except ValueError as error:
        raise SettingsError(f"{place}: {error}") from None
