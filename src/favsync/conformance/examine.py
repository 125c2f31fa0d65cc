"""All that is tried of a backend, in its order."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from favsync.client import ClientError
from favsync.conformance import reading, refusing, writing
from favsync.conformance.cleaning import cleaned, was_stopped
from favsync.conformance.findings import Finding, Tell, differs, fails
from favsync.conformance.probe import Probe

WITHIN_S = 900.0  # for what is tried, and once more for the deletions: with any backend it ends

Step = tuple[str, Callable[[Probe], Awaitable[list[Finding]]]]

_BEFORE: list[Step] = [
    ("get", reading.get),
    ("address", reading.address),
    ("token", reading.token),
    ("records", reading.records),
]
_READ_ONLY: list[Step] = [
    ("dates", reading.dates),
    ("precision", reading.seen_precision),
    ("tombstones", reading.seen_tombstones),
    ("etag", reading.etag),
    ("accounts", reading.seen_accounts),
]
_WRITING: list[Step] = [
    ("post", writing.post),
    ("accounts", reading.accounts),
    ("post-token", reading.write_token),
    ("dates", reading.dates),
    ("precision", writing.precision),
    ("etag", reading.etag),
    ("etag-changes", writing.stale_tag),
    ("newer", writing.newer),
    ("older", writing.older),
    ("ties", writing.ties),
    ("repeat", writing.repeat),
    ("names", refusing.names),
    ("unknown", refusing.unknown),
    ("future", refusing.future),
    ("batch", refusing.batches),
    ("mixed", refusing.mixed),
    ("bad-input", refusing.bad),
]


async def examine(probe: Probe, tell: Tell, *, read_only: bool = False, within_s: float = WITHIN_S) -> None:
    """Tells each finding once it is made. What was written is deleted, also where this is cancelled, or takes too long.

    Cancelled again, it leaves what it could not delete, and tells that. Raises nothing that the backend, or the way to
    it, is the reason for: that is a finding.
    """
    stopped = False
    try:
        async with asyncio.timeout(within_s):
            await _all(probe, tell, read_only=read_only)
    except TimeoutError:
        tell(fails("time", f"it took more than {within_s / 60:.0f} minutes: nothing more was tried"))
    except asyncio.CancelledError:
        stopped = True
        tell(was_stopped(probe))
        raise
    finally:
        if probe.written:
            await cleaned(probe, tell, within_s=within_s, stopped=stopped)


async def _all(probe: Probe, tell: Tell, *, read_only: bool) -> None:
    if await _steps(probe, _BEFORE, tell):
        return
    if read_only:
        tell(differs("post", "not tried, as you wanted it", direction="pull"))
        await _steps(probe, _READ_ONLY, tell)
        return
    ended = await _steps(probe, _WRITING, tell)
    if ended is not None and "direction" in ended.settings:
        await _steps(probe, _READ_ONLY, tell)


async def _steps(probe: Probe, steps: Sequence[Step], tell: Tell) -> Finding | None:
    """What ended it; None where all could be tried."""
    for name, step in steps:
        try:
            found = await step(probe)
        except ClientError as error:
            found = [fails(name, f"{error}: nothing more was tried", ends=True)]
        for finding in found:
            tell(finding)
            if finding.ends:
                return finding
    return None
