"""Settings: flags over FAVSYNC_* variables over favsync.toml over defaults, checked before anything starts."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import marshmallow
import structlog
from marshmallow import fields

from favsync import peering
from favsync.catalog.declaration import read_entities
from favsync.catalog.entity import FAVORITES, Entity, Scope
from favsync.catalog.listing import summary
from favsync.core.errors import SettingsError
from favsync.files import ensure_secret, make_data_dir
from favsync.identity import issuers as identity
from favsync.identity.issuers import Issuer, Network, UserHeader
from favsync.peering import Peer
from favsync.setting_fields import (
    MASK,
    Directory,
    Duration,
    Networks,
    Origins,
    Secrets,
    Size,
    bounds,
    default_data_dir,
    is_database_url,
    is_rate,
    is_secret,
    text,
    without_password,
)
from favsync.settings_sources import CONFIG_NAME, from_environment, from_file, variable

_log = structlog.get_logger(__name__)


def _setting(field: fields.Field[Any], help_text: str, default: object = None, *, secret: bool = False) -> Any:  # noqa: ANN401 -- as dataclasses.field
    metadata = {"field": field, "help": help_text, "secret": secret}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a deployment decides. The variable of `port` is FAVSYNC_PORT, its flag --port, its key in the file port."""

    host: str = _setting(text(), "Address to listen on", "127.0.0.1")
    port: int = _setting(fields.Integer(validate=bounds(0, 65535)), "Port to listen on; 0 picks a free one", 8080)
    workers: int = _setting(
        fields.Integer(validate=bounds(1, 64)), "Processes that serve, all on that port: up to one a core", 1
    )
    data_dir: Path = _setting(Directory(), "Where the embedded PostgreSQL and its secrets live", default_data_dir)  # noqa: RUF009 -- it is a field
    database_url: str | None = _setting(
        fields.String(validate=is_database_url),
        "PostgreSQL to use (`postgresql://…`); without it one of its own is started in `data_dir`",
        secret=True,
    )
    database_pool: int = _setting(
        fields.Integer(validate=bounds(1, 1000)), "Connections to PostgreSQL of each worker, at most", 10
    )
    listen: bool = _setting(
        fields.Boolean(),
        "Hear of changes by LISTEN; `false` behind a pooler in transaction mode: then it looks ten times a second",
        default=True,
    )
    synchronous_failover: bool = _setting(
        fields.Boolean(),
        "A promoted standby has all that was acknowledged (`synchronous_standby_names`): cursors go on",
        default=False,
    )
    migrate: bool = _setting(fields.Boolean(), "Apply pending migrations at the start", default=True)
    jwt_secret: str | None = _setting(
        fields.String(validate=is_secret),
        "Secret of HS256 tokens, 32 bytes or more; needed with `database_url`, made in `data_dir` without",
        secret=True,
    )
    jwt_secret_previous: str | None = _setting(
        fields.String(validate=is_secret), "A second secret that is accepted, during a rotation", secret=True
    )
    link_keys: tuple[str, ...] = _setting(
        Secrets(),
        "Secrets, by commas, 32 bytes or more each, that seal users' tokens for peers: the first seals, all open; "
        "needed where there are peers, with `database_url`; made in `data_dir` without, as the file `link_key`",
        (),
        secret=True,
    )
    max_clock_skew: float = _setting(
        Duration(validate=bounds(0, 86400)), "How far ahead of the server an actionDate may be", 600.0
    )
    max_batch: int = _setting(fields.Integer(validate=bounds(1, 10_000)), "Records in one request, at most", 1000)
    max_body: int = _setting(
        Size(validate=bounds(1024, 64 * 1024**2)), "Bytes in the body of one request, at most", 1024**2
    )
    max_items: int = _setting(
        fields.Integer(validate=bounds(1, 1_000_000)),
        "Items a user may have of one entity, deleted ones included",
        10_000,
    )
    rate_limit_user: float = _setting(
        fields.Float(validate=is_rate),
        "Requests a second of one user, five times that at once; 0: any",
        1000.0,
    )
    rate_limit_address: float = _setting(
        fields.Float(validate=is_rate),
        "Requests a second from one address, five times that at once; 0: any",
        10_000.0,
    )
    rate_limit_failures: float = _setting(
        fields.Float(validate=is_rate),
        "Tokens from one address that prove nothing, a second, five times that at once; 0: any",
        100.0,
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        Networks(), "Addresses or networks, by commas, whose X-Forwarded-For is believed", ()
    )
    cors_origins: tuple[str, ...] = _setting(Origins(), "Origins, by commas, whose pages may call; `*`: any", ())
    metrics_port: int | None = _setting(
        fields.Integer(validate=bounds(1, 65535)), "A port of its own for /metrics, which is then not on the other one"
    )
    max_connections: int = _setting(
        fields.Integer(validate=bounds(1, 1_000_000)),
        "Connections at a time, at most; fewer where the file limit (`ulimit -Hn`) does not allow them",
        10_000,
    )
    max_streams: int = _setting(
        fields.Integer(validate=bounds(1, 1_000_000)),
        "Event streams and reads that wait, at a time, at most, and at most half of the connections",
        5000,
    )
    head_timeout: float = _setting(
        Duration(validate=bounds(0.1, 3600)), "How long a client may take to send the head of a request", 10.0
    )
    body_timeout: float = _setting(
        Duration(validate=bounds(0.1, 3600)), "How long a client may take to send the body of a request", 30.0
    )
    keepalive_timeout: float = _setting(
        Duration(validate=bounds(0.1, 86400)),
        "How long a connection may lie idle between requests; longer than that of a proxy in front",
        75.0,
    )
    log_format: str = _setting(
        text("auto", "json", "console"), "`json`, `console`, or `auto`: JSON unless on a terminal", "auto"
    )
    log_level: str = _setting(text("debug", "info", "warning", "error"), "The least level that is logged", "info")

    issuers: tuple[Issuer, ...] = ()
    user_header: UserHeader | None = None
    peers: tuple[Peer, ...] = ()
    entities: tuple[Entity, ...] = (FAVORITES,)
    # What `entities` was read from.
    declarations: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def __reduce__(self) -> tuple[object, ...]:
        """For workers, to whom settings are handed over: schemas cannot be, and are made anew from the declarations."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "entities"]
        return _with_declared, ({name: getattr(self, name) for name in names},)

    @property
    def embedded(self) -> bool:
        return self.database_url is None

    @property
    def database_connections(self) -> int:
        """How many there will be: of each process its pool, its sequencer's, and one for what takes long."""
        return self.workers * (self.database_pool + 2)

    @property
    def streams_allowed(self) -> int:
        """How many there may be, so that others still find a place."""
        return min(self.max_streams, max(1, self.max_connections // 2))

    @property
    def all_issuers(self) -> tuple[Issuer, ...]:
        """Those of the file, and the deployment itself where it has a secret."""
        secrets = tuple(secret for secret in (self.jwt_secret, self.jwt_secret_previous) if secret)
        return (*self.issuers, identity.own(secrets)) if secrets else self.issuers

    @property
    def all_entities(self) -> tuple[Entity, ...]:
        """The entities, each with the limit of items that holds for it."""
        return tuple(
            dataclasses.replace(entity, max_items=self.max_items)
            if entity.max_items is None and entity.scope is Scope.USER
            else entity
            for entity in self.entities
        )

    @property
    def spaces(self) -> frozenset[tuple[str, str]]:
        """Tenant and namespace of each issuer: where there are users."""
        sources = (*self.all_issuers, *((self.user_header,) if self.user_header else ()))
        return frozenset((source.tenant, source.namespace) for source in sources)


def _with_declared(values: dict[str, Any]) -> Settings:
    entities, _no_mistakes = read_entities(values["declarations"])
    return Settings(entities=entities, **values)


# What flags and variables can say; the rest are tables of the file.
FIELDS = {field.name: field for field in dataclasses.fields(Settings) if "field" in field.metadata}
_SCHEMA = marshmallow.Schema.from_dict({name: field.metadata["field"] for name, field in FIELDS.items()})


def load(
    flags: Mapping[str, object] | None = None, config: Path | None = None
) -> tuple[Settings, dict[str, str], list[str]]:
    """The effective settings, where each that is not a default was said, and warnings.

    `flags`: None values are flags that were not given. `config`: a file that must exist; without it, `favsync.toml`
    of the working directory is read where there is one. Raises SettingsError, one sentence that names the setting.
    """
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    variables, warnings = from_environment(FIELDS)
    from_flags = {name: value for name, value in (flags or {}).items() if value is not None}
    singles, tables = from_file(config, FIELDS)
    for layer, origin in (
        (singles, lambda name: f"{name} in {config or CONFIG_NAME}"),
        (variables, variable),
        (from_flags, lambda name: "--" + name.replace("_", "-")),
    ):
        values |= layer
        origins |= {name: origin(name) for name in layer}
    try:
        loaded = cast("dict[str, Any]", _SCHEMA().load(values))
    except marshmallow.ValidationError as error:
        name, messages = next(iter(cast("dict[str, list[str]]", error.messages).items()))
        raise SettingsError(f"{origins.get(name, name)}: {_lower(messages[0])}") from None
    own = [f"entities.{entity.name}" for entity in tables.get("entities", ()) if entity is not FAVORITES]
    own += [f"peers.{peer.name}.{key}" for peer in tables.get("peers", ()) for key in peer.said]
    origins |= {name: f"{name} in {config or CONFIG_NAME}" for name in (*tables, *own)}
    settings = Settings(**loaded, **tables)
    if settings.metrics_port and settings.metrics_port == settings.port:
        raise SettingsError(
            f"{origins['metrics_port']}: is the port of everything else; leave it out to have both there"
        )
    return settings, origins, warnings


def with_secrets(settings: Settings) -> Settings:
    """The same settings, with what the service makes itself where they name nobody to believe, or nothing to seal with.

    That is done beside an embedded database only. Raises SettingsError where there is nobody, a secret cannot be read
    or made, issuers get into each other's way, or a peer is of nobody's users.
    """
    if settings.jwt_secret is not None or settings.issuers or settings.user_header:
        identity.check_apart(settings.all_issuers)
    elif settings.embedded:
        settings = dataclasses.replace(settings, jwt_secret=_own(settings, "jwt_secret", FIELDS["jwt_secret"]))
    else:
        raise SettingsError(
            f"{variable('jwt_secret')} is not set: with a database of your own, the service needs the secret that "
            "your tokens are signed with, or [[issuers]] in favsync.toml"
        )
    if not settings.peers:
        return settings
    of_users = {entity.name for entity in settings.entities if entity.scope is Scope.USER}
    peering.check_peers(settings.peers, of_users, {tenant for tenant, _ in settings.spaces})
    if settings.link_keys:
        return settings
    if not settings.embedded:
        raise SettingsError(
            f"{variable('link_keys')} is not set: with a database of your own, the service needs a secret to seal "
            "what users entrust to it for their [[peers]]"
        )
    return dataclasses.replace(settings, link_keys=_own(settings, "link_key", FIELDS["link_keys"]))


def link_keys(settings: Settings) -> tuple[str, ...]:
    """The secrets that seal users' tokens for peers, of which none is made here. Raises SettingsError."""
    found = settings.link_keys
    if not found and settings.embedded:
        found = _own(settings, "link_key", FIELDS["link_keys"], make=False)
    if not found:
        nor = f", and {settings.data_dir / 'link_key'} is not there" if settings.embedded else ""
        raise SettingsError(f"{variable('link_keys')} is not set{nor}: say what the service was started with")
    return found


_MENDED = "put back what was there, or remove the file to get a new one: what the old one signed or sealed is void then"


def _own(settings: Settings, name: str, field: dataclasses.Field[Any], *, make: bool = True) -> Any:  # noqa: ANN401 -- what the field gives
    """What the file of this name in the data directory says. Where there is none it is made; None: it is not to be.

    Raises SettingsError.
    """
    path = settings.data_dir / name
    try:
        if not make and not path.exists():
            return None
        make_data_dir(settings.data_dir)
        if not path.exists():
            _log.info("making a secret", path=str(path))
        found = field.metadata["field"].deserialize(ensure_secret(path))
    except OSError as error:
        raise SettingsError(f"data_dir: {error.filename or path}: {error.strerror}") from None
    except (marshmallow.ValidationError, UnicodeError) as error:
        wrong = error.messages[0] if isinstance(error, marshmallow.ValidationError) else "is not text"
        raise SettingsError(f"{path}: {wrong}; {_MENDED}") from None
    if not found:
        raise SettingsError(f"{path}: is empty; {_MENDED}")
    return found


def shown(settings: Settings) -> dict[str, str]:
    """The settings as text, secrets masked."""
    rows = {name: _text(name, field, getattr(settings, name)) for name, field in FIELDS.items()}
    if settings.embedded:
        made = [] if settings.issuers or settings.user_header else ["jwt_secret"]
        for name in [*made, "link_keys"] if settings.peers else made:
            rows[name] = rows[name] or "(made in data_dir)"
    for index, issuer in enumerate(settings.issuers):
        rows[f"issuers[{index}]"] = f"{issuer.label} for {issuer.tenant}/{issuer.namespace}"
    for peer in settings.peers:
        rows |= peering.shown(peer)
    rows |= {f"entities.{entity.name}": summary(entity) for entity in settings.entities}
    if header := settings.user_header:
        rows["user_header"] = f"{header.name} for {header.tenant}/{header.namespace}"
    return rows


def _text(name: str, field: dataclasses.Field[Any], value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ", ".join(map(str, [MASK] * len(value) if field.metadata["secret"] else value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}s" if isinstance(field.metadata["field"], Duration) else f"{value:g}"
    if not field.metadata["secret"]:
        return str(value)
    return without_password(str(value)) if name == "database_url" else MASK


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:].rstrip(".")
