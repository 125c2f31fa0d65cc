"""All that is tried of a backend, in its order."""

from collections.abc import Awaitable, Callable, Sequence

from favsync.client import ClientError
from favsync.conformance import reading, refusing, writing
from favsync.conformance.cleaning import clean
from favsync.conformance.findings import Finding, Tell, fails
from favsync.conformance.probe import Probe

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
]
_WRITING: list[Step] = [
    ("post", writing.post),
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


async def examine(probe: Probe, tell: Tell, *, read_only: bool = False) -> None:
    """Tells each finding once it is made. What was written is deleted, also where this is cancelled.

    Raises nothing that the backend, or the way to it, is the reason for: that is a finding.
    """
    if await _steps(probe, _BEFORE, tell):
        return
    if not read_only:
        try:
            ended = await _steps(probe, _WRITING, tell)
        finally:
            for finding in await clean(probe):
                tell(finding)
        read_only = ended is not None and "direction" in ended.settings
    if read_only:
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
