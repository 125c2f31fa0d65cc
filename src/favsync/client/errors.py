"""What may go wrong between a client and a service, in one tree.

    ClientError
    ├── Unsendable          a record that no service would take: nothing was sent (a ValueError, too)
    ├── ForbiddenAddress    a URL, or the address that it leads to, which the rules do not allow: nothing was sent
    ├── Unreachable         no connection, or none that lasted; no answer in time        again
    ├── BadAnswer           an answer that is not what the protocol says
    └── Refused             an answer of 4xx or 5xx
        ├── Unauthorized    401, 403
        ├── CursorGone      410: read anew, without `after`
        ├── Invalid         400, 413, 415, 422
        ├── Busy            429, 503                                                     again, after `retry_after_s`
        └── ServerFault     any other 5xx                                                again

"again": `retryable` is true, and the same request may be sent once more. That is safe for a POST too: what was stored
the first time is a duplicate the second time.

No message holds a token, nor what a service sent that may hold one.
"""

from http import HTTPStatus

from favsync.core.errors import Fault

# Refusals that are about the moment, and not about the request.
PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY)


class ClientError(Exception):
    """`retryable`: whether the very same, sent again, may succeed.

    `acknowledged`: of what `push` was given, how many of the first records had been acknowledged before this happened.
    """

    acknowledged: int = 0

    @property
    def retryable(self) -> bool:
        return False


class Unsendable(ClientError, ValueError):
    """A record is not valid; `fault` names its place. Nothing was sent, of the others neither."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(f"{fault.pointer}: {fault.detail}")


class ForbiddenAddress(ClientError):
    """The URL, or the address that its name stands for, is not one that requests may go to."""


class Unreachable(ClientError):
    """There was no answer, or half of one. What was sent may have been stored all the same."""

    @property
    def retryable(self) -> bool:
        return True


class BadAnswer(ClientError):
    """There was an answer, and it is not what the protocol says; the message says what it is instead."""


class Refused(ClientError):
    """`status` of the answer; `detail`, a sentence from its problem document, or None where it had none."""

    def __init__(self, status: int, detail: str | None = None) -> None:
        self.status = status
        self.detail = detail
        super().__init__(f"it answered {status}" + (f": {detail}" if detail else ""))

    @property
    def retryable(self) -> bool:
        return self.status in PASSING


class Unauthorized(Refused):
    """401: the token proves nothing (any more). 403: it does not allow this."""


class CursorGone(Refused):
    """The cursor has ended. Read everything without `after` and merge: nothing that you hold is wrong.

    Of a feed: what you hold, and do not meet again up to the first page whose `has_more` is false, was deleted.
    """


class Invalid(Refused):
    """What was sent is not valid, and nothing of it was stored.

    `faults`: the places, where the service names them; each `index`, and `pointer`, is that of the records `push` was
    given.
    """

    def __init__(self, status: int, detail: str | None = None, faults: tuple[Fault, ...] = ()) -> None:
        self.faults = faults
        super().__init__(status, detail)


class Busy(Refused):
    """Not now. `retry_after_s`: after how many seconds the service wants to be asked again; None: it does not say."""

    def __init__(self, status: int, detail: str | None = None, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(status, detail)

    @property
    def retryable(self) -> bool:
        return True


class ServerFault(Refused):
    """The service failed. What was sent may have been stored all the same."""

    @property
    def retryable(self) -> bool:
        return True
