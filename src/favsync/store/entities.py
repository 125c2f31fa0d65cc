"""Which entities were ever declared on a database: none that holds records may be forgotten."""

from collections.abc import Mapping

import asyncpg

from favsync.core.errors import SettingsError
from favsync.store import sql

_LIST = sql.query("entities/list")
_DECLARE = sql.query("entities/declare")
_HOLDS = sql.query("entities/holds")


async def register(connection: asyncpg.Connection, declared: Mapping[str, str]) -> None:
    """Notes what is declared: stored name to scope.

    Raises SettingsError where there are records of an entity that is not, or whose records the other scope would hide.
    The connection should have no time limits.
    """
    known = {row["name"]: row["scope"] for row in await connection.fetch(_LIST)}
    odd = [
        name for name in sorted(known) if known[name] != declared.get(name) and await connection.fetchval(_HOLDS, name)
    ]
    if gone := [name for name in odd if name not in declared]:
        raise SettingsError(
            f"the database holds records of {_listed(gone)}, not declared as an entity: use the favsync.toml that "
            "declares it (--config, FAVSYNC_CONFIG), or, if it was renamed, put this name first in the `was` of what "
            "it became"
        )
    for name in odd:
        raise SettingsError(
            f"entities.{name}.scope: the database holds records of it from when it was {known[name]!r}; as "
            f"'{declared[name]}' nobody could read them: leave the scope, or declare another entity"
        )
    for name, scope in declared.items():
        if known.get(name) != scope:
            await connection.execute(_DECLARE, name, scope)


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names))
