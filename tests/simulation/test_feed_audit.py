"""Writers whose transactions overlap, two sequencers, and readers of every kind: no reader of a feed misses anything.

Beside them, on the same writes, one reads by a sequence as cursor: the very auditor finds what that one misses.
`make audit` is the long form.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import aiohttp
import asyncpg
import pytest

from tests.e2e.service import Service
from tests.simulation.auditor import (
    Access,
    Change,
    EventReader,
    FeedReader,
    Findings,
    Key,
    LateReader,
    NaiveReader,
    Reader,
    Version,
)
from tests.simulation.writers import DECLARED, FAVORITES, NOTES, Direct, Poster, Transaction, Work

VERSIONS = int(os.environ.get("TEST_AUDIT_VERSIONS", "20000"))
SEED = int(os.environ.get("TEST_AUDIT_SEED", "20170502"))
ENTITIES = [FAVORITES, NOTES]
POSTERS, BACKENDS, DIRECT = 3, 3, 6
READERS = 4  # of each entity, beside the naive one
CATCH_UP_S_MAX = 60

# What everybody builds first. The trigger writes in the writers' own transactions.
NAIVE = """
CREATE TABLE naive (
  position  bigserial PRIMARY KEY,
  entity    text    NOT NULL,
  user_id   text    NOT NULL,
  item      text    NOT NULL,
  action_us bigint  NOT NULL,
  deleted   boolean NOT NULL,
  fields    json
);
CREATE INDEX ON naive (entity, position);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO naive (entity, user_id, item, action_us, deleted, fields)
  VALUES (new.entity, new.user_id, new.item, new.action_us, new.deleted, new.fields);
  RETURN NULL;
END
$$;
CREATE TRIGGER note AFTER INSERT OR UPDATE ON records FOR EACH ROW EXECUTE FUNCTION note();
"""

RECORDS = "SELECT seq AS position, user_id, item, action_us, deleted, fields FROM records WHERE entity = $1"

# Records that the feeds do not hold as they are, and places in them that belong to no record.
UNLIKE = """
SELECT count(*) FROM records r FULL JOIN feed f USING (entity, user_id, item)
 WHERE (r.seq, r.action_us, r.deleted, r.digest, r.fields::text)
       IS DISTINCT FROM (f.seq, f.action_us, f.deleted, f.digest, f.fields::text)
"""

BEYOND = "SELECT count(*) FROM feed f JOIN feed_head h USING (entity) WHERE f.position > h.position"
END = "SELECT coalesce(max(position), 0) FROM {table} WHERE entity = $1"
SEQUENCERS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'favsync sequencer' AND datname = $1"


class Form(NamedTuple):
    """How the two services are told of news, by `listen`, and how much is written."""

    listen: tuple[bool, bool]
    versions: int


FORMS = {
    "both listen": Form((True, True), VERSIONS),
    "one polls": Form((True, False), VERSIONS // 4),
}


@pytest.fixture(params=FORMS.values(), ids=list(FORMS))
def form(request: pytest.FixtureRequest) -> Form:
    chosen: Form = request.param
    return chosen


@pytest.fixture
def services(dsn: str, tmp_path: Path, form: Form) -> Iterator[list[Service]]:
    config = tmp_path / "favsync.toml"
    config.write_text(DECLARED)
    one, other = (Service(database_url=dsn, config=config, listen=listen) for listen in form.listen)
    with one, other:
        yield [one, other]


class Run(NamedTuple):
    """What everybody did, once nothing is written any more and every reader is at the end."""

    work: Work
    readers: list[Reader]
    naive: list[Reader]
    afterwards: list[Reader]  # of the naive feeds, from nothing, when nothing was written any more
    early: list[int]  # how much each of `readers` was given while there were writers


def _readers(access: Access, work: Work) -> list[Reader]:
    return [
        reader
        for entity in ENTITIES
        for reader in (
            FeedReader(access, entity, f"{SEED} paged {entity}", limits=[7, 50, 200], waits_s=[0]),
            FeedReader(access, entity, f"{SEED} waiting {entity}", limits=[100, 1000], waits_s=[1, 5]),
            EventReader(access, entity, f"{SEED} events {entity}", events=[1, 30, 300, 1000]),
            LateReader(access, entity, f"{SEED} late {entity}", begin=work.half),
        )
    ]


async def _run(connection: asyncpg.Connection, dsn: str, services: Sequence[Service], versions: int) -> Run:
    work = Work(versions)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        writers: list[Poster | Direct] = [
            *(Poster(work, f"{SEED} post {n}", session, services, named=False) for n in range(POSTERS)),
            *(Poster(work, f"{SEED} backend {n}", session, services, named=True) for n in range(BACKENDS)),
            *(Direct(work, f"{SEED} direct {n}", dsn) for n in range(DIRECT)),
        ]
        readers = _readers(Access(session, services), work)
        naive: list[Reader] = [NaiveReader(dsn, entity) for entity in ENTITIES]
        async with asyncio.TaskGroup() as reading:
            tasks = [reading.create_task(reader.run()) for reader in readers + naive]
            async with asyncio.TaskGroup() as writing:
                for writer in writers:
                    writing.create_task(writer.run())
            early = [reader.auditor.count for reader in readers]
            await _until("everything is placed", lambda: _is_placed(connection))
            ends = await _ends(connection, "feed")
            naive_ends = await _ends(connection, "naive")
            await _until("the readers are at the end", lambda: _are_at(readers, ends))
            afterwards: list[Reader] = [NaiveReader(dsn, entity) for entity in ENTITIES]
            tasks += [reading.create_task(reader.run()) for reader in afterwards]
            await _until("the naive readers are, too", lambda: _are_at(naive + afterwards, naive_ends))
            for task in tasks:
                task.cancel()
    return Run(work, readers, naive, afterwards, early)


async def _until(what: str, holds: Callable[[], Awaitable[bool]]) -> None:
    """AssertionError where that does not come to be so."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + CATCH_UP_S_MAX
    while not await holds():
        assert clock() < deadline, f"not within {CATCH_UP_S_MAX} s: {what}"
        await asyncio.sleep(0.02)


async def _is_placed(connection: asyncpg.Connection) -> bool:
    return not await connection.fetchval("SELECT EXISTS (SELECT FROM feed_pending)")


async def _ends(connection: asyncpg.Connection, table: str) -> dict[str, int]:
    return {entity: await connection.fetchval(END.format(table=table), f"main/{entity}") for entity in ENTITIES}


async def _are_at(readers: Sequence[Reader], ends: Mapping[str, int]) -> bool:
    return all(reader.auditor.position >= ends[reader.entity] for reader in readers)


async def _records(connection: asyncpg.Connection) -> dict[str, dict[Key, Version]]:
    """All there are, by entity."""
    found: dict[str, dict[Key, Version]] = {}
    for entity in ENTITIES:
        changes = map(Change.of_row, await connection.fetch(RECORDS, f"main/{entity}"))
        found[entity] = {change.key: change.version for change in changes}
    return found


def _overtakings(transactions: Sequence[Transaction]) -> tuple[int, int]:
    """Pairs of transactions that overlapped; and of these, where what has the earlier places was committed later."""
    overlapping = overtaken = 0
    ordered = sorted(transactions, key=lambda one: one.began)
    for index, one in enumerate(ordered):
        for other in ordered[index + 1 :]:
            if other.began >= one.ending:
                break
            overlapping += 1
            overtaken += one.place < other.place and other.ended < one.ending
    return overlapping, overtaken


def _placed(service: Service) -> float:
    """How many changes the service's own sequencer has placed."""
    match = re.search(r"^favsync_feed_placed_total (\S+)$", service.text("/metrics"), re.MULTILINE)
    assert match
    return float(match[1])


@pytest.mark.timeout(240 + VERSIONS // 50)
async def test_no_reader_of_a_feed_misses_anything_while_a_naive_one_does(
    connection: asyncpg.Connection, dsn: str, services: list[Service], form: Form
) -> None:
    """Every record's last version was seen by all readers, no version twice, positions strictly rising."""
    await connection.execute(NAIVE)
    name = await connection.fetchval("SELECT current_database()")
    run = await _run(connection, dsn, services, form.versions)

    assert await connection.fetchval("SELECT count(*) FROM naive") >= form.versions
    assert run.work.undone > 0
    overlapping, overtaken = _overtakings(run.work.transactions)
    assert overlapping > 0
    assert overtaken > 0
    assert await connection.fetchval(SEQUENCERS, name) == 2
    placed = [_placed(service) for service in services]
    assert min(placed) > 0, "each sequencer had a part in it"

    assert await connection.fetchval(UNLIKE) == 0
    assert await connection.fetchval(BEYOND) == 0
    records = await _records(connection)
    assert min(map(len, records.values())) > 0
    assert len(run.readers) == READERS * len(ENTITIES)
    assert min(run.early) > 0, "they read while there were writers"
    nothing = Findings([], [], [], [], [])
    for reader in run.readers + run.afterwards:
        assert reader.auditor.findings(records[reader.entity]) == nothing, (
            f"{type(reader).__name__} of {reader.entity}, seed {SEED}"
        )

    losses = {reader.entity: reader.auditor.findings(records[reader.entity]) for reader in run.naive}
    missed = {entity: len(found.skipped) for entity, found in losses.items()}
    assert sum(missed.values()) > 0, "the auditor finds no fault where there is one, so it proves nothing"
    print(  # noqa: T201 -- what it measured
        f"\n{run.work.applied} versions of {sum(map(len, records.values()))} records; {len(run.work.transactions)} "
        f"transactions by SQL, {run.work.undone} undone, {overlapping} pairs overlapped, {overtaken} overtook; the "
        f"sequencers placed {placed}; the readers were given {[reader.auditor.count for reader in run.readers]}, "
        f"{run.early} of it early; of the naive feeds were missed {missed}"
    )
