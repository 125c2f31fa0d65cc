"""In the end: what was written is deleted."""

import asyncio
from collections.abc import Mapping

from favsync.client import ClientError
from favsync.conformance.findings import Finding, Tell, differs, fails, ok
from favsync.conformance.probe import PATIENCE_S, STEP_US, Json, Probe, instant
from favsync.core import timestamp

BATCH = 10


async def cleaned(probe: Probe, tell: Tell, *, within_s: float, stopped: bool) -> None:
    """Tells what is left. `stopped`: whether this is already about to end by being cancelled.

    Cancelled for the first time, it is so once the work is done; for the second time, at once.
    """
    cleaning = asyncio.create_task(_clean_within(probe, within_s))
    again = stopped
    while not cleaning.done():
        try:
            await asyncio.wait([cleaning])
        except asyncio.CancelledError:
            if again and not cleaning.done():
                cleaning.cancel()
                tell(_undone(probe, "stopped"))
                raise
            again = True
            tell(was_stopped(probe))
    tell(cleaning.result())
    if again and not stopped:
        raise asyncio.CancelledError


def was_stopped(probe: Probe) -> Finding:
    more = "; what was written is being deleted: stopped again, it is left" if probe.written else ""
    return fails("stopped", f"it was stopped, and nothing more is tried{more}")


async def _clean_within(probe: Probe, within_s: float) -> Finding:
    try:
        async with asyncio.timeout(within_s):
            return await clean(probe)
    except TimeoutError:
        return _undone(probe, "it took too long")


def _undone(probe: Probe, why: str) -> Finding:
    return differs(
        "left", f"what was written may not be deleted, not all of it: {why}; its items begin with {probe.items}"
    )


async def clean(probe: Probe) -> Finding:
    """A DELETE of each of our items that stands there, newer than it is; and what is left all the same.

    Raises nothing of HTTP.
    """
    probe.patience_s = PATIENCE_S
    try:
        standing = [one for one in await _own(probe) if one.get("action") != "DELETE"]
        dates_us = {one["item"]: instant(one.get("actionDate")) or 0 for one in standing}
        shown = {item.casefold() for item in dates_us}
        items = sorted({*dates_us, *probe.unanswered, *(item for item in probe.written if item.casefold() in shown)})
    except ClientError:  # what it was sent is known all the same
        items, dates_us = list(probe.written), {}
    # Of what stands there, that is: a date that was sent may have been too far ahead to be kept, or taken again.
    latest_us = {item: dates_us.get(item) or probe.written.get(item, probe.date_us(0)) for item in items}
    try:
        await _delete(probe, latest_us)
        own = await _own(probe)
        # One that shows dates as earlier than it keeps them takes nothing for newer than what it was sent.
        again_us = {one["item"]: probe.written.get(one["item"], 0) for one in own if one.get("action") != "DELETE"}
        if late_us := {item: us for item, us in again_us.items() if us > latest_us.get(item, us)}:
            await _delete(probe, late_us)
            own = await _own(probe)
        left = [one.get("action") for one in own]
    except ClientError as error:
        return _undone(probe, str(error))
    deleted = left.count("DELETE")
    if alive := len(left) - deleted:
        return differs("left", f"{alive} items could not be deleted; they begin with {probe.items}")
    if deleted:
        return ok("left", f"nothing is left but {deleted} deletions, of items that begin with {probe.items}")
    return ok("left", "nothing is left of what was written")


async def _delete(probe: Probe, latest_us: Mapping[str, int]) -> None:
    """Later than these dates."""
    items = list(latest_us)
    for at in range(0, len(items), BATCH):
        part = [_deletion(item, latest_us[item]) for item in items[at : at + BATCH]]
        if not (await probe.post(part)).yes:  # one that it does not take must not keep the others
            for one in part:
                await _delete_alone(probe, one)


async def _delete_alone(probe: Probe, deletion: dict[str, str]) -> None:
    """Also where a date is to have no fraction of a second."""
    if not (await probe.post([deletion])).yes:
        await probe.post([deletion | {"actionDate": f"{deletion['actionDate'][:19]}Z"}])


def _deletion(item: str, date_us: int) -> dict[str, str]:
    return {"item": item, "actionDate": timestamp.render(date_us + STEP_US), "action": "DELETE"}


async def _own(probe: Probe) -> list[dict[str, Json]]:
    """Also where it keeps names in another case, or cut off."""
    await probe.shown()
    return [one for one in await probe.read() if probe.is_own(one)]
