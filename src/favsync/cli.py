"""The command line: `favsync serve | migrate | backup | restore | psql | token | config | entities | feed | …`."""

import asyncio
import dataclasses
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import orjson
import structlog
import typer

from favsync import __version__, cli_feed, cli_peer, settings
from favsync.app import doors, log_key
from favsync.catalog.listing import listing
from favsync.cli_common import Config, embedded_data_dir, load, takes_settings, until_stopped
from favsync.core.errors import OperatorError, SettingsError
from favsync.core.record import DEFAULT_NAMESPACE, DEFAULT_TENANT, owner_key
from favsync.core.text import did_you_mean
from favsync.http import openapi
from favsync.http.access import log_name
from favsync.http.auth import issue
from favsync.identity.authenticator import check_subject
from favsync.identity.issuers import SCOPES
from favsync.serve import loop_factory
from favsync.serve import serve as serve_alone
from favsync.setting_fields import parse_span_s
from favsync.settings import Settings
from favsync.settings_sources import declared
from favsync.store import backup as backups
from favsync.store import binaries, clients
from favsync.store.database import Database
from favsync.store.embedded import Embedded
from favsync.workers import serve as serve_by_workers

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(cli_feed.feed, name="feed")
app.add_typer(cli_feed.epoch, name="epoch")
app.add_typer(cli_peer.peer, name="peer")
_log = structlog.get_logger(__name__)

MIGRATE_PATIENCE_S = 60.0
TTL_MAX_S = 3650 * 86400


def main() -> NoReturn:
    """What an operator has to mend is said in one sentence, and the exit status is 1."""
    try:
        app()
    except OperatorError as error:
        sys.exit(f"favsync: {error.detail}")
    sys.exit(0)


@app.command()
@takes_settings
def serve(*, config: Config = None, **flags: object) -> None:
    """Run the service until Ctrl-C or SIGTERM; without a database URL, with a PostgreSQL of its own."""
    effective = load(flags, config)
    if effective.embedded:
        binaries.find()  # or say what is missing, before anything is made
    effective = settings.with_secrets(effective)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve_alone(effective) if effective.workers == 1 else serve_by_workers(effective))


@app.command()
@takes_settings
def migrate(*, config: Config = None, **flags: object) -> None:
    """Bring the database's schema up to this release; waits a minute for a database that is away."""
    asyncio.run(_migrate(load(flags, config)))


@app.command()
@takes_settings
def backup(
    file: Annotated[Path, typer.Argument(help="Where to; a file that is there is replaced when all is done.")],
    *,
    config: Config = None,
    **flags: object,
) -> None:
    """Save the embedded database to a file, whether the service runs or not; nothing is interrupted."""
    saved = until_stopped(backups.save(embedded_data_dir(flags, config, "pg_dump --format=custom"), file))
    typer.echo(f"saved in {file}: {saved.records} records, {saved.bytes} bytes")


@app.command()
@takes_settings
def restore(
    file: Annotated[Path, typer.Argument(help="A backup that you trust: it can run commands here.")],
    *,
    config: Config = None,
    **flags: object,
) -> None:
    """Make the embedded database from a backup, where there is none yet, or one without records."""
    data_dir = embedded_data_dir(flags, config, "pg_restore, then `favsync epoch new`,")
    restored = until_stopped(backups.restore(data_dir, file))
    instead = ", in place of a database without records" if restored.replaced else ""
    typer.echo(f"restored in {data_dir}{instead}: {restored.records} records")
    typer.echo(
        "Secrets are not part of a backup: for tokens to stay valid, copy the files jwt_secret and, where there is "
        f"one, link_key of the old data directory to {data_dir}, or set FAVSYNC_JWT_SECRET and FAVSYNC_LINK_KEYS."
    )


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="[OPTIONS OF FAVSYNC] [--]",
)
@takes_settings
def psql(
    args: Annotated[list[str] | None, typer.Argument(help="Arguments of psql.")] = None,
    *,
    config: Config = None,
    **flags: object,
) -> None:
    """Run psql on the embedded database, that of the running service or else one started for it."""
    data_dir = embedded_data_dir(flags, config, "psql")
    raise typer.Exit(until_stopped(clients.psql(data_dir, args or ())))


@app.command()
@takes_settings
def token(
    subject: Annotated[str, typer.Argument(help="The user that the token speaks for: its `sub`.")],
    *,
    scope: Annotated[list[str] | None, typer.Option(help="A scope it grants; may be given more than once.")] = None,
    ttl: Annotated[str, typer.Option(help="How long it is valid: 90s, 10m, 1h, 2d.")] = "1h",
    config: Config = None,
    **flags: object,
) -> None:
    """Print a bearer token that this deployment accepts."""
    try:
        ttl_s = int(parse_span_s(ttl))
    except ValueError as error:
        raise SettingsError(f"--ttl: {error}") from None
    if not 0 < ttl_s <= TTL_MAX_S:
        raise SettingsError("--ttl: must be between 1s and 3650d")
    try:
        check_subject(subject)
    except ValueError as error:
        raise SettingsError(f"the subject {error}") from None
    effective = dataclasses.replace(load(flags, config), peers=())  # whose key this is not to make
    secret = settings.with_secrets(effective).jwt_secret
    if secret is None:
        raise SettingsError(
            "tokens of this deployment are issued elsewhere: only with a jwt_secret can one be made here"
        )
    scopes = [word for given in scope or () for word in given.split()]
    for unknown in sorted({*scopes} - {*SCOPES}):
        meant = did_you_mean(unknown, SCOPES)
        typer.echo(f"favsync: the token has a scope that means nothing here, {unknown!r}{meant}", err=True)
    typer.echo(issue(secret, subject, scopes=scopes, now_s=int(time.time()), ttl_s=ttl_s))


@app.command("log-user")
@takes_settings
def show_log_user(
    subject: Annotated[str, typer.Argument(help="The user: the `sub` of their tokens.")],
    *,
    tenant: Annotated[str, typer.Option(help="Of which tenant.")] = DEFAULT_TENANT,
    namespace: Annotated[str, typer.Option(help="Of which namespace.")] = DEFAULT_NAMESPACE,
    config: Config = None,
    **flags: object,
) -> None:
    """Print what stands for a user in the log of a service with these settings."""
    effective = settings.with_secrets(dataclasses.replace(load(flags, config), peers=()))
    if effective.jwt_secret is None:
        raise SettingsError("without a jwt_secret each start of the service has names of its own for users in the log")
    typer.echo(log_name(log_key(effective), owner_key(subject, tenant=tenant, namespace=namespace)))


@app.command("openapi")
@takes_settings
def show_openapi(*, config: Config = None, **flags: object) -> None:
    """Print the OpenAPI 3.1 document of a service with these settings."""
    document = openapi.document(doors(load(flags, config)))
    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


@app.command("config")
@takes_settings
def show_config(*, config: Config = None, **flags: object) -> None:
    """Print the effective settings, secrets masked, and where each that is not a default was said."""
    effective, origins, warnings = settings.load(flags, config)
    rows = settings.shown(effective)
    width = max(map(len, rows))
    for name, value in rows.items():
        typer.echo(f"{name:<{width}} = {value or '(not set)':<40}  # {origins.get(name.partition('[')[0], 'default')}")
    for warning in warnings:
        typer.echo(f"favsync: {warning}", err=True)


@app.command("entities")
def show_entities(*, config: Config = None) -> None:
    """List the entities with their fields; or every fault in how favsync.toml declares them, and exit with 1."""
    entities, faults = declared(config)
    if faults:
        typer.echo("\n".join(faults), err=True)
        raise typer.Exit(1)
    typer.echo(listing(entities, settings.load(config=config)[0].max_items))


def _print_version(wanted: bool) -> None:  # noqa: FBT001 -- typer calls it so
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    *, version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_print_version)] = False
) -> None:
    """Two-way synchronisation of favourites and other per-user records."""


async def _migrate(effective: Settings) -> None:
    database = Database(pool_size=1)
    embedded = Embedded(effective.data_dir, connections=1) if effective.embedded else None
    if embedded:
        embedded.acquire()
    try:
        target = await embedded.start() if embedded else {"dsn": effective.database_url}
        await database.open(target, patience_s=MIGRATE_PATIENCE_S)
    finally:
        await database.close()
        if embedded:
            await embedded.stop(timeout_s=MIGRATE_PATIENCE_S)
    _log.info("the schema is that of this release")
