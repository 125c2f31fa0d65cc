"""Services that know each other as peers, while clients write to all of them and the ways between them fail.

Whatever happened, in the end all hold the same, and then nobody writes any more.
"""

import asyncio
import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e.faulty_proxy import FAULTS
from tests.postgres import Server
from tests.simulation.chain import APART_US, Chain, Kind, State, Way, chain, until

ROUNDS = int(os.environ.get("TEST_PEERS_ROUNDS", "40"))
SEED = os.environ.get("TEST_PEERS_SEED", "20170502")
USERS = ["ann", "bob", "cid"]
INTERVALS = 20
QUIET_S = 120.0  # within which all is equal: a link that failed again and again waits for some time
PRECISION_US = {"us": 1, "ms": 1000}

FACING, ROW = [(0, 1), (1, 0)], [(0, 1), (1, 2)]
# One that says its token has ended would have every link wait for a person.
_FAULTS = [fault for fault in FAULTS if fault != "not signed in"]


@pytest.fixture
def dsns(postgres: Server) -> Iterator[list[str]]:
    names = [asyncio.run(postgres.create_database()) for _ in range(3)]
    yield [postgres.dsn(name) for name in names]
    for name in names:
        asyncio.run(postgres.drop_database(name))


def _fail(way: Way, chance: random.Random) -> None:
    """For a while: sometimes, always, or not at all."""
    share = chance.choice([0.0, 0.3, 1.0])
    faults = random.Random(chance.random())
    way.proxy.fault = lambda: faults.choice(_FAULTS) if faults.random() < share else None


def _edit(row: Chain, chance: random.Random) -> None:
    for number in range(ROUNDS):
        for user in USERS:
            if chance.random() < 0.7:
                row.edit(chance, user)
        if number % 5 == 0:
            for way in row.ways:
                _fail(way, chance)
        time.sleep(chance.uniform(0, 0.3))
    for way in row.ways:
        way.proxy.fault = lambda: None


@pytest.mark.parametrize(
    ("ways", "kind"),
    [
        pytest.param(FACING, Kind("favorites", "us", 1), id="facing each other"),
        pytest.param(FACING, Kind("favorites", "ms", 300), id="facing each other, to the millisecond only"),
        pytest.param(ROW, Kind("notes", "us", 1), id="in a row, with fields"),
    ],
)
async def test_all_end_equal_and_fall_silent(
    ways: list[tuple[int, int]], kind: Kind, dsns: list[str], tmp_path: Path
) -> None:
    precision_us = PRECISION_US[kind.precision]
    chance = random.Random(SEED)
    count = 1 + max(max(way) for way in ways)
    with chain(dsns[:count], ways, kind, tmp_path) as row:
        row.link(USERS)
        _edit(row, chance)

        def equal() -> bool:
            states = row.states(USERS, precision_us)
            return {*states[0], *states[-1]} == {*row.model} and all(_equal(states, key) for key in row.model)

        until(equal, QUIET_S)
        assert any(way.passed("POST") for way in row.ways)
        row.looks(USERS, 2)  # what was under way when all became equal has come to its end
        _check(row, precision_us)
        rows, before = await row.rows(), [len(way.proxy.passed) for way in row.ways]
        row.looks(USERS, INTERVALS)
        for way, known in zip(row.ways, before, strict=True):
            crossed = [(one.method, one.status) for one in way.proxy.passed[known:]]
            assert len(crossed) >= INTERVALS * len(USERS)
            assert set(crossed) == {("GET", 304)}
        assert await row.rows() == rows
        for number in range(count):
            before = [len(way.proxy.passed) for way in row.ways]
            row.add(number, USERS[0], f"new-{number}")
            until(equal, QUIET_S)
            row.looks(USERS, 2)
            _check_ways(row.ways, before, number)


def _check_ways(ways: Sequence[Way], before: Sequence[int], number: int) -> None:
    """What is new at one service goes on each way once at most, and never back to where it came from."""
    for way, known in zip(ways, before, strict=True):
        posts = [one.content for one in way.proxy.passed[known:] if one.method == "POST"]
        assert len(posts) <= (0 if way.target == number else 1), posts


def _equal(states: Sequence[State], key: tuple[str, str]) -> bool:
    """A deletion is not told to whoever has never had the item."""
    found = [state.get(key) for state in states]
    there = {one for one in found if one is not None}
    return len(there) == 1 and (None not in found or all(action == "DELETE" for _at, action, _fields in there))


def _check(row: Chain, precision_us: int) -> None:
    """What stands is what was written: by the law, or where a peer sees less of dates, of that instant."""
    state: State = {}
    for one in row.states(USERS, 1):
        state |= one
    for key, version in row.model.items():
        at_us, action, _fields = state[key]
        if precision_us == 1:
            assert (at_us, action) == (version.action_us, str(version.action))
        assert abs(at_us - version.action_us) < APART_US / 2
