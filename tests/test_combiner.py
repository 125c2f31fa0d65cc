"""Write combining: who shares a statement gets the answer that it would have got alone."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from favsync import combiner as module
from favsync import waiting
from favsync.combiner import Combiner
from favsync.core.errors import LockTimeout, Overloaded, Unavailable
from favsync.core.record import Key, Record, Version
from favsync.store import records as store
from favsync.store.database import Database
from favsync.store.records import Seen

PATIENCE_S = 10.0
NOTHING = Seen(None, refused=False)


def record(user: str, item: str = "a", at: int = 1, deleted: bool = False) -> Record:
    return Record(Key(user, "e", item), Version(at, deleted))


class Shelf:
    """A database that does as it is told. `statements`: the users of each. `open`: whether one may go on.

    A user in `blocked` holds a lock, one in `poison` has a record that no statement can hold.
    """

    def __init__(self) -> None:
        self.statements: list[list[str]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.blocked: set[str] = set()
        self.poison: set[str] = set()
        self.gone = False
        self.delay_s = 0.0

    async def push(self, records: Sequence[Record], limits: Sequence[int | None]) -> list[Seen]:
        users = [one.key.user for one in records]
        assert len(users) == len(limits) == len({one.key for one in records})
        self.statements.append(users)
        await self.open.wait()
        await asyncio.sleep(self.delay_s)
        if self.gone:
            raise Unavailable
        if self.blocked & set(users):
            raise LockTimeout
        if self.poison & set(users):
            raise ValueError("no such text")
        return [NOTHING] * len(users)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def combiner(shelf: Shelf) -> Combiner:
    return Combiner(shelf.push)


async def offer(combiner: Combiner, *users: str) -> list[Seen]:
    return await combiner.offer([record(user) for user in users], [None] * len(users), caller=users[0])


async def offered(combiner: Combiner, *users: str) -> "asyncio.Task[list[Seen]]":
    """An offer that has begun."""
    task = asyncio.create_task(offer(combiner, *users))
    await asyncio.sleep(0)
    return task


async def outcome(task: "asyncio.Task[list[Seen]]") -> object:
    async with asyncio.timeout(PATIENCE_S):
        [found] = await asyncio.gather(task, return_exceptions=True)
    return found if isinstance(found, list) else type(found)


async def test_who_is_alone_goes_at_once_and_who_comes_meanwhile_goes_together(
    combiner: Combiner, shelf: Shelf
) -> None:
    assert await offer(combiner, "ann") == [NOTHING]
    shelf.open.clear()
    tasks = [await offered(combiner, *users) for users in (["ann"], ["bob"], ["cy", "dan"], ["bob"])]
    await asyncio.sleep(0.05)
    assert shelf.statements == [["ann"], ["ann"]], "the others wait for the one that is under way"
    shelf.open.set()
    assert [len(await task) for task in tasks] == [1, 1, 2, 1]
    assert shelf.statements[2:] == [["bob", "cy", "dan"]], "one record a key, whoever sent it"


async def test_a_statement_has_so_many_records_and_an_offer_is_never_divided(
    combiner: Combiner, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "RECORDS_MAX", 3)
    shelf.open.clear()
    large = [f"u{number}" for number in range(5)]
    tasks = [await offered(combiner, *users) for users in (["ann"], ["bob", "cy"], ["dan", "eve"], large, ["fay"])]
    shelf.open.set()
    await asyncio.gather(*tasks)
    assert shelf.statements == [["ann"], ["bob", "cy"], ["dan", "eve"], large, ["fay"]]


async def test_a_blocked_user_holds_up_nobody_else(
    combiner: Combiner, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_WAIT_S", 1.0)
    shelf.blocked = {"ann"}
    shelf.open.clear()
    first = await offered(combiner, "zoe")
    tasks = {user: await offered(combiner, user) for user in ("ann", "bob", "cy")}
    shelf.open.set()
    for task in (first, tasks["bob"], tasks["cy"]):
        assert await outcome(task) == [NOTHING]
    assert not tasks["ann"].done()
    before = len(shelf.statements)
    assert await offer(combiner, "dan") == [NOTHING]
    later = await offered(combiner, "ann")
    assert [await outcome(task) for task in (tasks["ann"], later)] == [LockTimeout, LockTimeout]
    assert await outcome(await offered(combiner, "ann")) == LockTimeout
    assert all("ann" not in users or users == ["ann"] for users in shelf.statements[before:]), "alone from now on"
    shelf.blocked = set()
    assert await offer(combiner, "ann") == [NOTHING]


async def test_one_lock_does_not_end_the_combining(combiner: Combiner, shelf: Shelf) -> None:
    """Of a set that many write: not even while they go on and on."""

    async def write() -> None:
        for _ in range(20):
            await combiner.offer([record("ann", f"item{len(shelf.statements)}")], [None], caller="ann")

    shelf.delay_s = 0.002
    writers = [asyncio.create_task(write()) for _ in range(30)]
    await asyncio.sleep(0.01)
    shelf.blocked = {"ann"}
    await asyncio.sleep(0.01)
    shelf.blocked = set()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*writers)
    assert len(shelf.statements) < 30 * 20 / 3, "most went together"


async def test_who_sends_much_delays_the_others_by_one_offer(
    combiner: Combiner, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "RECORDS_MAX", 10)
    monkeypatch.setattr(waiting, "CALLER_OFFERS_MAX", 20)
    shelf.open.clear()
    large = [record("hog", f"i{number}") for number in range(10)]
    hogs = [asyncio.create_task(combiner.offer(large, [None] * 10, caller="hog")) for _ in range(30)]
    await asyncio.sleep(0.01)
    assert [task.done() for task in hogs] == [False] * 21 + [True] * 9, "one under way, twenty that wait"
    tasks = [await offered(combiner, user) for user in ("ann", "bob")]
    shelf.open.set()
    assert [await outcome(task) for task in tasks] == [[NOTHING]] * 2
    assert [await outcome(task) for task in hogs] == [[NOTHING] * 10] * 21 + [Overloaded] * 9
    assert shelf.statements[2] == ["ann", "bob"], "behind one of the hog's"
    monkeypatch.setattr(waiting, "CALLER_BYTES_MAX", 25 * waiting.RECORD_BYTES)
    shelf.open.clear()
    hogs = [asyncio.create_task(combiner.offer(large, [None] * 10, caller="hog")) for _ in range(4)]
    await asyncio.sleep(0.01)
    assert [task.done() for task in hogs] == [False, False, False, True]
    shelf.open.set()
    await asyncio.gather(*hogs[:3])
    assert await outcome(hogs[3]) == Overloaded


async def test_one_who_sends_for_many_delays_the_others_by_one_offer_too(
    combiner: Combiner, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "RECORDS_MAX", 10)
    shelf.open.clear()
    for_many = [[record(f"u{number}", f"i{place}") for place in range(10)] for number in range(9)]
    tasks = [asyncio.create_task(combiner.offer(one, [None] * 10, caller="importer")) for one in for_many]
    await asyncio.sleep(0)
    tasks += [await offered(combiner, user) for user in ("ann", "bob")]
    shelf.open.set()
    await asyncio.gather(*tasks)
    assert shelf.statements[2] == ["ann", "bob"]


async def test_small_offers_do_not_wait_behind_the_large_ones_of_many(
    combiner: Combiner, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor those behind an endless row of small ones."""
    monkeypatch.setattr(waiting, "SMALL_RECORDS", 1)
    monkeypatch.setattr(waiting, "RECORDS_MAX", 3)
    shelf.open.clear()
    tasks = [await offered(combiner, "zoe")]
    tasks += [await offered(combiner, *[f"l{number}", f"m{number}"]) for number in range(4)]
    tasks += [await offered(combiner, f"s{number}") for number in range(6)]
    shelf.open.set()
    await asyncio.gather(*tasks)
    large = [[f"l{number}", f"m{number}"] for number in range(4)]
    assert shelf.statements[1:] == [large[0], ["s0", "s1", "s2"], large[1], ["s3", "s4", "s5"], *large[2:]]


async def test_that_rows_were_locked_is_forgotten(
    combiner: Combiner, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while, and of the first where there are many: what is remembered is bounded."""
    monkeypatch.setattr(module, "LOCK_WAIT_S", 0.1)
    monkeypatch.setattr(module, "HELD_S", 0.5)
    monkeypatch.setattr(module, "HELD_MAX", 2)
    shelf.blocked = {"ann", "bob", "cy"}
    assert [await outcome(await offered(combiner, user)) for user in ("ann", "bob", "cy")] == [LockTimeout] * 3
    assert list(combiner._held) == ["bob", "cy"]
    await asyncio.sleep(0.5)
    shelf.blocked = set()
    shelf.open.clear()
    tasks = [await offered(combiner, user) for user in ("zoe", "bob", "cy")]
    shelf.open.set()
    await asyncio.gather(*tasks)
    assert shelf.statements[-1] == ["bob", "cy"]


async def test_when_the_lock_is_given_back_who_waited_is_answered(combiner: Combiner, shelf: Shelf) -> None:
    """Also those who came behind while it was not known yet, and wait in the lane with her."""
    shelf.blocked = {"ann"}
    shelf.open.clear()
    tasks = [await offered(combiner, *users) for users in (["ann"], ["ann"], ["ann", "bob"], ["bob"])]
    shelf.open.set()
    await asyncio.sleep(0.1)
    shelf.blocked = set()
    assert [await outcome(task) for task in tasks] == [[NOTHING], [NOTHING], [NOTHING] * 2, [NOTHING]]


async def test_what_is_wrong_with_one_is_told_to_that_one(combiner: Combiner, shelf: Shelf) -> None:
    shelf.poison = {"bob"}
    shelf.open.clear()
    tasks = [await offered(combiner, user) for user in ("ann", "bob", "cy", "bob")]
    shelf.open.set()
    assert [await outcome(task) for task in tasks] == [[NOTHING], ValueError, [NOTHING], ValueError]


async def test_when_the_connection_dies_everybody_hears_that_nothing_is_known(combiner: Combiner, shelf: Shelf) -> None:
    shelf.open.clear()
    first = await offered(combiner, "zoe")
    tasks = [await offered(combiner, user) for user in ("ann", "bob")]
    shelf.gone = True
    shelf.open.set()
    assert [await outcome(task) for task in (first, *tasks)] == [Unavailable] * 3
    assert shelf.statements == [["zoe"], ["ann", "bob"]], "it is not for us to send it again"
    shelf.gone = False
    assert await offer(combiner, "ann") == [NOTHING]


async def test_who_leaves_takes_nobody_along(combiner: Combiner, shelf: Shelf) -> None:
    shelf.open.clear()
    under_way = [await offered(combiner, "ann")]
    tasks = {user: await offered(combiner, user) for user in ("bob", "cy", "dan")}
    tasks["bob"].cancel()
    await asyncio.sleep(0)
    shelf.open.set()
    await asyncio.gather(*under_way, tasks["cy"], tasks["dan"])
    assert shelf.statements == [["ann"], ["cy", "dan"]], "what nobody waits for is not written"
    shelf.open.clear()
    leaving, staying = await offered(combiner, "ann"), await offered(combiner, "bob")
    await asyncio.sleep(0.01)
    leaving.cancel()
    shelf.open.set()
    assert await outcome(staying) == [NOTHING]


async def test_what_waits_is_bounded(combiner: Combiner, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "WAITING_BYTES_MAX", 3 * waiting.RECORD_BYTES)
    shelf.open.clear()
    tasks = [await offered(combiner, f"u{number}") for number in range(6)]
    await asyncio.sleep(0.01)
    assert [task.done() for task in tasks] == [False] * 4 + [True] * 2, "one under way, three that wait"
    shelf.open.set()
    assert [await outcome(task) for task in tasks] == [[NOTHING]] * 4 + [Overloaded] * 2
    assert await offer(combiner, *(f"u{number}" for number in range(9))) == [NOTHING] * 9, "one alone may be larger"


async def test_nobody_waits_for_ever(combiner: Combiner, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_S", 0.05)
    shelf.open.clear()
    tasks = [await offered(combiner, user) for user in ("ann", "bob")]
    await asyncio.sleep(0.1)
    shelf.open.set()
    assert [await outcome(task) for task in tasks] == [[NOTHING], Overloaded]
    assert shelf.statements == [["ann"]]


@pytest.mark.parametrize("seed", range(8))
async def test_together_each_gets_the_answer_that_one_by_one_it_would_get(
    database: Database, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a real database: many offers at once, of few users and items, so that they meet, and limits that they meet."""
    chance = random.Random(seed)
    statements: list[int] = []

    async def push(records: Sequence[Record], limits: Sequence[int | None]) -> list[Seen]:
        statements.append(len(records))
        return await store.push(database, records, limits)

    together = chance.choice([5, 20, 1000])
    monkeypatch.setattr(waiting, "RECORDS_MAX", together)
    combiner = Combiner(push)
    limit = chance.choice([None, 2, 4])
    stands: dict[Key, Version] = {}
    users = "abc" if seed % 2 else "abcdefghijklmnop"
    for _ in range(6):
        # Where several statements are needed, owners take turns, and only what is of one owner keeps its order.
        owners = 2 if together == 1000 else 1
        offers = [_any_offer(chance, users, owners) for _ in range(chance.randrange(1, 30))]
        tasks = [asyncio.create_task(combiner.offer(one, [limit] * len(one), caller=one[0].key.user)) for one in offers]
        answers = await asyncio.gather(*tasks)
        assert answers == [_one_by_one(stands, one, limit) for one in offers]
    rows = await database.fetch("SELECT user_id, entity, item, action_us, deleted, digest FROM records")
    assert {Key(*row[:3]): Version(*row[3:]) for row in map(tuple, rows)} == stands
    assert together < 1000 or len(statements) <= 2 * 6, "the first alone, and the rest together"


def _any_offer(chance: random.Random, users: str, owners: int) -> list[Record]:
    among = chance.sample(users, owners)
    keys = {(chance.choice(among), f"i{chance.randrange(6)}") for _ in range(chance.randrange(1, 5))}
    return [record(user, item, chance.randrange(4), chance.random() < 0.5) for user, item in sorted(keys)]


def _one_by_one(stands: dict[Key, Version], offered: list[Record], limit: int | None) -> list[Seen]:
    """What `push` says of an offer that comes alone; and what stands afterwards."""
    answers = []
    for one in offered:
        held = sum(key.user == one.key.user for key in stands)
        known = stands.get(one.key)
        refused = known is None and limit is not None and held >= limit
        answers.append(Seen(known, refused))
        if not refused and (known is None or one.version > known):
            stands[one.key] = one.version
    return answers
