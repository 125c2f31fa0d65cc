"""A long feed, read to its end by one client: how fast, and with how much memory on both sides."""

from bench.outside import PAGE
from bench.processes import Peak
from bench.results import Spread, Table
from bench.servers import Helper, Machine, Sql
from bench.tokens import token

USERS = 10_000
MIB = 2**20

EMPTY = "TRUNCATE streams, records, feed, feed_head, feed_pending"
# As if the users had written in turn, each record once, every tenth a deletion.
_RECORDS = """
    INSERT INTO records (user_id, entity, item, action_us, deleted, digest, seq)
    SELECT 'main/main/reader-' || n % $2::int, 'main/favorites', 'session_' || n, 1700000000000000 + n * 1000,
           n % 10 = 0, '', 1 + n / $2::int
      FROM generate_series(0, $1::bigint - 1) AS n"""
STREAMS = "INSERT INTO streams (user_id, seq) SELECT user_id, max(seq) FROM records GROUP BY user_id"
# On the disk in the order of their positions, or in none.
FEED = """
    INSERT INTO feed (entity, user_id, item, position, seq, action_us, deleted, digest, placed_at)
    SELECT entity, user_id, item, position, seq, action_us, deleted, digest, now()
      FROM (SELECT *, row_number() OVER (ORDER BY action_us) AS position FROM records) AS placed
     ORDER BY CASE WHEN $1::boolean THEN hashtext(item) ELSE position END"""
HEAD = """
    INSERT INTO feed_head AS h (entity, position, horizon) SELECT entity, max(position), 0 FROM feed GROUP BY entity
    ON CONFLICT (entity) DO UPDATE SET position = excluded.position, horizon = 0"""
_WAITING = """
    INSERT INTO feed_pending (user_id, entity, seq, items, seqs, action_us, deleted, digests, written_at)
    SELECT user_id, entity, seq, ARRAY[item], ARRAY[seq], ARRAY[action_us], ARRAY[deleted], ARRAY[digest],
           now() - interval '1 day' + (action_us - 1700000000000000) * interval '1 us'
      FROM records ORDER BY action_us"""
_TIDY = ("VACUUM (ANALYZE) records", "VACUUM (ANALYZE) feed", "VACUUM (ANALYZE) feed_pending", "CHECKPOINT")


def fill(sql: Sql, changes: int, *, placed: bool, scattered: bool = False) -> None:
    """Puts so many records in place of all that there are; placed in a feed, or waiting to be."""
    sql.execute(EMPTY)
    sql.execute(_RECORDS, changes, USERS)
    sql.execute(STREAMS)
    if placed:
        sql.execute(FEED, scattered)
        sql.execute(HEAD)
    else:
        sql.execute(_WAITING)
    for statement in _TIDY:
        sql.execute(statement)


def measure(machine: Machine, *, changes: int, rounds: int) -> list[Table]:
    """Each time by a fresh process of the service, and a fresh reader."""
    columns = ["rows/s", "s", "service at first, MiB", "at most, MiB", "reader at first, MiB", "at most, MiB too"]
    table = Table("reading", f"A feed of {changes:,} changes, read to its end", columns)
    for order in ("in order", "scattered"):
        with machine.sql() as sql:
            fill(sql, changes, placed=True, scattered=order == "scattered")
        for how, name in (("pages", f"pages of {PAGE:,}"), ("events", "an event stream")):
            runs = [_run(machine, how, changes) for _ in range(rounds)]
            seconds, *memory = zip(*runs, strict=True)
            rates = Spread.of([changes / each for each in seconds])
            table.add(f"{name}, {order} on the disk", rates, *map(Spread.of, (seconds, *memory)))
    return [table]


def _run(machine: Machine, how: str, changes: int) -> list[float]:
    """Seconds, and the memory of service and reader in MiB, at first and at most."""
    who = token("backend", "feed:read")
    with machine.another() as service, Helper("reader", service.url, how, changes, PAGE, who) as reader:
        reader.hear()
        with Peak(service.pid, reader.pid) as peak:
            reader.say()
            told = reader.hear()
        memory = [part for pair in zip(peak.before, peak.peak, strict=True) for part in pair]
        return [told["seconds"], *(part / MIB for part in memory)]
