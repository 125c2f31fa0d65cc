"""Which entities were ever declared on a database: none that holds records may be forgotten."""

from collections.abc import Mapping

import asyncpg

from favsync.catalog.entity import Scope
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
    known = [tuple(row) for row in await connection.fetch(_LIST)]
    odd = [
        (name, scope)
        for name, scope in known
        if declared.get(name) != scope and await connection.fetchval(_HOLDS, name, scope == Scope.SHARED)
    ]
    if gone := [name for name, _ in odd if name not in declared]:
        raise SettingsError(
            f"the database holds records of {', '.join(map(repr, gone))}, not declared as an entity: use the "
            "favsync.toml that declares it (--config, FAVSYNC_CONFIG), or, if it was renamed, put this name first in "
            "the `was` of what it became"
        )
    for name, scope in odd:
        raise SettingsError(
            f"entities.{name}.scope: the database holds records of it from when it was '{scope}'; as "
            f"'{declared[name]}' nobody could read them: leave the scope, or declare another entity"
        )
    for item in declared.items():
        if item not in known:
            await connection.execute(_DECLARE, *item)
