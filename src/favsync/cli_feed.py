"""The commands that keep the feeds: `favsync feed purge`, `favsync epoch show | new`."""

from pathlib import Path
from typing import Annotated

import typer

from favsync.cli_common import Config, load, takes_settings, until_stopped
from favsync.core.errors import SettingsError
from favsync.core.record import DEFAULT_TENANT, entity_key
from favsync.setting_fields import parse_span_s
from favsync.settings import Settings
from favsync.store import upkeep
from favsync.store.epoch import Place

OLDER_THAN_MAX_S = 36_500 * 86_400  # what lies before the year 1 is no date

feed = typer.Typer(no_args_is_help=True, help="Keep the feeds.")
epoch = typer.Typer(no_args_is_help=True, help="The history that cursors belong to.")


@feed.callback()
def _feed() -> None:
    """Keep the feeds."""


@feed.command()
@takes_settings
def purge(
    *,
    entity: Annotated[str, typer.Option(help="Whose feed.")],
    older_than: Annotated[str, typer.Option(help="Deletions placed so long ago: 90s, 10m, 1h, 30d.")],
    tenant: Annotated[str, typer.Option(help="Of which tenant.")] = DEFAULT_TENANT,
    config: Config = None,
    **flags: object,
) -> None:
    """Remove old deletions from a feed; the records keep theirs. A reader who has not seen them begins anew."""
    effective = load(flags, config)
    named = {name: one for one in effective.entities for name in one.names}
    if entity not in named:
        raise SettingsError(f"--entity: {entity!r} is not declared; there are: {', '.join(sorted(named))}")
    try:
        older_than_s = parse_span_s(older_than)
    except ValueError as error:
        raise SettingsError(f"--older-than: {error}") from None
    if older_than_s > OLDER_THAN_MAX_S:
        raise SettingsError("--older-than: must be 36500d at most")
    key = entity_key(named[entity].stored, tenant=tenant)
    purged = until_stopped(upkeep.purge(_database(effective), key, older_than_s=older_than_s))
    typer.echo(f"removed {purged.removed} deletions from the feed of {entity}")
    if purged.horizon:
        typer.echo(f"a reader that had not come to position {purged.horizon} begins anew")
    if purged.kept:
        typer.echo(f"{purged.kept} stay for now: their records have just changed again")


@epoch.command()
@takes_settings
def show(*, config: Config = None, **flags: object) -> None:
    """Print the epoch, and the database that it was begun on."""
    standing = until_stopped(upkeep.show_epoch(_database(load(flags, config))))
    known, here = standing.known, standing.here
    typer.echo(f"epoch     {known.id if known else '(none: the next connection begins one)'}")
    if known:
        typer.echo(f"begun on  {_told(known.begun)}")
    typer.echo(f"now on    {_told(here)}")


@epoch.command()
@takes_settings
def new(*, config: Config = None, **flags: object) -> None:
    """End the epoch, after a disk snapshot or a dump was put back: every cursor and ETag from before is then 410."""
    begun = until_stopped(upkeep.new_epoch(_database(load(flags, config))))
    typer.echo(f"epoch {begun} has begun; services see it within seconds")


def _database(settings: Settings) -> Path | str:
    """What to work on: the data directory of the embedded server, or a URL."""
    return settings.database_url or settings.data_dir


def _told(place: Place) -> str:
    timeline = "a standby" if place.timeline is None else f"timeline {place.timeline}"
    return f"system {place.system_identifier}, database {place.database_oid}, {timeline}"
