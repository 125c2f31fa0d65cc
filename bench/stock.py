"""What is there before anything is measured: users with as many records each, their tokens, and a bare table."""

from pathlib import Path

from bench.reading import EMPTY, FEED, HEAD, STREAMS
from bench.servers import Sql
from bench.tokens import token

ITEMS = 200  # of each user
_FIRST_US = 1_500_000_000_000_000  # in 2017: whatever is written is newer

_BARE = (
    "DROP TABLE IF EXISTS bare",
    """
    CREATE TABLE bare (user_id text COLLATE "C", entity text COLLATE "C", item text COLLATE "C",
                       action_us bigint NOT NULL, deleted boolean NOT NULL, PRIMARY KEY (user_id, entity, item))""",
)
_RECORDS = """
    INSERT INTO records (user_id, entity, item, action_us, deleted, digest, seq)
    SELECT 'main/main/user-' || u, 'main/favorites', 'session_' || i, $3::bigint + i * 1000, i % 10 = 0, '', i + 1
      FROM generate_series(1, $1::int) u, generate_series(0, $2::int - 1) i"""
_COPY = "INSERT INTO bare SELECT user_id, entity, item, action_us, deleted FROM records"
_TIDY = ("VACUUM (ANALYZE) records", "VACUUM (ANALYZE) feed", "VACUUM (ANALYZE) bare", "ANALYZE streams", "CHECKPOINT")


def fill(sql: Sql, users: int) -> None:
    """Puts them in place of all that there are."""
    for statement in (EMPTY, *_BARE):
        sql.execute(statement)
    sql.execute(_RECORDS, users, ITEMS, _FIRST_US)
    sql.execute(FEED, False)  # noqa: FBT003 -- an argument of the statement: not scattered
    for statement in (_COPY, STREAMS, HEAD, *_TIDY):
        sql.execute(statement)


def write_tokens(file: Path, users: int) -> Path:
    """A token of each user, one a line."""
    file.write_text("".join(f"{token(f'user-{number}')}\n" for number in range(1, users + 1)))
    return file
