"""News within a process: who hears of it, and that what many want to read is read once."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from favsync.hub import Board, Hub, Topic

FEED = Topic("main/notes")
ANNS = Topic("main/notes", "main/main/ann")
BOBS = Topic("main/notes", "main/main/bob")
OTHERS = Topic("main/ratings", "main/main/ann")
SHORT_S = 0.01
LONG_S = 60.0


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def boards(hub: Hub) -> Iterator[dict[Topic, Board]]:
    with ExitStack() as stack:
        yield {topic: stack.enter_context(hub.follow(topic)) for topic in (FEED, ANNS, BOBS, OTHERS)}


async def until_it_stands() -> None:
    """Gives every task that can go on the time to do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_all_who_follow_a_topic_hear_of_it_and_nobody_else(hub: Hub, boards: dict[Topic, Board]) -> None:
    waiting = {
        topic: [asyncio.create_task(board.beyond(board.number, wait_s=LONG_S)) for _ in range(3)]
        for topic, board in boards.items()
    }
    await until_it_stands()
    hub.post(ANNS)
    assert await asyncio.gather(*waiting[ANNS]) == [True] * 3
    await until_it_stands()
    assert [task.done() for topic in (FEED, BOBS, OTHERS) for task in waiting[topic]] == [False] * 9
    hub.post(FEED)
    assert await asyncio.gather(*waiting[FEED]) == [True] * 3
    assert [boards[topic].number for topic in (FEED, ANNS, BOBS, OTHERS)] == [1, 1, 0, 0]
    for topic in (BOBS, OTHERS):
        hub.post(topic)
        await asyncio.gather(*waiting[topic])


async def test_news_that_was_posted_before_is_not_waited_for(hub: Hub, boards: dict[Topic, Board]) -> None:
    """Between a look and the wait that follows it nothing can be missed."""
    board = boards[FEED]
    number = board.number
    hub.post(FEED)
    assert await board.beyond(number, wait_s=0)
    assert not await board.beyond(board.number, wait_s=SHORT_S)
    for _ in range(3):
        hub.post(FEED)
    async with asyncio.timeout(LONG_S / 2):
        assert await board.beyond(number, wait_s=LONG_S), "several are one"


async def test_news_of_what_nobody_follows_is_nothing(hub: Hub) -> None:
    hub.post(FEED)
    hub.wrote([ANNS])
    assert hub.owners("main/notes") == set()
    with hub.follow(FEED) as board:
        assert board.number == 0
        assert not await board.beyond(0, wait_s=SHORT_S)


async def test_a_board_is_there_while_somebody_follows_its_topic(hub: Hub) -> None:
    """Nothing of it stays: a service meets many users in its life."""
    with hub.follow(ANNS) as first:
        with hub.follow(ANNS) as second, hub.follow(FEED), hub.follow(BOBS):
            assert first is second
            assert hub.owners("main/notes") == {"main/main/ann", "main/main/bob"}
            assert hub.owners("main/ratings") == set()
        hub.post(ANNS)
        assert first.number == 1
        assert hub.owners("main/notes") == {"main/main/ann"}
    with hub.follow(ANNS) as again:
        assert again is not first
    assert hub._boards == {}


async def test_a_write_wakes_the_sequencer_and_whose_records_changed(hub: Hub, boards: dict[Topic, Board]) -> None:
    """The feed itself has no news yet: that comes when the sequencer has placed it."""
    assert (hub.woken.is_set(), hub.written) == (False, set())
    hub.wrote([ANNS, OTHERS])
    assert (hub.woken.is_set(), hub.written) == (True, {ANNS.entity, OTHERS.entity})
    assert [boards[topic].number for topic in (FEED, ANNS, BOBS, OTHERS)] == [0, 1, 0, 1]
    hub.wrote([])
    assert hub.written is None, "what may have been written is looked for"
    hub.wrote([ANNS])
    assert hub.written is None


async def test_who_follows_anything_hears_what_concerns_all(hub: Hub, boards: dict[Topic, Board]) -> None:
    hub.post(ANNS)
    hub.post_all()
    assert [boards[topic].number for topic in (FEED, ANNS, BOBS, OTHERS)] == [1, 2, 1, 1]


class Source:
    """What is read: counts how often, and gives nothing before it is let go."""

    def __init__(self) -> None:
        self.reads = 0
        self.go = asyncio.Event()

    async def __call__(self) -> int:
        self.reads += 1
        number = self.reads
        await self.go.wait()
        return number


async def test_what_many_want_at_once_is_read_once(boards: dict[Topic, Board]) -> None:
    board, source, other = boards[FEED], Source(), Source()
    readers = [asyncio.create_task(board.read(7, source)) for _ in range(100)]
    others = [asyncio.create_task(board.read(8, other)) for _ in range(100)]
    await until_it_stands()
    source.go.set()
    other.go.set()
    assert await asyncio.gather(*readers, *others) == [1] * 200
    assert (source.reads, other.reads) == (1, 1)
    assert await board.read(7, source) == 2, "what is over is not kept"


async def test_a_crowd_reads_a_few_at_a_time() -> None:
    """Whatever it follows: it leaves others a connection."""
    hub, go = Hub(reads=3), asyncio.Event()
    at_once = most = 0

    async def read() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await go.wait()
        at_once -= 1

    with ExitStack() as stack:
        boards = [stack.enter_context(hub.follow(Topic("main/notes", f"main/main/{user}"))) for user in range(20)]
        readers = [asyncio.create_task(board.read(0, read)) for board in boards]
        await until_it_stands()
        assert (at_once, most) == (3, 3)
        readers[0].cancel()
        readers[19].cancel()
        go.set()
        await asyncio.wait(readers)
        assert most == 3
        assert at_once == 0


async def test_who_comes_after_news_reads_anew(hub: Hub, boards: dict[Topic, Board]) -> None:
    """A read that began before the news may not have seen it."""
    board, source = boards[FEED], Source()
    before = asyncio.create_task(board.read(7, source))
    await until_it_stands()
    hub.post(FEED)
    after = [asyncio.create_task(board.read(7, source)) for _ in range(2)]
    await until_it_stands()
    source.go.set()
    assert (await before, await asyncio.gather(*after)) == (1, [2, 2])


async def test_a_reader_that_leaves_ends_nobody_elses_read(boards: dict[Topic, Board]) -> None:
    board, source = boards[FEED], Source()
    leaves, stays = [asyncio.create_task(board.read(7, source)) for _ in range(2)]
    await until_it_stands()
    leaves.cancel()
    await asyncio.wait([leaves])
    assert leaves.cancelled()
    source.go.set()
    assert await stays == 1
    assert source.reads == 1


async def test_what_a_read_raises_all_hear_and_nobody_need(boards: dict[Topic, Board]) -> None:
    """Also where everybody has left meanwhile: then nothing complains of an exception that nobody fetched."""
    board, go = boards[FEED], asyncio.Event()

    async def fails() -> int:
        await go.wait()
        raise LookupError

    readers = [asyncio.create_task(board.read(7, fails)) for _ in range(3)]
    await until_it_stands()
    go.set()
    assert [type(error) for error in await asyncio.gather(*readers, return_exceptions=True)] == [LookupError] * 3

    go.clear()
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    left = asyncio.create_task(board.read(7, fails))
    await until_it_stands()
    left.cancel()
    await asyncio.wait([left])
    go.set()
    await until_it_stands()
    assert board._reads == {}
    assert complaints == []
