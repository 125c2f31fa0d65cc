"""The SQL files: `sql/queries/<noun>/<verb>.sql`, one statement each, and `sql/migrations/NNNN_name.sql`."""

from importlib.resources import files
from pathlib import Path


def root() -> Path:
    """The folder of SQL files: shipped inside the wheel; in a checkout at its top level."""
    shipped = Path(str(files("favsync") / "_sql"))
    return shipped if shipped.is_dir() else Path(__file__).resolve().parents[3] / "sql"


def query(name: str) -> str:
    """The statement of `sql/queries/{name}.sql`. Called as a module is imported, so that a missing file is found then.

    Raises FileNotFoundError.
    """
    return (root() / "queries" / f"{name}.sql").read_text(encoding="utf-8")
