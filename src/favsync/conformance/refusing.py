"""What becomes of a POST that is not right, or more than usual."""

from favsync.client import ClientError
from favsync.conformance.findings import Finding, differs, fails, ok
from favsync.conformance.probe import Probe, Records, Reply
from favsync.conformance.writing import put, stands
from favsync.core.record import ITEM_LENGTH_MAX
from favsync.core.timestamp import US_PER_MINUTE
from favsync.peering import BATCH

NO_DATE = "1 day ago"  # before any date as text, which is how some compare them: what is newer can delete it
_UNDELETABLE = ("a date that is a number", "no date", "no item")
_LENIENT, _WHOLE, _PARTLY, _NOTHING, _FAULT = "lenient", "whole", "partly", "nothing", "fault"


async def bad(probe: Probe) -> list[Finding]:
    """Each kind of bad input by itself: refused with 4xx, and without effect.

    Where a record is taken all the same, it is not sent those that nothing newer could delete: they would stay.
    """
    statuses: dict[str, int] = {}
    left_out = []
    for kind, body in _bad_bodies(probe).items():
        if kind in _UNDELETABLE and any(Reply(status).yes for status in statuses.values()):
            left_out.append(kind)
        else:
            statuses[kind] = (await probe.post(body)).status
    names = [f"bad-{number}" for number in range(len(statuses))]
    try:
        shown = await probe.shown(*names)
    except ClientError as error:
        return [fails("bad-input", f"after bad input its list cannot be read: {error}", ends=True)]
    stored = [kind for kind, one in zip(statuses, shown, strict=True) if one is not None]
    taken = [kind for kind, status in statuses.items() if Reply(status).yes and kind not in stored]
    faults = [kind for kind, status in statuses.items() if not Reply(status).yes and not Reply(status).no]
    said = []
    if stored:
        said.append(f"is stored: {', '.join(stored)}; such records of others are left out here, and counted")
    if taken:
        said.append(f"is answered with a yes and not stored: {', '.join(taken)}")
    if faults:
        said.append(
            f"is answered as a fault of the server: {', '.join(faults)}; that is tried again, by the whole link"
        )
    if left_out:
        said.append(f"is not tried then, since it could not be deleted: {', '.join(left_out)}")
    if said:
        return [differs("bad-input", "what is not valid " + "; ".join(said))]
    return [ok("bad-input", f"what is not valid is refused, and without effect, in {len(statuses)} kinds")]


def _bad_bodies(probe: Probe) -> dict[str, Records | bytes]:
    """By what is bad about them, in the order of the items `bad-0`, `bad-1`, and so on."""
    made = [probe.record(f"bad-{number}", probe.date_us(0)) for number in range(9)]
    return {
        "half a JSON": b'[{"item": "' + made[0]["item"].encode() + b'", "actionDate": "2017-05-02T10:45:12.798Z", "act',
        "an object that is no list": b'{"item": "' + made[1]["item"].encode() + b'"}',
        "another action": [made[2] | {"action": "UPDATE"}],
        "no action": [{name: value for name, value in made[3].items() if name != "action"}],
        "a 30th of February": [made[4] | {"actionDate": "2017-02-30T10:45:12.798Z"}],
        "a date that is none": [made[5] | {"actionDate": NO_DATE}],
        "a date that is a number": [made[6] | {"actionDate": 1493721912798}],
        "no date": [{name: value for name, value in made[7].items() if name != "actionDate"}],
        "no item": [{name: value for name, value in made[8].items() if name != "item"}],
    }


async def mixed(probe: Probe) -> list[Finding]:
    """One bad record among good ones, as it is, and with the preference that our POSTs have."""
    plain, lenient = await _mixed(probe, "mixed", lenient=False), await _mixed(probe, "mixed-lenient", lenient=True)
    if _NOTHING in (plain, lenient):
        said = "a list with one bad record is answered with a yes, and nothing is stored: good ones would be parked"
        return [fails("mixed", said)]
    if _FAULT in (plain, lenient):
        said = "a list with one bad record is answered as a fault of the server: the link would try it again and again"
        return [differs("mixed", said)]
    if _PARTLY in (plain, lenient):
        return [differs("mixed", "a list with one bad record is refused, and stored in part: the rest is sent again")]
    if plain == lenient == _LENIENT:
        return [ok("mixed", "of a list with one bad record the good ones are stored")]
    if lenient == _LENIENT:
        said = (
            "a list with one bad record is refused whole, and with `Prefer: handling=lenient` the good ones are stored"
        )
        return [ok("mixed", said)]
    return [ok("mixed", "a list with one bad record is refused whole: the bad one is found by halving")]


async def _mixed(probe: Probe, name: str, *, lenient: bool) -> str:
    good = [probe.record(f"{name}-{number}", probe.date_us(0)) for number in (1, 2)]
    wrong = probe.record(f"{name}-bad", probe.date_us(0)) | {"actionDate": NO_DATE}
    reply = await probe.post([good[0], wrong, good[1]], lenient=lenient)
    shown = await probe.shown(f"{name}-1", f"{name}-2")
    stored = sum(one is not None for one in shown)
    if reply.yes:
        return _LENIENT if stored == len(good) else _NOTHING
    if not reply.no:
        return _FAULT
    return _PARTLY if stored else _WHOLE


async def future(probe: Probe) -> list[Finding]:
    """A phone whose clock is fast: by an hour, after which whatever is kept of it troubles nobody."""
    ahead_us = (probe.now_us() // US_PER_MINUTE + 60) * US_PER_MINUTE
    reply = await probe.post([probe.record("future", ahead_us)])
    [shown] = await probe.shown("future")
    if shown is None:
        told = "" if reply.yes else f", with {reply.status}"
        return [ok("future", f"a date in the future is not stored{told}")]
    if shown.action_us == ahead_us:
        said = "a date in the future is stored: here it is refused, and counted, until its time has come"
        return [differs("future", said)]
    return [differs("future", "a date in the future becomes another: the same record wins again at each retry")]


async def unknown(probe: Probe) -> list[Finding]:
    """A member of a record that the protocol does not have."""
    reply = await probe.post([probe.record("unknown", probe.date_us(0), note="a member that it does not know")])
    [shown] = await probe.shown("unknown")
    if reply.yes and shown is not None:
        return [ok("unknown", "members of a record that it does not know are let pass")]
    said = (
        f"a record with a member that it does not know is answered {reply.status}, and not stored: favorites have none"
    )
    return [differs("unknown", said)]


async def names(probe: Probe) -> list[Finding]:
    """What an item may be called."""
    long = "long-".ljust(ITEM_LENGTH_MAX - len(probe.items), "x")
    tried = {"case": "both cases", "CASE": "both cases", long: "255 characters", "é ß 漢 &/?#": "other than ASCII"}
    refused = {what: True for name, what in tried.items() if not (await _named(probe, name)).yes}
    shown = zip(tried.values(), await probe.shown(*tried), strict=True)
    lost = {what: True for what, one in shown if one is None and what not in refused}
    if lost:
        said = f"items come back under another name, or not at all: {', '.join(lost)}; such records are parked"
        return [differs("names", said)]
    if refused:
        return [differs("names", f"some names of items are refused: {', '.join(refused)}; such records are parked")]
    return [ok("names", "names of items are kept as they are: any letter, both cases, 255 characters")]


async def _named(probe: Probe, name: str) -> Reply:
    return await probe.post([probe.record(name, probe.date_us(0))])


async def batches(probe: Probe) -> list[Finding]:
    """As many as one POST has by default; where that is too much, half of it, and again."""
    size, step = BATCH, 0
    while size:
        batch = [probe.record(f"batch-{number}", probe.date_us(step)) for number in range(size)]
        reply = await probe.post(batch)
        shown = await probe.shown(*(f"batch-{number}" for number in range(size)))
        if reply.yes and all(stands(one, probe, step, "ADD") for one in shown):
            break
        size, step = size // 2, step + 1
    if size == BATCH:
        return [ok("batch", f"{BATCH} records in one POST are stored")]
    if size == 0:
        await put(probe, "batch-0", step)
        return [fails("batch", "a list is not stored, although single records are")]
    return [differs("batch", f"of {BATCH} records in one POST not all are stored, of {size} they are", batch=size)]
