"""When the same request is sent again."""

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import stamina

from favsync.client.errors import Busy, ClientError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and for how long, one request is tried where another attempt may help.

    Between two attempts: a time that doubles from `wait_initial_s` to `wait_max_s`, and a random part; or what
    Retry-After says, where that is no more than `retry_after_max_s` and than what is left of `total_s`. If it is more,
    there is no further attempt.
    """

    attempts: int = 6
    total_s: float = 60.0
    wait_initial_s: float = 0.25
    wait_max_s: float = 10.0
    retry_after_max_s: float = 60.0


async def tried(step: Callable[[], Awaitable[_T]], policy: Retry | None, wait_s: float = 0.0) -> _T:
    """What the step gives at last; what it raises at last. With None there is one attempt.

    `wait_s`: for how long each attempt may be held back on purpose, which does not count.
    """
    if policy is None:
        return await step()
    total_s = policy.total_s + policy.attempts * wait_s
    ends_at = time.monotonic() + total_s

    def pause_s(error: Exception) -> bool | float:
        if not isinstance(error, ClientError) or not error.retryable:
            return False
        if not isinstance(error, Busy) or error.retry_after_s is None:
            return True
        wait_s = error.retry_after_s + random.uniform(0, policy.wait_initial_s)  # noqa: S311 -- no secret
        return wait_s if wait_s <= min(policy.retry_after_max_s, ends_at - time.monotonic()) else False

    async for attempt in stamina.retry_context(
        on=pause_s,
        attempts=policy.attempts,
        timeout=total_s,
        wait_initial=policy.wait_initial_s,
        wait_max=policy.wait_max_s,
        wait_jitter=policy.wait_initial_s,
    ):
        with attempt:
            return await step()
    raise AssertionError("the last attempt returns or raises")
