"""The commands about third-party backends: `favsync peer …`."""

import typer

from favsync import settings
from favsync.cli_check import check
from favsync.cli_common import Config, load, takes_settings, until_stopped
from favsync.core.errors import OperatorError, SettingsError
from favsync.identity.vault import Vault
from favsync.store import clients, upkeep

peer = typer.Typer(no_args_is_help=True, help="Third-party backends that users are linked with.")
peer.command()(check)


@peer.callback()
def _peer() -> None:
    """Third-party backends that users are linked with."""


@peer.command()
@takes_settings
def reseal(*, config: Config = None, **flags: object) -> None:
    """Seal users' tokens for peers with the first of the link keys; the others may then be taken away.

    With the settings of the service, whether that runs or not.
    """
    given = load(flags, config)
    if not given.link_keys and not given.peers:
        raise SettingsError(
            "link_keys is not set, and there are no [[peers]]: "
            "say the settings of the service (--config, FAVSYNC_CONFIG)"
        )
    if given.embedded:
        clients.check(given.data_dir)  # before secrets are made in a folder that is not the one
    effective = settings.with_secrets(given)
    database = effective.database_url or effective.data_dir
    found = until_stopped(upkeep.reseal(database, Vault(effective.link_keys)))
    typer.echo(f"sealed anew: {found.resealed} of {found.links}")
    if found.unreadable:
        raise OperatorError(
            f"sealed with a key that is not among link_keys, and as before: {found.unreadable} of {found.links}; "
            "put the older keys behind the first one"
        )
    if found.left:
        raise OperatorError(
            f"of an older key still, which a running service uses: {found.left} of {found.links}; "
            "restart it with the new one"
        )
