"""What the commands have in common: flags for the settings, what they work on, how they are stopped."""

import asyncio
import inspect
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import structlog
import typer

from favsync import logs, settings
from favsync.core.errors import OperatorError, SettingsError
from favsync.settings import Settings

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")
Config = Annotated[Path | None, typer.Option(envvar="FAVSYNC_CONFIG", help="A favsync.toml to read.")]


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command a flag for each setting; it receives them, not given ones as None, as its keywords."""
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    for name, field in settings.FIELDS.items():
        option = typer.Option(help=field.metadata["help"], show_default=False, rich_help_panel="Settings")
        annotation = Annotated[bool | None, option] if field.type is bool else Annotated[str | None, option]
        own.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    command.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in own}
    return command


def load(flags: dict[str, object], config: Path | None) -> Settings:
    """The settings, with the logs set up by them."""
    effective, _origins, warnings = settings.load(flags, config)
    logs.configure(style=effective.log_format, level=effective.log_level)
    for warning in warnings:
        _log.warning("a variable that means nothing", detail=warning)
    return effective


def embedded_data_dir(flags: dict[str, object], config: Path | None, tool: str) -> Path:
    """Where the embedded database is; SettingsError, naming the tool, where the database is another."""
    effective = load(flags, config)
    if not effective.embedded:
        raise SettingsError(f"database_url is set, and this is for the embedded PostgreSQL: use {tool} on your own")
    return effective.data_dir


def until_stopped(work: Coroutine[Any, Any, _T], *, again: bool = False) -> _T:
    """What `work` gives. A signal to stop cancels it: what it began it puts in order. Then OperatorError.

    `again`: so does each further signal, which else changes nothing.
    """

    async def run() -> _T:
        task = asyncio.ensure_future(work)

        def stop() -> None:
            if again or not task.cancelling():
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            if signal.getsignal(number) is not signal.SIG_IGN:  # under nohup
                asyncio.get_running_loop().add_signal_handler(number, stop)
        try:
            return await task
        except asyncio.CancelledError:
            raise OperatorError("stopped before it was done") from None

    return asyncio.run(run())
