"""The two endpoints of the favourite synchronisation, as the backend of an organiser may provide them.

    python server.py TOKENS DATABASE [--host 127.0.0.1] [--port 8090]

TOKENS: a file with a line for each token, `TOKEN USER`; it is read again for each request. DATABASE: a file, made where
there is none. README.md beside this says what is required of such a backend, and what is a choice of this one.
"""

import argparse
import hashlib
import json
import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BODY_MAX, ITEM_MAX, DATE_MAX, IDLE_S, LOCK_S = 1024 * 1024, 255, 64, 30, 30
EPOCH, US = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
END = datetime(2101, 1, 1, tzinfo=UTC)
CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d"
DATE = re.compile(rf"(\d{{4}}-\d\d-\d\d)[Tt ]({CLOCK}:)(\d\d)(?:\.(\d+))?([Zz]|[+-]{CLOCK})?", re.ASCII)
LEAP_SECOND = "60"
SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS favourites (
  user TEXT NOT NULL, item TEXT NOT NULL, at_us INTEGER NOT NULL, deleted INTEGER NOT NULL,
  PRIMARY KEY (user, item)) WITHOUT ROWID;
"""
# The law: the later date stands; on the same instant, DELETE does. What was deleted stays, as a tombstone.
MERGE = """INSERT INTO favourites VALUES (?, ?, ?, ?) ON CONFLICT (user, item) DO UPDATE
  SET at_us = excluded.at_us, deleted = excluded.deleted
  WHERE (excluded.at_us, excluded.deleted) > (favourites.at_us, favourites.deleted)"""


class Refused(Exception):
    """What is answered instead: a status, and a sentence."""

    def __init__(self, status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> None:
        self.status, self.detail, self.headers = status, detail, headers or {}


class Favourites:
    """Who may come in, and what each has."""

    def __init__(self, tokens: Path, database: Path) -> None:
        self._tokens, self._database = tokens, database
        self.user_of("")
        with closing(sqlite3.connect(database)) as connection:
            connection.executescript(SCHEMA)

    def user_of(self, token: str) -> str | None:
        """Compared by their hashes, so that the time it takes tells nothing of a token."""
        users = {}
        for number, line in enumerate(self._tokens.read_text().splitlines(), 1):
            match line.split(maxsplit=1):
                case [known, user]:
                    users[_hash(known)] = user
                case [_]:
                    raise ValueError(f"{self._tokens}, line {number}: a token and its user were expected")
        return users.get(_hash(token))

    def read(self, user: str) -> list[dict[str, str]]:
        with closing(sqlite3.connect(self._database, timeout=LOCK_S)) as connection:
            query = "SELECT item, at_us, deleted FROM favourites WHERE user = ? ORDER BY item"
            return [_record(*row) for row in connection.execute(query, [user])]

    def write(self, user: str, versions: list[tuple[str, int, bool]]) -> None:
        """All of them or none; on disk when this returns."""
        with closing(sqlite3.connect(self._database, timeout=LOCK_S)) as connection, connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.executemany(MERGE, [(user, *version) for version in versions])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    wbufsize = -1  # one packet for headers and body
    favourites: Favourites

    def do_GET(self) -> None:
        with self._answers_refusals():
            self._only("/getUserFavorites")
            if self.headers.defects or "Transfer-Encoding" in self.headers or set(self._lengths()) - {"0"}:
                raise Refused(HTTPStatus.BAD_REQUEST, "A GET has no body.")  # unread, it would be the next request
            self._answer_records(self._user())

    do_HEAD = do_GET  # noqa: N815 -- the name that http.server calls

    def do_POST(self) -> None:
        with self._answers_refusals():
            self._only("/postUserFavorites")
            user = self._user()
            self.favourites.write(user, read_versions(self._body()))
            self._answer_records(user)

    def _only(self, path: str) -> None:
        if self.path.split("?")[0] != path:
            raise Refused(HTTPStatus.NOT_FOUND, "There are GET /getUserFavorites and POST /postUserFavorites.")

    def _user(self) -> str:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        user = self.favourites.user_of(token.strip()) if kind.lower() == "bearer" else None
        if user is None:
            raise Refused(HTTPStatus.UNAUTHORIZED, "A valid bearer token is needed.", {"WWW-Authenticate": "Bearer"})
        return user

    def _lengths(self) -> list[str]:
        return self.headers.get_all("Content-Length", [])

    def _body(self) -> bytes:
        length, *more = self._lengths() or [""]
        if more or not length.isdecimal() or "Transfer-Encoding" in self.headers:
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "The body needs a Content-Length, and one.")
        if int(length) > BODY_MAX:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body may have {BODY_MAX} bytes.")
        kind = self.headers.get("Content-Type", "application/json").split(";")[0].strip().lower()
        if kind != "application/json" or "Content-Encoding" in self.headers:
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be application/json, not packed.")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise Refused(HTTPStatus.BAD_REQUEST, "The body broke off.")
        return body

    def _answer_records(self, user: str) -> None:
        body = json.dumps(self.favourites.read(user)).encode()
        tag = f'"{_hash(user + chr(0) + body.decode())[:32]}"'  # another user's never matches
        headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
        known = [one.strip().removeprefix("W/") for one in self.headers.get("If-None-Match", "").split(",")]
        if self.command != "POST" and (tag in known or known == ["*"]):
            self._answer(HTTPStatus.NOT_MODIFIED, b"", headers)
        else:
            self._answer(HTTPStatus.OK, body, headers)

    @contextmanager
    def _answers_refusals(self) -> Iterator[None]:
        try:
            yield
        except Refused as refused:
            self.close_connection = True  # its body may not have been read
            self._answer(refused.status, json.dumps({"error": refused.detail}).encode(), refused.headers)
        except ConnectionError:
            self.close_connection = True  # nobody is there to be answered
        except (sqlite3.Error, OSError, ValueError) as error:
            self.log_error("%s", error)
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "Not now. Send the same again later.")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library refuses, a method for example, in our form."""
        self.close_connection = True
        detail = message or explain or HTTPStatus(code).description
        self._answer(HTTPStatus(code), json.dumps({"error": detail}).encode(), {})

    def _answer(self, status: HTTPStatus, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def read_versions(body: bytes) -> list[tuple[str, int, bool]]:
    """Item, microseconds since 1970, deleted, of each record. Refused: 400 for what is not JSON, 422 with the place."""
    try:
        records = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise Refused(HTTPStatus.BAD_REQUEST, "The body is not JSON in UTF-8.") from None
    if not isinstance(records, list):
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "The body must be an array of records.")
    versions = []
    for index, record in enumerate(records):
        try:
            versions.append(_version(record))
        except ValueError as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"Record {index}: {error}. Nothing was stored.") from None
    return versions


def _version(record: Any) -> tuple[str, int, bool]:
    match record:
        case {"item": str(item), "actionDate": str(date), "action": "ADD" | "DELETE" as action}:
            item.encode()  # half a surrogate pair is a ValueError
            if not 1 <= len(item) <= ITEM_MAX or "\0" in item:
                raise ValueError(f"item must have 1 to {ITEM_MAX} characters, none of them NUL")
            return item, _microseconds(date), action == "DELETE"
    raise ValueError("item and actionDate must be text, action must be ADD or DELETE")


def _microseconds(date: str) -> int:
    """Of an RFC 3339 date: GMT, where it names no zone; what is finer is cut off; second 60 ends second 59."""
    match = DATE.fullmatch(date) if len(date) <= DATE_MAX else None
    if match is None:
        raise ValueError("actionDate is not like 2017-05-02T10:45:12.798Z")
    day, clock, second, fraction, zone = match.groups()
    if second == LEAP_SECOND:
        second, fraction = "59", "999999"
    zone = (zone or "Z").upper()
    at = datetime.fromisoformat(f"{day}T{clock}{second}.{(fraction or '')[:6]:0<6}{zone}")
    if not EPOCH <= at < END:
        raise ValueError("actionDate is outside the years 1970 to 2100")
    return (at - EPOCH) // US


def _record(item: str, at_us: int, deleted: int) -> dict[str, str]:
    """The date in GMT, in milliseconds, or in microseconds where somebody sent them."""
    decimals = "microseconds" if at_us % 1000 else "milliseconds"
    date = (EPOCH + at_us * US).isoformat(timespec=decimals).replace("+00:00", "Z")
    return {"item": item, "actionDate": date, "action": "DELETE" if deleted else "ADD"}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("database", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    options = parser.parse_args()
    os.umask(0o077)
    try:
        Handler.favourites = Favourites(options.tokens, options.database)
        server = ThreadingHTTPServer((options.host, options.port), Handler)
    except (OSError, ValueError, sqlite3.Error) as error:
        sys.exit(f"cannot start: {error}")
    server.daemon_threads = True
    print(f"listening on http://{options.host}:{server.server_port}", flush=True)
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
