"""`favsync peer check`: whether another backend can be synced with."""

from typing import Annotated

import orjson
import typer
from rich.console import Console

from favsync.cli_common import until_stopped
from favsync.client import SEED, Bearer, ForbiddenAddress, Session, Timeouts
from favsync.client.addresses import base as parsed
from favsync.conformance import Finding, Probe, Report, Target, Tell, examine, printing
from favsync.conformance.probe import ITEMS
from favsync.core.record import ITEM_LENGTH_MAX
from favsync.identity.tables import HEADER, HEADER_VALUE
from favsync.peering import USER, doubled
from favsync.setting_fields import parse_span_s

ITEM_PREFIX_MAX = ITEM_LENGTH_MAX - 100  # behind it comes what the items of a run are told apart by
TIMEOUT_S_MAX = 300.0


def check(  # noqa: PLR0913 -- each is an option of the command
    url: Annotated[str, typer.Argument(help="What its two paths are behind: https://eau.example.org")],
    *,
    token: Annotated[
        str, typer.Option(envvar="FAVSYNC_PEER_TOKEN", help="Of a user of it; as a variable it is in no process list.")
    ],
    get: Annotated[str, typer.Option(help="Path of the list.")] = SEED.read,
    post: Annotated[str, typer.Option(help="Path of the writes.")] = SEED.write,
    user: Annotated[str | None, typer.Option(help="What {user} in a path stands for.")] = None,
    header: Annotated[
        str | None, typer.Option(help="The header whose value the token is, in place of a bearer's Authorization.")
    ] = None,
    item: Annotated[str, typer.Option(help="What the items that are written begin with.")] = ITEMS,
    read_only: Annotated[bool, typer.Option("--read-only", help="Send no POST: it is only to be read.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    allow_http: Annotated[bool, typer.Option("--allow-http", help="Send the token over http to any machine.")] = False,
    timeout: Annotated[str, typer.Option(help="Of one request: 15s, 1m.")] = "15s",
) -> None:
    """Try whether a backend can be synced with, and by which settings. It writes items of its own, and deletes them.

    With the token of an account that is there for it: what it writes would come to whoever is linked with that account.

    Ends with 0 where it can, with 1 where not, and with 2 where the command is wrong.
    """
    timeout_s = _timeout_s(timeout)
    session = Session(
        allow_http=allow_http,
        timeouts=Timeouts(connect=min(10.0, timeout_s), read=timeout_s, total=timeout_s),
    )
    try:
        base = session.check(url)
    except ForbiddenAddress as error:
        hint = " (or say --allow-http)" if _is_url(url) else ""
        raise typer.BadParameter(f"{error}{hint}", param_hint="URL") from None
    target = Target(base, token, get, post, header, user)
    _check(target, item)
    paths = {name: path for name, path, usual in (("get", get, SEED.read), ("post", post, SEED.write)) if path != usual}
    report, console = Report(str(base), named=paths, header=header), Console(highlight=False)

    def tell(finding: Finding) -> None:
        report.findings.append(finding)
        if not as_json:
            printing.show(console, finding)

    work = _examine(session, target, item, tell, read_only=read_only)
    try:
        until_stopped(work, again=True)
    finally:
        if as_json:
            typer.echo(orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2).decode())
    if not as_json:
        printing.conclude(console, report)
    raise typer.Exit(0 if report.ok else 1)


def _is_url(text: str) -> bool:
    """Of a service, were http allowed."""
    try:
        return bool(parsed(text, http="any"))
    except ForbiddenAddress:
        return False


async def _examine(session: Session, target: Target, item: str, tell: Tell, *, read_only: bool) -> None:
    async with session:
        await examine(Probe(session, target, items=item), tell, read_only=read_only)


def _timeout_s(text: str) -> float:
    try:
        timeout_s = parse_span_s(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from None
    if not 0 < timeout_s <= TIMEOUT_S_MAX:
        raise typer.BadParameter("must be above 0, and 5m at most", param_hint="--timeout")
    return timeout_s


def _check(target: Target, item: str) -> None:
    """As favsync.toml would, of what goes into it."""
    if target.header is None:
        try:
            Bearer(target.token)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--token") from None
    elif not HEADER_VALUE.match(target.token):
        raise typer.BadParameter("the value of a header is ASCII, without control characters", param_hint="--token")
    for hint, path in (("--get", target.get), ("--post", target.post)):
        if not path.startswith("/") or not path.isprintable():
            raise typer.BadParameter("a path begins with a slash", param_hint=hint)
    if twice := doubled(str(target.url), target.get, target.post):
        raise typer.BadParameter(f"is what the paths are behind: leave {twice} away", param_hint="URL")
    if target.header is not None and not HEADER.match(target.header):
        raise typer.BadParameter("is not the name of a header", param_hint="--header")
    _check_user(target)
    if not item.isprintable() or len(item) > ITEM_PREFIX_MAX:
        raise typer.BadParameter(f"is text of up to {ITEM_PREFIX_MAX} characters", param_hint="--item")


def _check_user(target: Target) -> None:
    """What names the user: a token of theirs, or a place in both paths."""
    with_user = [USER in path for path in (target.get, target.post)]
    if any(with_user) and target.header is None:
        raise typer.BadParameter(
            f"{USER} in a path goes with it: a user's token says whose it is", param_hint="--header"
        )
    if target.header is not None and not all(with_user):
        raise typer.BadParameter(f"with it, {USER} has to be in each path: --get, --post", param_hint="--header")
    if target.user is not None and not any(with_user):
        raise typer.BadParameter(f"goes with {USER} in the paths", param_hint="--user")
    if any(with_user) and target.user is None:
        raise typer.BadParameter(f"is what {USER} in a path stands for", param_hint="--user")
