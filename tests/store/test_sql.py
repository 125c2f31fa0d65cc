"""The SQL files: each is one statement that the schema takes, and each is used."""

import re
from pathlib import Path

import asyncpg
import pytest

from favsync.store import sql

QUERIES = sorted((sql.root() / "queries").rglob("*.sql"))
SOURCE = Path(sql.__file__).parents[1]


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_it_is_one_statement_that_the_schema_takes(connection: asyncpg.Connection, path: Path) -> None:
    await connection.prepare(path.read_text())  # which refuses two statements
    assert path.read_text().startswith("-- ")


def test_none_is_unused_and_none_is_missing() -> None:
    asked = re.findall(r'sql\.query\("([^"]+)"\)', "".join(path.read_text() for path in SOURCE.rglob("*.py")))
    assert sorted(asked) == [f"{path.parent.name}/{path.stem}" for path in QUERIES]


def test_a_missing_file_is_found_when_its_module_is_imported() -> None:
    with pytest.raises(FileNotFoundError):
        sql.query("records/forget")
