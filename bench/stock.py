"""What is there before anything is measured: users with as many records each, their tokens, and a bare table."""

import contextlib
import itertools
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from bench.reading import EMPTY, FEED, HEAD, STREAMS
from bench.servers import Machine, Sql
from bench.tokens import token

ITEMS = 200  # of each user
_FIRST_US = 1_500_000_000_000_000  # in 2017: whatever is written is newer

_BARE = """
    CREATE TABLE IF NOT EXISTS bare (user_id text COLLATE "C", entity text COLLATE "C", item text COLLATE "C",
      action_us bigint NOT NULL, deleted boolean NOT NULL, PRIMARY KEY (user_id, entity, item))"""
# What the sorts of so many rows may take.
_GENEROUS = ("SET work_mem = '256MB'", "SET maintenance_work_mem = '512MB'")
_INDEXES = """
    SELECT c.relname AS name, k.conname IS NOT NULL AS primary,
           coalesce(pg_get_constraintdef(k.oid), pg_get_indexdef(c.oid)) AS definition
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid LEFT JOIN pg_constraint k ON k.conindid = c.oid
     WHERE i.indrelid = $1::regclass"""
# As if the users had written in turn: the records of one lie on as many pages.
_RECORDS = """
    INSERT INTO records (user_id, entity, item, action_us, deleted, digest, seq)
    SELECT 'main/main/user-' || u, 'main/favorites', 'session_' || i, $3::bigint + i * 1000, i % 10 = 0, '', i + 1
      FROM generate_series(1, $1::int) u, generate_series(0, $2::int - 1) i ORDER BY i, u"""
_COPY = "INSERT INTO bare SELECT user_id, entity, item, action_us, deleted FROM records"
_TIDY = ("VACUUM (ANALYZE) records", "VACUUM (ANALYZE) feed", "VACUUM (ANALYZE) bare", "ANALYZE streams", "CHECKPOINT")


_DAYS = itertools.count(1)


def next_day() -> date:
    """Whatever is written with a time of this day is newer than all that was written before."""
    return date(2020, 1, 1) + timedelta(days=next(_DAYS))


def fill(machine: Machine, sql: Sql, users: int) -> None:
    """Puts them in place of all that there are, unless they are there already."""
    if machine.users_stocked == users:
        for statement in _TIDY:
            sql.execute(statement)
        return
    machine.users_stocked = users
    for statement in (EMPTY, _BARE, "TRUNCATE bare", *_GENEROUS):
        sql.execute(statement)
    with _without_indexes(sql, "records"):
        sql.execute(_RECORDS, users, ITEMS, _FIRST_US)
    with _without_indexes(sql, "feed"):
        sql.execute(FEED, False)  # noqa: FBT003 -- an argument of the statement: not scattered
    with _without_indexes(sql, "bare"):
        sql.execute(_COPY)
    for statement in (STREAMS, HEAD, *_TIDY):
        sql.execute(statement)


@contextlib.contextmanager
def _without_indexes(sql: Sql, table: str) -> Iterator[None]:
    """They are made anew afterwards, as they were: for millions of rows, a fraction of the time."""
    indexes = sql.rows(_INDEXES, table)
    for index in indexes:
        sql.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT {index['name']}"
            if index["primary"]
            else f"DROP INDEX {index['name']}"
        )
    yield
    for index in indexes:
        made = f"ALTER TABLE {table} ADD CONSTRAINT {index['name']} {index['definition']}"
        sql.execute(made if index["primary"] else index["definition"])


def write_tokens(file: Path, users: int, who: str = "user") -> Path:
    """A token of each user, one a line."""
    file.write_text("".join(f"{token(f'{who}-{number}')}\n" for number in range(1, users + 1)))
    return file
