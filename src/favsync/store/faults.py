"""What the driver raises, and what it means: a wrong statement stays as it is, a database that is away becomes ours."""

import contextlib
from collections.abc import Iterator

import asyncpg
import structlog

from favsync.core.errors import LockTimeout, OperatorError, Unavailable

_log = structlog.get_logger(__name__)

HELD = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
# What says that the server is away, going, or unable just now, and not that a statement is wrong.
AWAY = (
    OSError,  # with it ConnectionError and TimeoutError
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, a query that took too long
    asyncpg.InsufficientResourcesError,  # too many connections, disk full
    asyncpg.PostgresSystemError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby
    asyncpg.InternalClientError,
)
# What no waiting mends at the first connection; later, somebody is turning a password or restoring.
WRONG = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,
)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """No exception of the driver leaves the store where it means that the database is away or busy."""
    try:
        yield
    except HELD as error:
        raise LockTimeout from error
    except (*AWAY, *WRONG) as error:
        raise Unavailable from error
    except asyncpg.InterfaceError as error:
        # "connection is closed" and the like; what is wrong with an argument is also a ValueError, and a fault here.
        if isinstance(error, ValueError):
            raise
        raise Unavailable from error
    except OperatorError as error:  # a new connection met another schema, or another server, than was there before
        _log.error("the database is not usable any more", reason=error.detail)
        raise Unavailable(error.detail) from error
