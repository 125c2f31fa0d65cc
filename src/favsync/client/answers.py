"""What an answer says: its JSON, or why there is none."""

import math
import re
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import orjson

from favsync.client.errors import (
    BadAnswer,
    Busy,
    ClientError,
    CursorGone,
    Invalid,
    Refused,
    ServerFault,
    Unauthorized,
)
from favsync.client.session import Answer
from favsync.client.texts import printable
from favsync.core.errors import Fault

RETRY_AFTER_MAX_S = 86_400.0
FAULTS_MAX = 1000
_SECONDS = re.compile(r"\d{1,10}", re.ASCII)
_OPAQUE_LENGTH_MAX = 4096  # of a cursor, or an ETag

_MARK = b"\xef\xbb\xbf"  # that the text is UTF-8, which .NET begins with

_UNAUTHORIZED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_INVALID = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


def check_status(answer: Answer, secrets: Collection[str], now_s: Callable[[], float]) -> None:
    """Raises what an answer other than 2xx is. A text of it that holds one of `secrets` is not repeated."""
    status = answer.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if status == HTTPStatus.NOT_MODIFIED:
        raise BadAnswer("it answered 304, and was not asked whether anything changed")
    if status < HTTPStatus.BAD_REQUEST:
        raise BadAnswer(f"it answered {status}, a redirect: none is followed")
    raise _refusal(answer, secrets, now_s)


def _refusal(answer: Answer, secrets: Collection[str], now_s: Callable[[], float]) -> ClientError:
    status, problem = answer.status, _problem(answer)
    detail = _sentence(problem.get("detail"), secrets)
    if status in _UNAUTHORIZED:
        return Unauthorized(status, detail)
    if status == HTTPStatus.GONE:
        return CursorGone(status, detail)
    if status in _INVALID:
        return Invalid(status, detail, _faults(problem.get("errors"), secrets))
    if status in _BUSY:
        return Busy(status, detail, retry_after_s(answer.headers.get("Retry-After"), now_s))
    return ServerFault(status, detail) if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Refused(status, detail)


def _problem(answer: Answer) -> dict[str, Any]:
    """RFC 9457, if it is that."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/problem+json":
        return {}
    try:
        content = orjson.loads(answer.body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _sentence(text: object, secrets: Collection[str]) -> str | None:
    """As much of it as a log may have; nothing of it where the service says back what is a secret."""
    if not isinstance(text, str) or any(secret in text for secret in secrets):
        return None
    return printable(text) or None


def _faults(content: object, secrets: Collection[str]) -> tuple[Fault, ...]:
    found = []
    for one in content[:FAULTS_MAX] if isinstance(content, list) else []:
        match one:
            case {"index": int() | None as index, "pointer": str(pointer), "detail": str(detail)}:
                found.append(Fault(index, _sentence(pointer, secrets) or "", _sentence(detail, secrets) or ""))
    return tuple(found)


def retry_after_s(text: str | None, now_s: Callable[[], float]) -> float | None:
    """Of Retry-After in either form (RFC 9110, 10.2.3), from 0 to a day; None where it is neither.

    `now_s`: seconds since 1970, by a clock that agrees with the one of the service.
    """
    text = (text or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), RETRY_AFTER_MAX_S)
    try:
        at = parsedate_to_datetime(text)
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now_s()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, float(math.ceil(seconds))), RETRY_AFTER_MAX_S)


def json_of(answer: Answer) -> Any:  # noqa: ANN401 -- any JSON
    """Raises BadAnswer, which says what it is instead."""
    if not answer.whole:
        raise BadAnswer(f"the answer has more than {len(answer.body)} bytes")
    with suppress(ValueError):  # which holds all of the body: it is not to go on with what is raised
        return orjson.loads(answer.body.removeprefix(_MARK))
    if looks_like_html(answer.body):
        raise BadAnswer("the answer is HTML, and not JSON")
    raise BadAnswer("the answer is no JSON, or not all of it" if answer.body else "the answer is empty")


def looks_like_html(body: bytes) -> bool:
    return body[:1000].removeprefix(_MARK).lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))


def opaque(text: str | None) -> str | None:
    """A cursor or an ETag that can be sent back as it came; None for one that cannot."""
    good = text is not None and 0 < len(text) <= _OPAQUE_LENGTH_MAX and text.isascii() and text.isprintable()
    return text if good else None
