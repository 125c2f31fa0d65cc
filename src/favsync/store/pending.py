"""What was written, and no feed has placed yet."""

from favsync.store import sql
from favsync.store.database import Database

_OLDEST = sql.query("pending/oldest")


async def oldest_age_s(database: Database) -> float:
    """Seconds since the oldest of it was written; 0.0 where there is none. Raises Unavailable."""
    [row] = await database.fetch(_OLDEST)
    return float(row["age_s"])
