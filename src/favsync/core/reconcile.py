"""What has to pass between a peer's list and ours so that both end equal, and then nothing does.

A peer may do less than the law: cut dates off, keep no tombstones, refuse what is not newer, or ignore what it is sent.
So versions are compared by the law as the peer sees them, with their dates cut off as it does. All here is by item, of
one user and entity; a version is as it was received.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from favsync.core.record import Version

OFFERS_MAX = 3  # of one version that a peer accepts, and then does not show


class Absence(StrEnum):
    """What it means that an item is gone from a peer's list: nothing, or that it was deleted there."""

    KEEP = "keep"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is known of a peer. `precision_us`: of its dates. `max_delete_percent`: of its last list, at a time."""

    precision_us: int = 1000
    absence: Absence = Absence.KEEP
    max_delete_percent: float = 50.0

    def seen(self, version: Version) -> Version:
        """As the peer sees it: for comparing with others of these."""
        return version._replace(action_us=version.action_us // self.precision_us)

    def tied(self, one: Version, other: Version) -> bool:
        """Of one date, as far as the peer can tell."""
        return self.seen(one).action_us == self.seen(other).action_us

    def after(self, *versions: Version) -> int:
        """The first date, in microseconds, that the peer takes for later than all of these."""
        latest = max(self.seen(version).action_us for version in versions)
        return (latest + 1) * self.precision_us


class Offer(NamedTuple):
    """A version that the peer was sent, and how often. `restamped`: it is what became of one that had tied."""

    version: Version
    times: int
    restamped: bool = False

    @property
    def parked(self) -> bool:
        """It is not sent again."""
        return self.times >= OFFERS_MAX


@dataclass(frozen=True, slots=True)
class Listed:
    """A peer's list, whole. `unclear`: items of which it holds something that cannot be read.

    `whole` is false where it cannot be said of which items that is: then nothing is taken for absent.
    """

    versions: Mapping[str, Version]
    unclear: AbstractSet[str] = frozenset()
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Memory:
    """What a link remembers. `shadow`: the peer's last list, and what was gone from it and is left alone here.

    `offers`: what was sent to the peer, and is not known to have been taken.
    """

    shadow: Mapping[str, Version] = field(default_factory=dict)
    offers: Mapping[str, Offer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sent:
    """Items of which the peer was sent our version, and what it said. `refused`: each by itself."""

    accepted: AbstractSet[str] = frozenset()
    refused: AbstractSet[str] = frozenset()
    restamped: AbstractSet[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is to be written here, and wins here. `theirs`: what the peer has. `gone`: deletions by absence.

    `restamped`: what ties with the peer's, one step later. `held_back`: deletions that would be too many.
    """

    theirs: Mapping[str, Version]
    gone: Mapping[str, Version]
    restamped: Mapping[str, Version]
    held_back: int = 0


def learn(ours: Mapping[str, Version], listed: Listed, memory: Memory, rules: Rules) -> Lesson:
    """What the peer's list says that we do not know yet."""
    theirs: dict[str, Version] = {}
    restamped = outbid(ours, listed, memory, rules)
    for item, their in listed.versions.items():
        our = ours.get(item)
        if our is None:
            theirs[item] = their
        elif rules.seen(their) > rules.seen(our) and item not in restamped:
            # Where ours is later by less than the peer tells apart, theirs counts as of the same instant.
            theirs[item] = their if their > our else their._replace(action_us=our.action_us)
    gone = _gone(ours, listed, memory, rules) if rules.absence is Absence.DELETE else {}
    present = sum(not version.deleted for version in memory.shadow.values())
    if len(gone) * 100 > present * rules.max_delete_percent:
        return Lesson(theirs, {}, restamped, held_back=len(gone))
    return Lesson(theirs, gone, restamped)


def outbid(ours: Mapping[str, Version], listed: Listed, memory: Memory, rules: Rules) -> dict[str, Version]:
    """What the peer has been sent, and ties with what it has: it takes only what is newer, so that is made of it.

    That is tried once: else two such peers would outbid each other.
    """
    found = {}
    for item, offer in memory.offers.items():
        our, their = ours.get(item), listed.versions.get(item)
        if our is None or their is None or offer.version != our or offer.restamped:
            continue
        if rules.seen(our) > rules.seen(their) and rules.tied(our, their):
            found[item] = our._replace(action_us=rules.after(our))
    for item, their in listed.versions.items():
        our = ours.get(item)
        # Theirs is what it was, and ours is later by less than the peer tells apart: somebody has seen theirs since.
        if our and our > their and memory.shadow.get(item) == their and rules.seen(their) > rules.seen(our):
            found[item] = our._replace(action_us=rules.after(our))
    return found


def behind(ours: Mapping[str, Version], listed: Listed, memory: Memory, rules: Rules) -> list[str]:
    """The items of which the peer is to be sent our version: where it is behind, unless it was sent that in vain."""
    found = []
    for item, our in ours.items():
        offer = memory.offers.get(item)
        if _lacks(item, our, listed, memory, rules) and not (offer and offer.version == our and offer.parked):
            found.append(item)
    return found


def remember(ours: Mapping[str, Version], listed: Listed, memory: Memory, rules: Rules, sent: Sent) -> Memory:
    """What is to be known in the next cycle."""
    shadow = dict(listed.versions)
    for item, known in memory.shadow.items():
        if item in shadow:
            continue
        unsure = item in listed.unclear or not listed.whole
        if unsure or _left_alone(ours.get(item), known, rules):
            shadow[item] = known
    offers: dict[str, Offer] = {}
    for item, our in ours.items():
        before = memory.offers.get(item)
        same = before is not None and before.version == our
        times, again = (before.times, before.restamped) if before is not None and same else (0, False)
        if item in sent.refused:
            offers[item] = Offer(our, OFFERS_MAX, again or item in sent.restamped)
        elif item in sent.accepted:
            offers[item] = Offer(our, times + 1, again or item in sent.restamped)
        elif before is not None and same and _lacks(item, our, listed, memory, rules):
            offers[item] = before
    return Memory(shadow, offers)


def _lacks(item: str, our: Version, listed: Listed, memory: Memory, rules: Rules) -> bool:
    """Whether the peer is behind in this item."""
    if item in listed.unclear:
        return False
    their = listed.versions.get(item)
    if their is not None:
        return rules.seen(our) > rules.seen(their)
    known = memory.shadow.get(item)
    return not our.deleted and not (known and not known.deleted and _left_alone(our, known, rules))


def _left_alone(our: Version | None, known: Version, rules: Rules) -> bool:
    """Of an item that is gone from the peer's list, where it was `known`: ours is not to bring it back there."""
    if our is None or our.deleted or known.deleted:
        return False
    return rules.seen(our) <= rules.seen(known)


def _gone(ours: Mapping[str, Version], listed: Listed, memory: Memory, rules: Rules) -> dict[str, Version]:
    """Deletions: of what was in the peer's last list, is not in this one, and did not change here since."""
    if not listed.whole:
        return {}
    gone = {}
    for item, known in memory.shadow.items():
        our = ours.get(item)
        if item in listed.versions or item in listed.unclear or our is None:
            continue
        if _left_alone(our, known, rules):
            gone[item] = Version(rules.after(our, known), deleted=True)
    return gone
