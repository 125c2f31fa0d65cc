"""A table that is kept the same as a feed of favsync: no change is lost and none applied twice, whenever it is killed.

    SERVICE_TOKEN=... python consumer.py follow --url URL --entity ENTITY --database FILE [--once]
    python consumer.py follow --token-file FILE ...
    python consumer.py remove --database FILE --older-than 30d

The token has to grant feed:read. One in a file is read again for each request: whoever renews it only has to write it
there. README.md beside this has the table's shape, and says why the steps are as they are.
"""

import argparse
import http.client
import json
import os
import random
import re
import sqlite3
import sys
import time
import urllib.request
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

OK, UNAUTHORIZED, AGAIN = 200, 401, (408, 410, 429, 500, 502, 503, 504)
LIMIT, WAIT_S, TIMEOUT_S, LOCK_S, PAUSE_S = 500, 50, 30, 60, 1
BACKOFF_S, BACKOFF_MAX_S, RETRY_AFTER_MAX_S, ANSWER_BYTES_MAX = 0.25, 60, 300, 32 * 1024 * 1024
DATE, UNITS = "%Y-%m-%dT%H:%M:%SZ", {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS records (
  entity TEXT NOT NULL, namespace TEXT NOT NULL, user TEXT NOT NULL, item TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('Active', 'Deleted')), deleted_at TEXT,
  action_date TEXT NOT NULL, fields TEXT, position INTEGER NOT NULL, snapshot INTEGER NOT NULL,
  PRIMARY KEY (entity, namespace, user, item));
CREATE INDEX IF NOT EXISTS archived ON records (deleted_at) WHERE state = 'Deleted';
CREATE TABLE IF NOT EXISTS progress (
  entity TEXT PRIMARY KEY, cursor TEXT, position INTEGER NOT NULL, snapshot INTEGER NOT NULL, whole INTEGER NOT NULL);
"""
# Archive, then remove: a DELETE leaves the row, and what it held; a later ADD revives it.
APPLY = """INSERT INTO records
  (entity, namespace, user, item, state, deleted_at, action_date, fields, position, snapshot)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (entity, namespace, user, item) DO UPDATE SET
    state = excluded.state,
    deleted_at = CASE excluded.state WHEN 'Deleted' THEN coalesce(deleted_at, excluded.deleted_at) END,
    action_date = excluded.action_date,
    fields = CASE excluded.state WHEN 'Deleted' THEN fields ELSE excluded.fields END,
    position = excluded.position, snapshot = excluded.snapshot"""
# What a whole snapshot has not shown was deleted and its tombstone purged, or is of a history that was lost.
ARCHIVE_UNSEEN = """UPDATE records SET state = 'Deleted', deleted_at = ?
  WHERE entity = ? AND state = 'Active' AND snapshot <> ?"""
REMOVE = "DELETE FROM records WHERE state = 'Deleted' AND deleted_at <= ?"
BEGIN = "INSERT OR IGNORE INTO progress VALUES (?, NULL, 0, 1, 0)"
READ = "SELECT cursor, position, snapshot, whole FROM progress WHERE entity = ?"
MOVE = """UPDATE progress SET (cursor, position, snapshot, whole) = (?, ?, ?, ?)
  WHERE entity = ? AND (cursor, position, snapshot, whole) IS (?, ?, ?, ?)"""


class Stopped(Exception):
    """Only a person can help. Nothing is lost: the next start goes on from here."""


class At(NamedTuple):
    """How far it has come."""

    cursor: str | None  # what to ask for changes with; None: from nothing
    position: int  # of the last change that was applied, perhaps in the midst of a page
    snapshot: int  # how often it has begun from nothing
    whole: bool  # whether it has read to the end since


class Page(NamedTuple):
    changes: list[dict[str, Any]]
    cursor: str
    more: bool


class Copy:
    """The table, and how far it has come."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=LOCK_S, isolation_level=None)
        self._db.executescript(SCHEMA)
        self._db.execute("PRAGMA synchronous = FULL")  # on disk when a commit returns

    def at(self, entity: str) -> At:
        self._db.execute(BEGIN, [entity])
        return At._make(self._db.execute(READ, [entity]).fetchone())

    def begin_again(self, entity: str, at: At) -> None:
        """From nothing. The rows stay as they are meanwhile; positions may be lower than they were."""
        self._store(entity, at, At(None, 0, at.snapshot + 1, whole=False))

    def take(self, entity: str, at: At, page: Page) -> None:
        """Each change in a transaction of its own, together with how far it has come; the last with the next cursor.

        After a kill the same page is asked for again: what was applied of it is passed over. Positions only rise, so
        a record that has changed meanwhile has a greater one.
        """
        news = [change for change in page.changes if change["position"] > at.position]
        for change in news[:-1]:
            at = self._store(entity, at, at._replace(position=change["position"]), change)
        position = news[-1]["position"] if news else at.position
        self._store(entity, at, At(page.cursor, position, at.snapshot, at.whole or not page.more), *news[-1:])

    def remove(self, older_than: timedelta) -> int:
        """How many rows were removed that have been Deleted for so long."""
        return self._db.execute(REMOVE, [(datetime.now(UTC) - older_than).strftime(DATE)]).rowcount

    def _store(self, entity: str, before: At, after: At, *changes: dict[str, Any]) -> At:
        now = datetime.now(UTC).strftime(DATE)
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:  # commits, or rolls back
            if self._db.execute(MOVE, [*after, entity, *before]).rowcount != 1:
                raise Stopped("another process follows the same feed into this database")
            for change in changes:
                self._db.execute(APPLY, _row(entity, change, after.snapshot, now))
            if after.whole and not before.whole:
                self._db.execute(ARCHIVE_UNSEEN, [now, entity, after.snapshot])
        return after


def _row(entity: str, change: dict[str, Any], snapshot: int, now: str) -> list[str | int | None]:
    """For APPLY. The user is null in a set that all share; a namespace is only told where it is not the token's."""
    key = [entity, change.get("namespace") or "", change["user"] or "", change["item"]]
    state, deleted_at = ("Deleted", now) if change["action"] == "DELETE" else ("Active", None)
    fields = json.dumps(change["fields"]) if "fields" in change else None
    return [*key, state, deleted_at, change["actionDate"], fields, change["position"], snapshot]


class AsItIs(urllib.request.HTTPErrorProcessor):
    """Every answer as it came: an error is read like any other, and no redirect takes the token elsewhere."""

    def http_response(self, request: urllib.request.Request, response: Any) -> Any:  # noqa: ARG002 -- its signature
        return response

    https_response = http_response


class Feed:
    def __init__(self, url: str, entity: str, limit: int, token_file: Path | None) -> None:
        self._url, self._limit, self._token_file = f"{url.rstrip('/')}/feed/{quote(entity, safe='')}", limit, token_file
        self._again = AGAIN if token_file is None else (UNAUTHORIZED, *AGAIN)
        self._opener = urllib.request.build_opener(AsItIs)
        if urlsplit(url).scheme not in ("http", "https"):
            raise Stopped(f"--url: {url!r} is not like https://favsync.example.org")
        if not self._token():
            raise Stopped(f"there is no token in {token_file or 'SERVICE_TOKEN'}")

    def page(self, at: At, wait_s: int) -> Page | None:
        """What comes next, asked for until it comes; None where it cannot go on from there."""
        # The very first change comes alone, so that nothing is ever applied without a cursor, which tells when it ends.
        query = {"limit": self._limit, "after": at.cursor} if at.cursor else {"limit": 1}
        url, most_s = f"{self._url}?{urlencode(query | {'wait': wait_s})}", BACKOFF_S
        while True:
            token, retry_after = self._token(), ""
            try:
                status, headers, content = self._get(url, token, wait_s + TIMEOUT_S)
            except (OSError, http.client.HTTPException) as error:
                why = f"the service cannot be reached: {error}"
            else:
                match status, content:
                    case 200, {"changes": [*changes], "cursor": str(cursor), "hasMore": bool(more)}:
                        return Page(changes, cursor, more)
                    case 410, _ if at.cursor:
                        return None
                why = f"the service answered {status}: {content.get('detail', 'nothing that is of use')}"
                if status != OK and status not in self._again:
                    raise Stopped(why)
                retry_after = headers.get("Retry-After", "")
            least_s = min(int(retry_after), RETRY_AFTER_MAX_S) if retry_after.isdecimal() else 0
            self._pause(least_s + random.uniform(0, most_s), token, why)
            most_s = min(2 * most_s, BACKOFF_MAX_S)

    def _get(self, url: str, token: str, timeout_s: int) -> tuple[int, Any, dict[str, Any]]:
        """Status, headers and the object that was answered, or an empty one."""
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 -- of http
        with self._opener.open(request, timeout=timeout_s) as response:
            body = response.read(ANSWER_BYTES_MAX)  # cut off there, it is no JSON
        with suppress(ValueError, RecursionError):
            if isinstance(content := json.loads(body), dict):
                return response.status, response.headers, content
        return response.status, response.headers, {}

    def _pause(self, pause_s: float, token: str, why: str) -> None:
        """Or until there is another token."""
        print(f"{why} -- asking again in {pause_s:.1f} s", file=sys.stderr)
        end = time.monotonic() + pause_s
        while (left_s := end - time.monotonic()) > 0 and self._token() == token:
            time.sleep(min(left_s, PAUSE_S))

    def _token(self) -> str:
        with suppress(FileNotFoundError):  # it may just be written anew
            return (self._token_file.read_text() if self._token_file else os.environ.get("SERVICE_TOKEN", "")).strip()
        return ""


def follow(copy: Copy, feed: Feed, entity: str, *, once: bool) -> None:
    """Forever, or `once` to the end of what there is."""
    while True:
        at, asked_at = copy.at(entity), time.monotonic()
        page = feed.page(at, WAIT_S if at.whole and not once else 0)
        if page is None:
            print("it cannot go on from here: reading the feed from its beginning", file=sys.stderr)
            copy.begin_again(entity, at)
        else:
            copy.take(entity, at, page)
            if once and not page.more:
                return
        if not (page and page.changes) and time.monotonic() < asked_at + PAUSE_S:
            time.sleep(random.uniform(0, PAUSE_S))  # it would not wait, because it ends, perhaps


def _duration(text: str) -> timedelta:
    if not re.fullmatch(r"\d{1,6}[smhd]", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 90s, 10m, 1h or 30d")
    return timedelta(**{UNITS[text[-1]]: int(text[:-1])})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    following, removing = commands.add_parser("follow"), commands.add_parser("remove")
    following.add_argument("--url", required=True)
    following.add_argument("--entity", required=True)
    following.add_argument("--token-file", type=Path)
    following.add_argument("--limit", type=int, default=LIMIT, help="changes in one answer, up to 5000")
    following.add_argument("--once", action="store_true", help="end when all is read that there is")
    removing.add_argument("--older-than", type=_duration, required=True, help="say 30d")
    for one in (following, removing):
        one.add_argument("--database", type=Path, required=True)
    options = parser.parse_args()
    os.umask(0o077)
    try:
        if "older_than" in options:
            print(f"removed {Copy(options.database).remove(options.older_than)} rows")
        else:
            feed = Feed(options.url, options.entity, options.limit, options.token_file)
            follow(Copy(options.database), feed, options.entity, once=options.once)
    except (Stopped, OSError, ValueError, sqlite3.Error) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
