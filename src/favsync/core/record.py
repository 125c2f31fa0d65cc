"""What is synchronised: one user's state of one item of one entity."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple, TypeVar

_T = TypeVar("_T", bound=tuple[Any, ...])

DEFAULT_TENANT = "main"
DEFAULT_NAMESPACE = "main"
SUBJECT_LENGTH_MAX = 255
ITEM_LENGTH_MAX = 255


class Action(StrEnum):
    """What a person did with an item."""

    ADD = "ADD"
    DELETE = "DELETE"


class Version(NamedTuple):
    """What decides who wins. Versions are totally ordered, as tuples are: by date, then DELETE, then digest.

    `action_us` in microseconds since the epoch; `digest` is the SHA-256 of the canonical fields, and empty for a
    DELETE and for an entity that declares none.
    """

    action_us: int
    deleted: bool
    digest: bytes = b""

    @property
    def action(self) -> Action:
        return Action.DELETE if self.deleted else Action.ADD


class Key(NamedTuple):
    """Which state: `user` and `entity` as `owner_key` and `entity_key` build them."""

    user: str
    entity: str
    item: str


class Record(NamedTuple):
    """A version of the state of `key`. `fields`: canonical JSON, None where there are none."""

    key: Key
    version: Version
    fields: bytes | None = None


def each(kind: type[_T], *columns: Iterable[Any]) -> Iterator[_T]:
    """`kind`, a NamedTuple, of what stands at each place of its columns.

    Its own constructor is Python, and takes twice as long.
    """
    return map(partial(tuple.__new__, kind), zip(*columns))  # noqa: B905 -- some columns repeat for ever


def owner_key(subject: str, *, tenant: str = DEFAULT_TENANT, namespace: str = DEFAULT_NAMESPACE) -> str:
    """The stored `user_id`. Two tenants, or two issuers (namespaces), may both have a user 1001.

    Never shown on the wire. Unambiguous, because neither tenant nor namespace holds a slash.
    """
    return f"{tenant}/{namespace}/{subject}"


class Owner(NamedTuple):
    """Whose a `user_id` is. `namespace` and `subject`: None for a set that the whole tenant shares."""

    tenant: str
    namespace: str | None
    subject: str | None


def owner_of(key: str) -> Owner:
    """The parts of an `owner_key`, or of a `shared_owner`."""
    tenant, namespace, subject = key.split("/", 2)
    return Owner(tenant, namespace, subject) if namespace else Owner(tenant, None, None)


def shared_owner(entity: str, *, tenant: str = DEFAULT_TENANT) -> str:
    """The `user_id` of a set that a whole tenant shares. No token yields it: a namespace is never empty."""
    return f"{tenant}//{entity}"


def entity_key(entity: str, *, tenant: str = DEFAULT_TENANT) -> str:
    """The stored `entity`: a feed is one tenant's."""
    return f"{tenant}/{entity}"


def entity_name(key: str) -> str:
    """The entity of an `entity_key`."""
    return key.partition("/")[2]
