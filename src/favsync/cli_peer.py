"""The commands about third-party backends: `favsync peer …`."""

import typer

from favsync import settings
from favsync.cli_check import check
from favsync.cli_common import Config, load, takes_settings, until_stopped
from favsync.core.errors import OperatorError
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
    """Seal users' tokens for peers with the first of the link keys; the others may then be taken away.

    With the database and the keys of the service, whether that runs or not.
    """
    effective = load(flags, config)
    vault = Vault(settings.link_keys(effective))
    found = until_stopped(upkeep.reseal(effective.database_url or effective.data_dir, vault))
    current = found.links - found.left - found.unreadable
    typer.echo(f"sealed anew: {found.resealed}; of the first key: {current} of {found.links}")
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
