"""What an entity is: whose its records are, what may stand in their `fields`, and under which paths it is reached."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import marshmallow
from marshmallow import fields


class Scope(StrEnum):
    """Whose records they are."""

    USER = "user"  # each user has a set of its own
    SHARED = "shared"  # one set of a tenant, which all of it may read


class Unknown(StrEnum):
    """What becomes of members of an object that are not declared."""

    REFUSE = "refuse"
    DROP = "drop"
    KEEP = "keep"


_MARSHMALLOW = {
    Unknown.REFUSE: marshmallow.RAISE,
    Unknown.DROP: marshmallow.EXCLUDE,
    Unknown.KEEP: marshmallow.INCLUDE,
}


class Legacy(NamedTuple):
    """Paths of an entity from before /sync: where it is read, and where it is written."""

    get: str
    post: str


class _Members(marshmallow.Schema):
    """The members of an object, as `object_schema` makes one for each declaration.

    Every field has the member's name as its `data_key`, and an attribute of its own: so a name may be any text, where
    marshmallow takes a name with a full stop for a path.
    """

    error_messages = {"type": "is not an object", "unknown": "is not declared"}  # noqa: RUF012 -- marshmallow reads it off the class

    @marshmallow.post_load(pass_original=True)
    def as_sent(self, loaded: dict[str, Any], original: Mapping[str, Any], **_options: object) -> dict[str, Any]:
        """The members in their order, and without those that are to be dropped."""
        attributes = {field.data_key: attribute for attribute, field in self.fields.items()}
        kept = original if self.unknown == marshmallow.INCLUDE else attributes
        return {
            name: loaded[attributes[name]] if name in attributes else value
            for name, value in original.items()
            if name in kept
        }


def object_schema(name: str, members: Mapping[str, fields.Field[Any]], unknown: Unknown) -> type[marshmallow.Schema]:
    """A schema under which loads what these fields take, unchanged; only DROP leaves out what is not declared."""
    for member, field in members.items():
        field.data_key = member
    # With a NUL, which no record may hold: what is kept undeclared comes to lie beside them.
    attributes: dict[str, Any] = {f"\0{index}": field for index, field in enumerate(members.values())}
    meta = type("Meta", (), {"unknown": _MARSHMALLOW[unknown], "register": False})
    return type(name, (_Members,), attributes | {"Meta": meta})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One kind of record.

    `unknown`: of members of `fields`. `max_items`: what one owner may have; None: for users what the deployment says,
    for a shared set any number. `was`: former names, the oldest first. `fields`: what may stand in `fields`;
    `has_fields`: whether anything may, else records have none.
    """

    name: str
    scope: Scope = Scope.USER
    description: str = ""
    unknown: Unknown = Unknown.REFUSE
    max_items: int | None = None
    legacy: Legacy | None = None
    was: tuple[str, ...] = ()
    fields: type[marshmallow.Schema]
    has_fields: bool

    @property
    def stored(self) -> str:
        """The name that the database knows it by, which never changes."""
        return self.was[0] if self.was else self.name

    @property
    def names(self) -> tuple[str, ...]:
        """Each that it is reached by, the present one first."""
        return tuple(dict.fromkeys((self.name, *self.was)))

    @property
    def needs_fields(self) -> bool:
        """Whether some field is required, so that an ADD without `fields` is not valid."""
        return any(field.required for field in self.fields().fields.values())


FAVORITES = Entity(
    name="favorites",
    description="What a user marked as favourite",
    unknown=Unknown.DROP,
    legacy=Legacy("/getUserFavorites", "/postUserFavorites"),
    fields=object_schema("FavoritesFields", {}, Unknown.DROP),
    has_fields=False,
)
