"""Settings: flags over FAVSYNC_* variables over favsync.toml over defaults, checked before anything starts."""

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import environs
import marshmallow
import structlog
from marshmallow import fields

from favsync.catalog.declaration import read_entities
from favsync.catalog.entity import FAVORITES, Entity, Scope
from favsync.catalog.lines import Lines
from favsync.catalog.listing import summary
from favsync.core.errors import SettingsError
from favsync.core.text import did_you_mean
from favsync.files import ensure_secret, make_data_dir
from favsync.identity import issuers as identity
from favsync.identity.issuers import Issuer, Network, UserHeader
from favsync.setting_fields import (
    Directory,
    Duration,
    Networks,
    Origins,
    Size,
    bounds,
    is_database_url,
    is_rate,
    is_secret,
    text,
)

_log = structlog.get_logger(__name__)

PREFIX = "FAVSYNC_"
MASK = "********"
CONFIG_NAME = "favsync.toml"


def _default_data_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/favsync")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "favsync"


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
    data_dir: Path = _setting(Directory(), "Where the embedded PostgreSQL and its secrets live", _default_data_dir)  # noqa: RUF009 -- it is a field
    database_url: str | None = _setting(
        fields.String(validate=is_database_url),
        "PostgreSQL to use (`postgresql://…`); without it one of its own is started in `data_dir`",
        secret=True,
    )
    database_pool: int = _setting(fields.Integer(validate=bounds(1, 1000)), "Connections to PostgreSQL, at most", 10)
    migrate: bool = _setting(fields.Boolean(), "Apply pending migrations at the start", default=True)
    jwt_secret: str | None = _setting(
        fields.String(validate=is_secret),
        "Secret of HS256 tokens, 32 bytes or more; needed with `database_url`, made in `data_dir` without",
        secret=True,
    )
    jwt_secret_previous: str | None = _setting(
        fields.String(validate=is_secret), "A second secret that is accepted, during a rotation", secret=True
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
    entities: tuple[Entity, ...] = (FAVORITES,)

    @property
    def embedded(self) -> bool:
        return self.database_url is None

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

    def namespaces(self, tenant: str) -> frozenset[str]:
        """Those in which a tenant has users."""
        sources = (*self.all_issuers, *((self.user_header,) if self.user_header else ()))
        return frozenset(source.namespace for source in sources if source.tenant == tenant)


# What flags and variables can say; the rest are tables of the file.
FIELDS = {field.name: field for field in dataclasses.fields(Settings) if "field" in field.metadata}
TABLES = ("issuers", "user_header", "entities")
_SCHEMA = marshmallow.Schema.from_dict({name: field.metadata["field"] for name, field in FIELDS.items()})


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def load(
    flags: Mapping[str, object] | None = None, config: Path | None = None
) -> tuple[Settings, dict[str, str], list[str]]:
    """The effective settings, where each that is not a default was said, and warnings.

    `flags`: None values are flags that were not given. `config`: a file that must exist; without it, `favsync.toml`
    of the working directory is read where there is one. Raises SettingsError, one sentence that names the setting.
    """
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    variables, warnings = _from_environment()
    from_flags = {name: value for name, value in (flags or {}).items() if value is not None}
    from_file, tables = _from_file(config)
    for layer, origin in (
        (from_file, lambda name: f"{name} in {config or CONFIG_NAME}"),
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
    origins |= {name: f"{name} in {config or CONFIG_NAME}" for name in (*tables, *own)}
    settings = Settings(**loaded, **tables)
    if settings.metrics_port and settings.metrics_port == settings.port:
        raise SettingsError(
            f"{origins['metrics_port']}: is the port of everything else; leave it out to have both there"
        )
    return settings, origins, warnings


def with_jwt_secret(settings: Settings) -> Settings:
    """The same settings, and with a secret that the service makes itself where they name nobody to believe.

    That is done beside an embedded database only. Raises SettingsError where there is nobody, a secret cannot be read
    or made, or issuers get into each other's way.
    """
    if settings.jwt_secret is not None or settings.issuers or settings.user_header:
        identity.check_apart(settings.all_issuers)
        return settings
    if not settings.embedded:
        raise SettingsError(
            f"{variable('jwt_secret')} is not set: with a database of your own, the service needs the secret that "
            "your tokens are signed with, or [[issuers]] in favsync.toml"
        )
    path = settings.data_dir / "jwt_secret"
    try:
        make_data_dir(settings.data_dir)
        if not path.exists():
            _log.info("making a secret to sign tokens with", path=str(path))
        secret = ensure_secret(path)
        is_secret(secret)
    except OSError as error:
        raise SettingsError(f"data_dir: {error.filename or path}: {error.strerror}") from None
    except marshmallow.ValidationError as error:
        raise SettingsError(f"{path}: {error.messages[0]}; remove the file to get a new one") from None
    return dataclasses.replace(settings, jwt_secret=secret)


def shown(settings: Settings) -> dict[str, str]:
    """The settings as text, secrets masked."""
    rows = {}
    for name, field in FIELDS.items():
        value = getattr(settings, name)
        if value is None:
            rows[name] = "(made in data_dir)" if name == "jwt_secret" and settings.embedded else ""
        elif isinstance(value, tuple):
            rows[name] = ", ".join(map(str, value))
        elif isinstance(value, bool):
            rows[name] = str(value).lower()
        elif isinstance(value, float):
            rows[name] = f"{value:g}s" if isinstance(field.metadata["field"], Duration) else f"{value:g}"
        elif not field.metadata["secret"]:
            rows[name] = str(value)
        else:
            rows[name] = _without_password(value) if name == "database_url" else MASK
    for index, issuer in enumerate(settings.issuers):
        rows[f"issuers[{index}]"] = f"{issuer.label} for {issuer.tenant}/{issuer.namespace}"
    rows |= {f"entities.{entity.name}": summary(entity) for entity in settings.entities}
    if header := settings.user_header:
        rows["user_header"] = f"{header.name} for {header.tenant}/{header.namespace}"
    return rows


def declared(config: Path | None = None) -> tuple[tuple[Entity, ...], list[str]]:
    """The entities, and what is wrong in how the file declares them: `FILE:LINE: PLACE: SENTENCE`, by lines.

    `config` as in `load`. Raises SettingsError where the file cannot be read at all.
    """
    path, text, content = _read(config)
    return _entities(path, text, content.get("entities", {}))


def _entities(path: Path, text: str, value: object) -> tuple[tuple[Entity, ...], list[str]]:
    entities, mistakes = read_entities(value)
    lines = Lines(text if mistakes else "")
    found = sorted(((lines.line(mistake.path), mistake) for mistake in mistakes), key=lambda pair: pair[0])
    return entities, [f"{path}:{line}: {mistake.place}: {mistake.detail}" for line, mistake in found]


def _from_file(config: Path | None) -> tuple[dict[str, object], dict[str, Any]]:
    """What it says of single settings, and the tables in it."""
    path, text, content = _read(config)
    known = {*FIELDS, *TABLES}
    for name in content:
        if name not in known:
            raise SettingsError(f"{path}: there is no setting {name!r}{did_you_mean(name, known)}")
    tables: dict[str, Any] = {}
    try:
        if "issuers" in content:
            tables["issuers"] = identity.read_issuers(content.pop("issuers"), path.parent)
        if "user_header" in content:
            tables["user_header"] = identity.read_user_header(content.pop("user_header"))
    except SettingsError as error:
        raise SettingsError(f"{path}: {error.detail}") from None
    if "entities" in content:
        tables["entities"], faults = _entities(path, text, content.pop("entities"))
        if faults:
            more = f", and there are {len(faults) - 1} more: `favsync entities` lists them" if len(faults) > 1 else ""
            raise SettingsError(faults[0] + more)
    # As a variable would have it: then 1.5 is no port here either.
    return {name: str(value) if isinstance(value, int | float) else value for name, value in content.items()}, tables


def _read(config: Path | None) -> tuple[Path, str, dict[str, Any]]:
    """The file of settings: where it is, and what is in it; nothing where there may be none."""
    path = config or Path(CONFIG_NAME)
    if config is None and not _is_here(path):
        return path, "", {}
    try:
        text = path.read_text(encoding="utf-8")
        return path, text, tomllib.loads(text)
    except OSError as error:
        raise SettingsError(f"--config {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: {error}") from None


def _is_here(path: Path) -> bool:
    """Not where the working directory is closed to us, as root's is to an account that root runs this as."""
    try:
        return path.exists()
    except PermissionError:
        return False


def _from_environment() -> tuple[dict[str, object], list[str]]:
    reader = environs.FileAwareEnv(strip_whitespace=True)
    found: dict[str, object] = {}
    for name in FIELDS:
        try:
            value = reader.str(variable(name), None)
        except ValueError:
            raise SettingsError(f"{variable(name)}_FILE: cannot be read") from None
        if value:  # an empty variable is how compose files say "not set"
            found[name] = value
    ours = {variable(name) for name in FIELDS} | {"FAVSYNC_CONFIG"}
    known = ours | {f"{name}_FILE" for name in ours}
    warnings = [
        f"{name} is not a setting{did_you_mean(name, ours)}"
        for name in sorted(os.environ)
        if name.startswith(PREFIX) and name not in known
    ]
    return found, warnings


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    netloc = parts.netloc
    if parts.password is not None:
        user, _, host = netloc.rpartition("@")
        netloc = f"{user.split(':')[0]}:{MASK}@{host}"
    query = [(name, MASK if "password" in name.lower() else value) for name, value in parse_qsl(parts.query)]
    return f"{parts.scheme}://{netloc}{parts.path}" + (f"?{urlencode(query, safe='*/')}" if query else "")


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:].rstrip(".")
