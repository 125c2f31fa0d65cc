"""Tables of favsync.toml, but those of entities: what a key may hold, and where it holds something else."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import marshmallow
from marshmallow import fields, validate

from favsync.core.errors import SettingsError

# Ended by \Z, since marshmallow's Regexp looks at the beginning only.
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z", re.ASCII)
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}\Z", re.ASCII)
HEADER_VALUE = re.compile(r"[ -~]*\Z")
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def text(**options: Any) -> fields.String:  # noqa: ANN401 -- as marshmallow's own
    rule = options.pop("validate", validate.Length(1, 2000, error="must have {min} to {max} characters"))
    return fields.String(validate=rule, **options)


def name(*, required: bool = False) -> fields.String:
    return text(
        required=required,
        validate=validate.Regexp(NAME, error="must be 1 to 63 of a-z, 0-9, ., _ and -, a letter or digit first"),
    )


def is_url(value: str) -> None:
    """For marshmallow: https, or http on this machine."""
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise marshmallow.ValidationError("is not a URL") from None
    if not host or parts.username is not None or parts.fragment:
        raise marshmallow.ValidationError("is not a URL of a host, without user and fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK):
        raise marshmallow.ValidationError("must begin with https://, or http:// for this machine")


class Table(marshmallow.Schema):
    error_messages = {"unknown": "there is no such key", "type": "must be a table"}  # noqa: RUF012 -- marshmallow reads it off the class


class ClientTable(Table):
    """Whom to ask, and as which client."""

    url = text(required=True, validate=is_url)
    client_id = text(required=True)
    client_secret = text()
    client_secret_file = text()


def secret(table: Mapping[str, str], key: str, folder: Path) -> str:
    """What is said under `key`, or stands in the file that `key`_file names. Raises OSError, ValueError."""
    file = table.get(f"{key}_file")
    if (file is None) == (key not in table):
        raise ValueError(f"needs {key} or {key}_file")
    found = table[key] if file is None else (folder / file).read_text().strip()
    if not found:
        raise ValueError(f"{key}: is empty" if file is None else f"{key}_file: {file}: is empty")
    return found


def load(schema: marshmallow.Schema, place: str, value: object) -> dict[str, Any]:
    """The table as `schema` has it. Raises SettingsError, which names the place."""
    if not isinstance(value, Mapping):
        raise SettingsError(f"{place}: must be a table")
    try:
        return cast("dict[str, Any]", schema.load(value))
    except marshmallow.ValidationError as error:
        messages: Any = error.messages
        while isinstance(messages, Mapping):
            key, messages = next(iter(messages.items()))
            place += f"[{key}]" if isinstance(key, int) else f".{key}"
        raise SettingsError(f"{place}: {messages[0][0].lower()}{messages[0][1:].rstrip('.')}") from None
