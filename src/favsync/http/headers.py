"""Request headers that more than one door reads: Prefer, Sync-Clock-Offset, If-None-Match, Accept-Encoding."""

import re
from dataclasses import dataclass

from multidict import CIMultiDictProxy

from favsync.core.errors import MalformedRequest
from favsync.core.timestamp import US_PER_MS

Headers = CIMultiDictProxy[str]

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PREFERENCE = re.compile(rf'({_WORD})\s*(?:=\s*({_WORD}|"[^"\\]*")?)?', re.ASCII)
_OFFSET = re.compile(r"[+-]?\d{1,13}", re.ASCII)
_ETAG = re.compile(r'(?:W/)?"([^"]*)"')
_QUALITY = re.compile(r"q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Preferences:
    """RFC 7240. `returns`: `minimal`, `representation`, or empty. `lenient`: store the valid, report the rest."""

    returns: str
    lenient: bool


_NONE = Preferences("", lenient=False)


def preferences(headers: Headers) -> Preferences:
    """What the Prefer headers ask for; what they say that we do not know is ignored, as RFC 7240 wants."""
    if "Prefer" not in headers:
        return _NONE
    found: dict[str, str] = {}
    for part in ",".join(headers.getall("Prefer")).split(","):
        match = _PREFERENCE.fullmatch(part.split(";")[0].strip())
        if match:
            found.setdefault(match[1].lower(), (match[2] or "").strip('"').lower())
    returns = found.get("return", "")
    return Preferences(returns if returns in ("minimal", "representation") else "", found.get("handling") == "lenient")


def clock_offset_us(headers: Headers) -> int:
    """What the client says must be added to its dates, in microseconds; MalformedRequest where it is no number."""
    if "Sync-Clock-Offset" not in headers:
        return 0
    values = headers.getall("Sync-Clock-Offset")
    if len(values) > 1 or not _OFFSET.fullmatch(values[0].strip()):
        raise MalformedRequest("Sync-Clock-Offset must be a whole number of milliseconds, such as -1500.")
    return int(values[0]) * US_PER_MS


def none_match(headers: Headers, etag: str) -> bool:
    """Whether If-None-Match holds the (weak) tag of what would be sent: then 304 says enough. RFC 9110, 13.1.2."""
    if headers.get("If-None-Match") == etag:
        return True  # the usual: one tag, sent back as it came
    value = ",".join(headers.getall("If-None-Match", []))
    return value.strip() == "*" or etag.removeprefix("W/").strip('"') in _ETAG.findall(value)


def accepts_gzip(headers: Headers) -> bool:
    """Whether Accept-Encoding takes gzip. RFC 9110, 12.5.3."""
    if "Accept-Encoding" not in headers:
        return False
    qualities: dict[str, float] = {}
    for part in ",".join(headers.getall("Accept-Encoding")).split(","):
        coding, *parameters = (word.strip() for word in part.split(";"))
        matches = [_QUALITY.fullmatch(parameter) for parameter in parameters]
        qualities[coding.lower()] = min((float(match[1]) for match in matches if match), default=1.0)
    return qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0))) > 0
