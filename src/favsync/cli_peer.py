"""The commands about third-party backends: `favsync peer …`."""

import typer

from favsync import settings
from favsync.cli_check import check
from favsync.cli_common import Config, load, takes_settings, until_stopped
from favsync.core.errors import OperatorError, SettingsError
from favsync.identity.vault import Vault
from favsync.store import upkeep

peer = typer.Typer(no_args_is_help=True, help="Third-party backends that users are linked with.")
peer.command()(check)


@peer.callback()
def _peer() -> None:
    """Third-party backends that users are linked with."""


@peer.command()
@takes_settings
def reseal(*, config: Config = None, **flags: object) -> None:
    """Seal users' tokens for peers with the first of the link keys; the others may then be taken away."""
    effective = settings.with_secrets(load(flags, config))
    if not effective.link_keys:
        raise SettingsError("link_keys is not set, and there are no [[peers]]: nothing says what seals")
    database = effective.database_url or effective.data_dir
    found = until_stopped(upkeep.reseal(database, Vault(effective.link_keys)))
    typer.echo(f"{found.links} links: {found.resealed} sealed anew")
    if found.unreadable:
        raise OperatorError(
            f"{found.unreadable} links are sealed with a key that is not among link_keys, and are as they were: "
            "put the older keys behind the first one"
        )
    if found.left:
        raise OperatorError(
            f"{found.left} links are of an older key still, which a running service uses: restart it with the new one"
        )
