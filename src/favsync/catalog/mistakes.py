"""What is wrong with what an operator declared: every fault at once, each with its place."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import marshmallow

from favsync.catalog.entity import Unknown, object_schema
from favsync.catalog.lines import Path
from favsync.catalog.types import Judged
from favsync.core.text import did_you_mean

_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


class Mistake(NamedTuple):
    """`path`: the keys that lead there, and indexes of lists; `detail`: a sentence without its subject."""

    path: Path
    detail: str

    @property
    def place(self) -> str:
        """The path as TOML writes it: `entities.notes.fields.text.choices[2]`."""
        words = [f"[{key}]" if isinstance(key, int) else f".{word(str(key))}" for key in self.path]
        return "".join(words).removeprefix(".")


def table_of(keys: Mapping[str, Judged]) -> marshmallow.Schema:
    """A table that has no keys but these."""
    return object_schema("Table", keys, Unknown.REFUSE)()


class Mistakes(list[Mistake]):
    """Those that were found so far."""

    def note(self, path: Path, detail: str) -> None:
        self.append(Mistake(path, detail))

    def read(
        self, path: Path, value: object, table: marshmallow.Schema, others: Mapping[str, str] = MappingProxyType({})
    ) -> dict[str, Any]:
        """As much of `value` as is right. `others`: what is said of keys that mean something in other tables."""
        if not isinstance(value, dict):
            self.note(path, "is not a table")
            return {}
        keys = [str(field.data_key) for field in table.fields.values()]
        wrong: dict[Any, Any] = {}
        try:
            table.load(value)
        except marshmallow.ValidationError as error:
            wrong = cast("dict[Any, Any]", error.messages)
        # In the order of the table; what is missing comes last.
        for key in [*(key for key in value if key in wrong), *(key for key in wrong if key not in value)]:
            if key in keys:
                self.note((*path, key), wrong[key][0])
            elif key in others:
                self.note((*path, key), others[key])
            else:
                self.note((*path, key), f"there is no such key{did_you_mean(str(key), keys)}")
        return {key: value[key] for key in keys if key in value and key not in wrong}


def word(key: str) -> str:
    """A key that has to be quoted is shown as Python would: with escapes for what cannot be seen."""
    return key if key and _BARE.issuperset(key) else repr(key)
