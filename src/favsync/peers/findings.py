"""What a cycle leaves behind: how it ended, for the next one, and for whoever asks how the link does."""

import random

from favsync.core import timestamp
from favsync.peering import Peer
from favsync.peers import memory
from favsync.peers.cycle import Counts, Done
from favsync.peers.patience import backoff_s
from favsync.store.links import Claim, Found

HURRIED_S = 0.5  # from a change here to the cycle that takes it there: others may come meanwhile
SPREAD = 0.1  # of an interval, at random: links that were made together drift apart
KEYLESS_S = 60.0  # until a link is looked at again that no key of the settings opens


async def ended_well(peer: Peer, claimed: Claim, done: Done, now_us: int) -> Found:
    wait_s = peer.interval_s * random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311 -- see SPREAD
    if done.counts is None:  # no list was seen, and what is remembered is what was
        counts, remembered = claimed.state.get("counts"), claimed.memory
    else:
        counts, remembered = _shown(done.counts), await memory.keep(done.memory, peer)
    state = {"lastSync": _rendered(now_us), "counts": counts, "lastError": None}
    return Found(remembered, memory.tagged(peer, done.etag), done.seq, 0, state, False, wait_s, HURRIED_S)  # noqa: FBT003 -- a column


def failed(claimed: Claim, what: str, now_us: int, *, least_s: float = 0.0) -> Found:
    """Nothing is remembered but that it failed. `least_s`: when the peer wants to be asked again."""
    failures = claimed.failures + 1
    return _left(claimed, _error(what, now_us), failures, needs_login=False, wait_s=max(least_s, backoff_s(failures)))


def stopped(claimed: Claim, what: str, now_us: int) -> Found:
    """No more cycles until there are new credentials."""
    return _left(claimed, _error(what, now_us), 0, needs_login=True, wait_s=0.0)


def keyless(claimed: Claim, now_us: int) -> Found:
    """An operator has to mend that, and no user: with the right keys it goes on as it was."""
    what = "the token of this link cannot be opened: the key that sealed it is not among link_keys"
    return _left(claimed, _error(what, now_us), claimed.failures + 1, needs_login=False, wait_s=KEYLESS_S)


def _left(claimed: Claim, error: dict[str, str], failures: int, *, needs_login: bool, wait_s: float) -> Found:
    state = {**claimed.state, "lastError": error}
    return Found(claimed.memory, claimed.etag, claimed.seq, failures, state, needs_login, wait_s, wait_s)


def _error(what: str, now_us: int) -> dict[str, str]:
    return {"at": _rendered(now_us), "detail": what}


def _rendered(now_us: int) -> str:
    return timestamp.render(now_us // timestamp.US_PER_MS * timestamp.US_PER_MS)


def _shown(counts: Counts) -> dict[str, int]:
    return {
        "received": counts.received, "refused": counts.refused, "future": counts.future,
        "beyondLimit": counts.beyond_limit, "learnt": counts.learnt, "sent": counts.sent,
        "parked": counts.parked, "heldBack": counts.held_back,
    }  # fmt: skip
