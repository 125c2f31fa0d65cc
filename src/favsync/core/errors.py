"""Every error of ours, in one tree.

    FavsyncError
    ├── RequestError                what a caller sent; `http/problems.py` gives each a status
    │   ├── MalformedRequest        not readable at all
    │   ├── InvalidRecords          readable, and wrong in the named places
    │   ├── Unauthenticated         no token, or one that proves nothing
    │   ├── InsufficientScope       a token that proves who, and does not allow this
    │   ├── NotThere                nothing of that name, or nothing yet
    │   ├── CursorExpired           a cursor that this feed cannot continue from
    │   ├── RequestTimeout          a body that does not come
    │   ├── BodyTooLarge
    │   ├── UnsupportedMediaType
    │   └── TooManyRequests         more than a user, or an address, may send
    ├── Unavailable                 the database is away or busy: nothing was acknowledged, try again
    │   ├── LockTimeout             another transaction holds the rows
    │   ├── Overloaded              too much waits already
    │   └── IssuerUnavailable       whoever must say what a token is worth does not answer
    └── OperatorError               what whoever runs the service has to mend: said in one sentence, exit 1
        ├── SettingsError
        ├── MigrationError
        ├── EmbeddedError           the PostgreSQL that the service runs itself
        │   └── DataDirInUse        another process has its data directory
        ├── BackupError             a backup that cannot be made, or cannot be put back
        └── DatabaseError           a database that a command cannot do its work in

The docstring of a class is its default message.
"""

from dataclasses import dataclass


class FavsyncError(Exception):
    """Something went wrong."""

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or str(type(self).__doc__)
        super().__init__(self.detail)


class RequestError(FavsyncError):
    """The request cannot be answered as it was sent."""


class MalformedRequest(RequestError):
    """The request cannot be read."""


FAULTS_MAX = 20  # of one record, and of a body as a whole: it takes two bytes to make another


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: `index` of the record (None: the body itself), RFC 6901 `pointer`, a sentence."""

    index: int | None
    pointer: str
    detail: str


class InvalidRecords(RequestError):
    """Nothing was stored, because some of it is not valid."""

    def __init__(self, faults: list[Fault], detail: str | None = None) -> None:
        self.faults = faults
        super().__init__(detail)


class Unauthenticated(RequestError):
    """A bearer token is needed."""

    def __init__(self, detail: str | None = None, *, token_sent: bool = False) -> None:
        self.token_sent = token_sent
        super().__init__(detail)


class InsufficientScope(RequestError):
    """The token does not allow this."""

    def __init__(self, scope: str = "", detail: str | None = None) -> None:
        self.scope = scope
        super().__init__(detail)


class NotThere(RequestError):
    """There is no such thing."""


class CursorExpired(RequestError):
    """The cursor is not one to continue from: read everything, without `after`, and go on from its Sync-Cursor."""


class RequestTimeout(RequestError):
    """The body did not come in time."""


class BodyTooLarge(RequestError):
    """The body is too large."""


class UnsupportedMediaType(RequestError):
    """The body must be application/json in UTF-8."""


class TooManyRequests(RequestError):
    """Too many requests: wait as long as Retry-After says."""

    def __init__(self, retry_after_s: int = 1) -> None:
        self.retry_after_s = retry_after_s
        super().__init__()


class Unavailable(FavsyncError):
    """The database cannot be reached just now. Nothing was acknowledged; send the same request again."""

    retry_after_s = 1


class LockTimeout(Unavailable):
    """Another transaction holds these records. Nothing was acknowledged; send the same request again."""


class Overloaded(Unavailable):
    """Too much waits already. Nothing was acknowledged; send the same request again."""


class IssuerUnavailable(Unavailable):
    """Who sent this cannot be told just now: the issuer of the token does not answer. Send the same request again."""


class OperatorError(FavsyncError):
    """The service cannot run as it is set up."""


class SettingsError(OperatorError):
    """A setting is wrong."""


class MigrationError(OperatorError):
    """The database's schema is not one this release can work on."""


class EmbeddedError(OperatorError):
    """The embedded PostgreSQL cannot run."""


class DataDirInUse(EmbeddedError):
    """The data directory is in use by another favsync."""


class BackupError(OperatorError):
    """The backup cannot be made, or cannot be put back."""


class DatabaseError(OperatorError):
    """The database cannot be worked on."""
