"""What a POST does: whether it arrives, how exact its date stays, which of two versions stands."""

import asyncio
import time
from http import HTTPStatus

from favsync.client import BadAnswer
from favsync.conformance.findings import Finding, Mark, differs, fails, ok
from favsync.conformance.probe import SHOWN_WITHIN_S, Probe, Reply, Shown
from favsync.core.timestamp import US_PER_MINUTE, US_PER_MS, US_PER_S

_POLL_S = 0.25
_ABSENT = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_FINE_US = 765_678  # of a second: cut off and rounded it comes to different dates, in any unit
_SECONDS_US = 12 * US_PER_S
_QUARTER_US = 15 * US_PER_MINUTE  # every zone is a multiple of it away from GMT

_NO_FRACTION = "a date with a fraction of a second is refused, be it .000: nothing would arrive"


class WriteRefused(BadAnswer):
    """A record as good as those that were taken before."""


async def put(probe: Probe, name: str, step: int, action: str = "ADD", *, newer: bool = True) -> None:
    """One good record; WriteRefused where that is not taken. `newer`: false where 409 is as good an answer."""
    reply = await probe.post([probe.record(name, probe.date_us(step), action)])
    if not reply.yes and (newer or reply.status != HTTPStatus.CONFLICT):
        raise WriteRefused(f"a good record, {action}, was answered {reply.status}")


async def post(probe: Probe) -> list[Finding]:
    """One record, and whether it comes to be in the list."""
    sent_us = probe.date_us(0)
    reply = await probe.post([probe.record("add", sent_us)])
    if not reply.yes:
        return [await _no_post(probe, reply)]
    began = time.monotonic()
    [shown] = await probe.shown("add")
    while shown is None and time.monotonic() < began + SHOWN_WITHIN_S:
        await asyncio.sleep(_POLL_S)
        probe.lag_s = time.monotonic() - began
        [shown] = await probe.shown("add", pause=False)
    found = [ok("post", f"POST is answered {reply.status}")]
    if shown is None:
        said = f"what was written is not in the list after {SHOWN_WITHIN_S:.0f} s: it would be offered in vain"
        return [*found, fails("read-back", said, ends=True)]
    if shown.action != "ADD" or shown.action_us is None:
        said = "what was written comes back with another action, or without a date"
        return [*found, fails("read-back", said, ends=True)]
    if probe.lag_s:
        said = f"what was written is in the list after {probe.lag_s:.1f} s only: it may be sent more than once"
        return [*found, differs("read-back", said)]
    return [*found, ok("read-back", "what was written is in the list")]


async def _no_post(probe: Probe, reply: Reply) -> Finding:
    if reply.status in _ABSENT or reply.status in _DENIED:
        why = "is not there" if reply.status in _ABSENT else "is not allowed to this token"
        said = f"POST is answered {reply.status}: it {why}, and the peer can only be read"
        return differs("post", said, ends=True, direction="pull")
    record = probe.record("add", probe.date_us(0))
    if reply.no and (await probe.post([record | {"actionDate": record["actionDate"].replace(".000Z", "Z")}])).yes:
        return fails("precision", _NO_FRACTION, ends=True)
    said = f"POST of one good record is answered {reply.status}; if it takes only items that it knows: --item"
    return fails("post", said, ends=True)


async def precision(probe: Probe) -> list[Finding]:
    """What is left of a date that has microseconds; and whether it is the same moment at all."""
    sent_us = probe.date_us(0) + _SECONDS_US + _FINE_US
    for unit_us in (1, US_PER_MS, US_PER_S):
        sent_us = sent_us // unit_us * unit_us
        if (await probe.post([probe.record("precise", sent_us)])).yes:
            break
    else:
        raise WriteRefused("a good record, 12 seconds later than one that was taken, was refused")
    [shown] = await probe.shown("precise")
    if shown is None or shown.action_us is None:
        return [fails("precision", "a record with a fraction of a second in its date is not shown with a date")]
    moved = _moved(probe, shown.action_us, sent_us)
    return [moved] if moved else _kept(shown.action_us - sent_us, unit_us)


def _moved(probe: Probe, shown_us: int, sent_us: int) -> Finding | None:
    """Of a date that comes back as another moment."""
    off_us = shown_us - sent_us
    if abs(off_us) < US_PER_S:
        return None
    if abs(shown_us - probe.now_us()) < 5 * US_PER_MINUTE:
        said = "the date comes back as the time of writing, and not of the action: whoever syncs last would win"
    elif abs(off_us - round(off_us / _QUARTER_US) * _QUARTER_US) < US_PER_S:
        said = f"the date comes back {off_us / (60 * US_PER_MINUTE):+.2f} hours later: dates are not kept in GMT"
    elif abs(off_us) < US_PER_MINUTE:
        said = "the date comes back without its seconds: of two actions in one minute none would win"
    else:
        said = "the date comes back as another: none would ever be equal"
    return fails("precision", said, ends=True)


def _kept(off_us: int, taken_us: int) -> list[Finding]:
    """`off_us`: shown less sent. `taken_us`: the unit that it was sent in."""
    if off_us == 0 and taken_us == 1:
        return [ok("precision", "dates keep their microseconds", precision="us")]
    if off_us == 0 and taken_us == US_PER_MS:
        return [ok("precision", "a date with microseconds is refused: it is sent milliseconds", precision="ms")]
    if off_us == 0:
        said = "a date with milliseconds is refused: it is sent whole seconds"
        return [differs("precision", said, precision="s")]
    finer_us = _FINE_US // taken_us * taken_us
    for unit_us, name, unit in ((US_PER_MS, "milliseconds", "ms"), (US_PER_S, "seconds", "s")):
        cut_us = -(finer_us % unit_us)
        if off_us == cut_us:
            mark = Mark.OK if unit_us == US_PER_MS else Mark.DIFFERS
            return [Finding("precision", mark, f"dates are cut off to {name}", {"precision": unit})]
        if off_us == cut_us + unit_us:
            said = f"dates are rounded up to {name}: the peer's becomes ours then, once"
            return [differs("precision", said, precision=unit)]
    return [fails("precision", f"the date comes back {off_us} µs later: none would ever be equal", ends=True)]


async def stale_tag(probe: Probe) -> list[Finding]:
    """A tag must not outlive a change."""
    tag = probe.tag_of(await probe.get())
    if tag is None:
        return []
    await put(probe, "tag", 0)
    await probe.shown("tag")
    if (await probe.get(tag=tag)).status == HTTPStatus.NOT_MODIFIED:
        return [fails("etag-changes", "304 although something was written: changes would not be seen")]
    return [ok("etag-changes", "another tag once something was written")]


def stands(shown: Shown | None, probe: Probe, step: int, action: str) -> bool:
    """Whether it is there with that date and action, as far as its unit goes."""
    date_us = probe.date_us(step)
    return shown is not None and shown.action == action and abs((shown.action_us or 0) - date_us) <= US_PER_S


def gone(shown: Shown | None) -> bool:
    return shown is None or shown.action == "DELETE"


async def newer(probe: Probe) -> list[Finding]:
    """ADD, a newer DELETE, a newer ADD."""
    await put(probe, "newer", 0)
    await put(probe, "newer", 1, "DELETE")
    [deleted] = await probe.shown("newer")
    if not gone(deleted):
        return [fails("tombstones", "a newer DELETE changes nothing: deletions would not arrive")]
    probe.tombstones = deleted is not None
    if deleted is None:
        said = "what was deleted vanishes from the list: an old ADD can bring it back there"
        found = [differs("tombstones", said, absence="delete")]
    elif stands(deleted, probe, 1, "DELETE"):
        found = [ok("tombstones", "what was deleted stays in the list as DELETE, with its date")]
    else:
        found = [fails("tombstones", "a DELETE comes back with another date than its own")]
    await put(probe, "newer", 2)
    [added] = await probe.shown("newer")
    if not stands(added, probe, 2, "ADD"):
        return [*found, fails("newer", "a newer ADD does not replace a DELETE")]
    await put(probe, "newer", 3)
    [again] = await probe.shown("newer")
    if not stands(again, probe, 3, "ADD"):
        said = "a newer ADD leaves the older date: it would be offered in vain, and an old DELETE could win"
        return [*found, fails("newer", said)]
    return [*found, ok("newer", "the newer of two actions stands")]


async def older(probe: Probe) -> list[Finding]:
    """A DELETE older than an ADD, an ADD older than a DELETE."""
    await put(probe, "older-delete", 2)
    await put(probe, "older-delete", 0, "DELETE", newer=False)
    await put(probe, "older-add", 2, "DELETE")
    await put(probe, "older-add", 0, newer=False)
    kept, away = await probe.shown("older-delete", "older-add")
    if not stands(kept, probe, 2, "ADD"):
        return [fails("older", "an older action replaces a newer: a phone that was offline undoes what came since")]
    if gone(away):
        return [ok("older", "an older action changes nothing")]
    if not probe.tombstones:
        said = "an older ADD brings back what was deleted: it keeps no deletions to compare it with"
        return [differs("older", said, absence="delete")]
    return [fails("older", "an older ADD brings back what was deleted")]


async def ties(probe: Probe) -> list[Finding]:
    """Both orders of ADD and DELETE on one instant."""
    for name, first, then in (("tie-delete", "ADD", "DELETE"), ("tie-add", "DELETE", "ADD")):
        await put(probe, name, 0, first)
        await put(probe, name, 0, then, newer=False)
    deleted, added = map(gone, await probe.shown("tie-delete", "tie-add"))
    restamped = "where ours has to win it gets a date one step later, once"
    if deleted and (added or not probe.tombstones):
        return [ok("ties", "of two actions on one instant DELETE stands, as here")]
    if deleted:
        return [differs("ties", "of two actions on one instant the last to arrive stands: it is sent ours, once")]
    if added or not probe.tombstones:
        return [differs("ties", f"of two actions on one instant the first stands: {restamped}")]
    return [differs("ties", f"of two actions on one instant ADD stands: {restamped}")]


async def repeat(probe: Probe) -> list[Finding]:
    """What a retry does, whose first answer was lost."""
    await put(probe, "repeat", 0)
    [before] = await probe.shown("repeat")
    reply = await probe.post([probe.record("repeat", probe.date_us(0))])
    [after] = await probe.shown("repeat")
    if after is not None and after.copies > 1:
        return [fails("repeat", "the same record again makes a second of it: each retry adds one")]
    if after != before:
        return [fails("repeat", "the same record again changes what stands")]
    if not reply.yes:
        said = f"the same record again is answered {reply.status}: a retry looks like a failure, until the next look"
        return [differs("repeat", said)]
    return [ok("repeat", "the same record again changes nothing, so that it may be retried")]
