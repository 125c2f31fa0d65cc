"""How single settings are written: durations, sizes, networks, origins, URLs; and what is wrong with them, in words."""

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import marshmallow
from marshmallow import fields, validate

from favsync.identity.issuers import SECRET_BYTES_MIN, Network, networks

MASK = "********"
RATE_MIN, RATE_MAX = 0.001, 1_000_000
_BAD_URL = "is not a URL; in a password, write each of :/?#[]@ as % and its two digits"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|)")
_DURATION_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:]+\])(?::\d{1,5})?|\*")
_DEFAULT_PORT = re.compile(r"(?<=^http)(://.*):80$|(?<=^https)(://.*):443$")
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|)")
_SIZE_UNITS = {"": 1, "B": 1, "KiB": 1024, "MiB": 1024**2}


def parse_duration_s(text: str) -> float:
    """Seconds of `90`, `90s`, `10m`, `1h` or `2d`; ValueError otherwise."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("is not a duration such as 90s, 10m, 1h or 2d")
    return float(match[1]) * _DURATION_UNITS_S[match[2]]


def parse_span_s(text: str) -> float:
    """As `parse_duration_s`, of a text with a unit: on a command line `90` may be meant as days. ValueError."""
    if text.strip()[-1:].isdecimal():
        raise ValueError("lacks its unit, as in 90s, 10m, 1h or 2d")
    return parse_duration_s(text)


class Duration(fields.Field[float]):
    def _deserialize(self, value: object, *_args: object, **_kwargs: object) -> float:
        try:
            return parse_duration_s(str(value))
        except ValueError as error:
            raise marshmallow.ValidationError(str(error)) from error


class Size(fields.Field[int]):
    def _deserialize(self, value: object, *_args: object, **_kwargs: object) -> int:
        match = _SIZE.fullmatch(str(value).strip())
        if match is None:
            raise marshmallow.ValidationError("is not a size such as 65536, 64KiB or 1MiB")
        return int(match[1]) * _SIZE_UNITS[match[2]]


class Networks(fields.Field[tuple[Network, ...]]):
    def _deserialize(self, value: object, *_args: object, **_kwargs: object) -> tuple[Network, ...]:
        try:
            return networks(_joined(value))
        except ValueError as error:
            raise marshmallow.ValidationError(str(error)) from None


class Secrets(fields.Field[tuple[str, ...]]):
    def _deserialize(self, value: object, *_args: object, **_kwargs: object) -> tuple[str, ...]:
        if not (joined := _joined(value)):
            return ()
        found = tuple(word.strip() for word in joined.split(","))
        for secret in found:
            is_secret(secret)
        return found


class Origins(fields.Field[tuple[str, ...]]):
    def _deserialize(self, value: object, *_args: object, **_kwargs: object) -> tuple[str, ...]:
        found = tuple(filter(None, (word.strip().lower() for word in _joined(value).split(","))))
        # Browsers leave out the port that goes without saying.
        found = tuple(_DEFAULT_PORT.sub(r"\1\2", origin) for origin in found)
        for origin in found:
            if not _ORIGIN.fullmatch(origin):
                raise marshmallow.ValidationError(f"{origin!r} is not an origin such as https://app.example.org, or *")
        return found


def _joined(value: object) -> str:
    """A list of the file's, as the variable would have it."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def is_rate(value: float) -> None:
    if value and not RATE_MIN <= value <= RATE_MAX:
        raise marshmallow.ValidationError(f"must be 0, or between {RATE_MIN} and {RATE_MAX}")


def bounds(low: float, high: float) -> validate.Range:
    return validate.Range(low, high, error="must be between {min} and {max}")


def is_secret(value: str) -> None:
    if len(value.encode()) < SECRET_BYTES_MIN:
        raise marshmallow.ValidationError(f"must be at least {SECRET_BYTES_MIN} bytes long")


def is_database_url(value: str) -> None:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise marshmallow.ValidationError(_BAD_URL) from None
    if parts.scheme not in ("postgres", "postgresql"):
        raise marshmallow.ValidationError("must begin with postgresql://")
    if parts.fragment:
        raise marshmallow.ValidationError(_BAD_URL)


class Directory(fields.Field[Path]):
    def _deserialize(self, value: object, *_args: object, **_kwargs: object) -> Path:
        return Path(str(value)).expanduser()


def text(*choices: str) -> fields.String:
    rule = validate.OneOf(choices, error="must be one of: {choices}") if choices else validate.Length(min=1)
    return fields.String(validate=rule)


def default_data_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/favsync")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "favsync"


def without_password(url: str) -> str:
    """A URL of a database as it may be shown."""
    parts = urlsplit(url)
    netloc = parts.netloc
    if parts.password is not None:
        user, _, host = netloc.rpartition("@")
        netloc = f"{user.split(':')[0]}:{MASK}@{host}"
    query = [(name, MASK if "password" in name.lower() else value) for name, value in parse_qsl(parts.query)]
    return f"{parts.scheme}://{netloc}{parts.path}" + (f"?{urlencode(query, safe='*/')}" if query else "")
