"""Peers of every kind, simulated: after random edits on both sides a few quiet cycles end equal, then in silence."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from favsync.core.merge import merge
from favsync.core.reconcile import Absence, Listed, Memory, Rules, Sent, behind, learn, remember
from favsync.core.record import Version

S, MS = 1_000_000, 1000
ITEMS = "abc"
QUIET = 12  # cycles, after which nothing may happen any more


@dataclass
class Peer:
    """A third party. `precision_us`: what it keeps of a date. What follows is how it departs from the law."""

    precision_us: int = MS
    tombstones: bool = True
    newer_only: bool = False
    ignores: bool = False
    overwrites: bool = False
    rounds_up: bool = False
    adds_only: bool = False
    has: dict[str, Version] = field(default_factory=dict)

    def listed(self) -> Listed:
        return Listed(dict(self.has))

    def post(self, item: str, version: Version) -> None:
        if not self.ignores:
            self.write(item, version)

    def write(self, item: str, version: Version) -> None:
        up = self.precision_us - 1 if self.rounds_up else 0
        kept = version._replace(action_us=(version.action_us + up) // self.precision_us * self.precision_us)
        stands = self.has.get(item)
        if stands and not self.overwrites:
            later = kept.action_us > stands.action_us if self.newer_only else kept > stands
            if not later:
                return
        if self.adds_only:
            kept = kept._replace(deleted=False)
        if kept.deleted and not self.tombstones:
            self.has.pop(item, None)
        else:
            self.has[item] = kept


class Link:
    """Our side, and the link between the two."""

    def __init__(self, peer: Peer, rules: Rules, *, reads_only: bool = False) -> None:
        self.peer, self.rules, self.reads_only = peer, rules, reads_only
        self.ours: dict[str, Version] = {}
        self.memory = Memory()
        self.posts = 0

    def push(self, versions: Mapping[str, Version]) -> int:
        """How many were news."""
        before = dict(self.ours)
        for item, version in versions.items():
            _, self.ours[item] = merge(self.ours.get(item), version)
        return sum(before.get(item) != version for item, version in self.ours.items())

    def cycle(self) -> int:
        """How many writes it took, on either side: where something was posted, the list is read once more."""
        before, learnt = self.posts, self.look(write=not self.reads_only)
        if self.posts > before:
            learnt += self.look(write=False)
        return self.posts - before + learnt

    def look(self, *, write: bool) -> int:
        """How much was learnt."""
        listed = self.peer.listed()
        lesson = learn(self.ours, listed, self.memory, self.rules)
        restamped = lesson.restamped if write else {}
        for item, version in lesson.theirs.items():
            assert item not in self.ours or version > self.ours[item], "a lesson wins here"
        learnt = self.push({**lesson.theirs, **lesson.gone, **restamped})
        items = behind(self.ours, listed, self.memory, self.rules) if write else []
        for item in items:
            self.peer.post(item, self.ours[item])
        self.posts += len(items)
        sent = Sent(accepted=frozenset(items), restamped=frozenset(restamped))
        self.memory = remember(self.ours, listed, self.memory, self.rules, sent)
        return learnt

    def settle(self) -> None:
        """Runs quiet cycles until nothing happens, and sees that nothing happens afterwards."""
        for _ in range(QUIET):
            if not self.cycle():
                break
        assert [self.cycle() for _ in range(20)] == [0] * 20, "it does not fall silent"


_dates = st.integers(0, 8).map(lambda n: 10 * S + n * 400 * MS + n)
_edits = st.tuples(st.sampled_from(["here", "there", "cycle"]), st.sampled_from(ITEMS), _dates, st.booleans())
histories = st.lists(_edits, max_size=14)


def _live(link: Link, kinds: list[tuple[str, str, int, bool]]) -> None:
    for what, item, date_us, deleted in kinds:
        version = Version(date_us, deleted)
        if what == "here":
            link.push({item: version})
        elif what == "there":
            link.peer.write(item, version)
        else:
            link.cycle()
    link.settle()


def _same(link: Link) -> bool:
    seen = link.rules.seen
    ours = {item: seen(version) for item, version in link.ours.items() if not version.deleted}
    theirs = {item: seen(version) for item, version in link.peer.has.items() if not version.deleted}
    return ours == theirs


LAWFUL: dict[str, Callable[[], tuple[Peer, Rules]]] = {
    "the law, to the microsecond": lambda: (Peer(1), Rules(precision_us=1)),
    "milliseconds": lambda: (Peer(MS), Rules()),
    "seconds": lambda: (Peer(S), Rules(precision_us=S)),
    "seconds, rounded up": lambda: (Peer(S, rounds_up=True), Rules(precision_us=S)),
    "newer only": lambda: (Peer(MS, newer_only=True), Rules()),
    "newer only, seconds": lambda: (Peer(S, newer_only=True), Rules(precision_us=S)),
    "whatever comes last": lambda: (Peer(MS, overwrites=True), Rules()),
    "no tombstones": lambda: (Peer(MS, tombstones=False), Rules(absence=Absence.DELETE, max_delete_percent=100)),
    "no tombstones, seconds": lambda: (
        Peer(S, tombstones=False), Rules(precision_us=S, absence=Absence.DELETE, max_delete_percent=100)
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", LAWFUL)
@settings(max_examples=300)
@given(history=histories)
def test_both_sides_end_equal_and_fall_silent(kind: str, history: list[tuple[str, str, int, bool]]) -> None:
    link = Link(*LAWFUL[kind]())
    _live(link, history)
    assert _same(link)


ODD: dict[str, Callable[[], tuple[Peer, Rules]]] = {
    "it ignores what it is sent": lambda: (Peer(ignores=True), Rules()),
    "it is coarser than was said": lambda: (Peer(S), Rules()),
    "it keeps no tombstones, and absence says nothing": lambda: (Peer(tombstones=False), Rules()),
    "it takes a DELETE for an ADD": lambda: (Peer(adds_only=True), Rules()),
    "it ignores, and absence deletes": lambda: (Peer(ignores=True, tombstones=False), Rules(absence=Absence.DELETE)),
}


@pytest.mark.parametrize("kind", ODD)
@settings(max_examples=300)
@given(history=histories)
def test_one_that_cannot_be_brought_in_line_is_left_in_peace(
    kind: str, history: list[tuple[str, str, int, bool]]
) -> None:
    link = Link(*ODD[kind]())
    _live(link, history)


@settings(max_examples=300)
@given(history=histories)
def test_one_that_is_only_read_is_never_written(history: list[tuple[str, str, int, bool]]) -> None:
    link = Link(Peer(), Rules(), reads_only=True)
    _live(link, history)
    assert link.posts == 0
    for item, version in link.peer.has.items():
        assert link.ours[item] >= version


def _linked(precision_us: int, absence: Absence, dates_us: Mapping[str, int], percent: float = 100) -> Link:
    """A link to a peer without tombstones, which has all that we have."""
    rules = Rules(precision_us=precision_us, absence=absence, max_delete_percent=percent)
    link = Link(Peer(precision_us, tombstones=False), rules)
    link.push({item: Version(date_us, deleted=False) for item, date_us in dates_us.items()})
    link.settle()
    assert link.peer.has.keys() == dates_us.keys()
    return link


@pytest.mark.parametrize("precision_us", [1, MS, S])
def test_what_vanished_is_left_alone(precision_us: int) -> None:
    link = _linked(precision_us, Absence.KEEP, {"a": 10 * S + 400_001})
    del link.peer.has["a"]
    assert [link.cycle() for _ in range(5)] == [0] * 5
    assert (link.ours["a"].deleted, link.peer.has) == (False, {})
    newer = Version(11 * S + 400_001, deleted=False)
    link.push({"a": newer})
    link.settle()
    assert link.peer.has["a"] == Version(newer.action_us // precision_us * precision_us, deleted=False)


@pytest.mark.parametrize("precision_us", [1, MS, S])
def test_what_vanished_was_deleted_where_absence_says_so(precision_us: int) -> None:
    link = _linked(precision_us, Absence.DELETE, {"a": 10 * S + 400_001, "b": 10 * S})
    del link.peer.has["a"]
    link.settle()
    assert link.ours["a"].deleted
    assert link.ours["a"].action_us // precision_us == (10 * S + 400_001) // precision_us + 1
    assert not link.ours["b"].deleted
    assert link.peer.has.keys() == {"b"}


def test_what_was_done_here_a_moment_after_theirs_is_not_undone() -> None:
    link = Link(Peer(S), Rules(precision_us=S))
    link.push({"a": Version(9 * S, deleted=False)})
    link.settle()
    link.push({"a": Version(10 * S + 200 * MS, deleted=True)})
    link.settle()
    assert link.peer.has["a"].deleted
    link.push({"a": Version(10 * S + 700 * MS, deleted=False)})
    link.settle()
    assert not link.ours["a"].deleted
    assert link.peer.has["a"] == Version(11 * S, deleted=False)


def test_what_changed_here_since_is_not_deleted_by_absence() -> None:
    link = _linked(MS, Absence.DELETE, {"a": 10 * S})
    del link.peer.has["a"]
    link.push({"a": Version(11 * S, deleted=False)})
    link.settle()
    assert link.peer.has == {"a": Version(11 * S, deleted=False)}


def test_more_than_allowed_is_not_deleted_but_told() -> None:
    link = _linked(MS, Absence.DELETE, {"a": S, "b": S, "c": S}, percent=50)
    kept = dict(link.peer.has)
    link.peer.has.clear()
    assert learn(link.ours, link.peer.listed(), link.memory, link.rules).held_back == 3
    link.settle()
    assert not any(version.deleted for version in link.ours.values())
    link.peer.has = {"a": kept["a"], "b": kept["b"]}
    link.settle()
    assert [item for item, version in link.ours.items() if version.deleted] == ["c"]


@pytest.mark.parametrize("listed", [Listed({}, unclear={"a"}), Listed({}, whole=False)])
def test_what_cannot_be_read_is_not_absent(listed: Listed) -> None:
    link = _linked(MS, Absence.DELETE, {"a": S})
    assert learn(link.ours, listed, link.memory, link.rules).gone == {}
    assert remember(link.ours, listed, link.memory, link.rules, Sent()).shadow == link.memory.shadow
    newer = {"a": Version(2 * S, deleted=False)}
    assert behind(newer, listed, link.memory, link.rules) == ([] if listed.unclear else ["a"])


def test_what_was_refused_by_itself_waits_until_it_changes() -> None:
    ours, listed, rules = {"a": Version(S, deleted=False)}, Listed({}), Rules()
    memory = remember(ours, listed, Memory(), rules, Sent(refused=frozenset("a")))
    assert behind(ours, listed, memory, rules) == []
    assert behind({"a": Version(S + MS, deleted=False)}, listed, memory, rules) == ["a"]
    assert remember(ours, listed, memory, rules, Sent()).offers == memory.offers
