"""One person's favourites on one device: changed offline, and kept the same as the service has them.

    TOKEN=... python device.py URL FOLDER USER tap ITEM ADD|DELETE
    TOKEN=... python device.py URL FOLDER USER sync
              python device.py URL FOLDER USER list

USER is the account that TOKEN speaks for, by a name that stays and that no other account at URL has: with the issuer or
tenant in it, where there are several. Each has a database of its own in FOLDER. To try a clock that is wrong, set
CLOCK_ERROR_MS. docs/client.md says why each step is as it is.
"""

import base64
import hashlib
import http.client
import json
import os
import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

OK, UNAUTHORIZED, AGAIN = 200, 401, (429, 500, 502, 503, 504)
ATTEMPTS, OFFERS_MAX, TIMEOUT_S, WAIT_MAX_S = 6, 2, 30, 60
BATCH, BATCH_END, ITEM_MAX = 100, 2**31, 255  # the first: where GET / does not tell
MEASURE_MAX_MS, NOISE_MS = 10_000, 1000
EPOCH, US = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
SCHEMA = """
CREATE TABLE IF NOT EXISTS known (item TEXT PRIMARY KEY, at_us INTEGER, deleted INTEGER);
CREATE TABLE IF NOT EXISTS queue (item TEXT PRIMARY KEY, at_us INTEGER, deleted INTEGER, offset_ms INTEGER);
CREATE TABLE IF NOT EXISTS refused (item TEXT PRIMARY KEY, at_us INTEGER, deleted INTEGER, why TEXT);
CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY, cursor TEXT, etag TEXT, offset_ms INTEGER, batch INTEGER,
  account TEXT);
INSERT OR IGNORE INTO state (id) VALUES (1);
CREATE VIEW IF NOT EXISTS shown AS SELECT item, at_us, deleted FROM queue
  UNION ALL SELECT item, at_us, deleted FROM known WHERE item NOT IN (SELECT item FROM queue);
"""
# The law: the later date stands; on the same instant, DELETE does.
MERGE = """INSERT INTO known VALUES (?, ?, ?) ON CONFLICT (item) DO UPDATE
  SET at_us = excluded.at_us, deleted = excluded.deleted
  WHERE (excluded.at_us, excluded.deleted) > (known.at_us, known.deleted)"""
SETTLE = """DELETE FROM queue WHERE EXISTS (SELECT 1 FROM known WHERE known.item = queue.item
  AND (known.at_us, known.deleted) >= (queue.at_us, queue.deleted))"""
# The very version that was sent: the person may have tapped again since.
RESTAMP = "UPDATE queue SET at_us = ?, offset_ms = ? WHERE item = ? AND at_us = ? AND deleted = ?"
REMOVE = "DELETE FROM queue WHERE item = ? AND at_us = ? AND deleted = ?"


class Failed(Exception):
    """The round did not end. Nothing is lost: what was not settled is in the queue, for the next one."""


class Queued(NamedTuple):
    item: str
    at_us: int
    deleted: int
    offset_ms: int


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    content: Any  # None where it is not JSON


class Device:
    def __init__(self, url: str, folder: Path, user: str, token: str, clock_error_ms: int = 0) -> None:
        """`user`: the account, by a name that stays and that no other issuer's or tenant's account has."""
        self._url, self._token, self._clock_error_ms = urlsplit(url), token, clock_error_ms
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / (hashlib.sha256(f"{url.rstrip('/')}\n{user}".encode()).hexdigest() + ".db")
        path.touch(mode=0o600)  # SQLite gives its journal the same
        self._db = sqlite3.connect(path, isolation_level=None, timeout=TIMEOUT_S)
        self._db.executescript(SCHEMA)

    def tap(self, item: str, action: str) -> str:
        """What the person did: on disk when this returns its date. ValueError for what the service would refuse."""
        item.encode()  # half a surrogate pair is a ValueError
        if not 1 <= len(item) <= ITEM_MAX or "\0" in item or action not in ("ADD", "DELETE"):
            raise ValueError(f"an item has 1 to {ITEM_MAX} characters, none of them NUL; an action is ADD or DELETE")
        with self._transaction():
            [seen_us] = self._row("SELECT max(at_us) FROM shown WHERE item = ?", item)
            [offset_ms] = self._row("SELECT offset_ms FROM state")
            at_us = max((self._now_ms() + (offset_ms or 0)) * 1000, (seen_us or 0) + 1000)
            row = (item, at_us, action == "DELETE", offset_ms)
            self._db.execute("INSERT OR REPLACE INTO queue VALUES (?, ?, ?, ?)", row)
            self._db.execute("DELETE FROM refused WHERE item = ?", [item])
        return text_of(at_us)

    def listing(self) -> dict[str, Any]:
        """What the person sees; how many taps wait to be sent; what the service refused, and why."""
        rows = self._db.execute("SELECT item, at_us, deleted FROM shown ORDER BY item")
        refused = dict(self._db.execute("SELECT item, why FROM refused ORDER BY item"))
        [waiting] = self._row("SELECT count(*) FROM queue")
        return {"records": [record(*row) for row in rows], "waiting": waiting, "refused": refused}

    def sync(self) -> None:
        """One round: sends what is queued, takes what changed elsewhere. After Failed, call it again later."""
        self._check_account()
        size = self._row("SELECT batch FROM state")[0] or self._greet()
        [reading] = self._row("SELECT offset_ms IS NULL FROM state")  # what tells no time is read first
        offered, begun_again = Counter[str](), False
        while True:
            rows = [] if reading else self._next(size, offered)
            after, etag = self._row("SELECT cursor, etag FROM state")
            answer = self._exchange(rows, after, etag)
            match answer.status, answer.content:
                case 200, list():
                    self._merge(answer, after, rows)
                    left = self._next(size, offered)
                    if not left:
                        return
                    unsettled = [row.item for row in rows if row in left]
                    offered.update(unsettled)
                    reading = bool(unsettled)
                case 200, {"receipts": [*receipts]} if rows:
                    self._read_receipts(after, rows, receipts)
                    offered.update(row.item for row in rows)
                case 304, _:
                    reading = False
                    if not self._next(size, offered):
                        return
                case 410, _ if after and not begun_again:
                    self._begin_again()
                    begun_again = True
                case ((413 | 422), _) if len(rows) > 1:
                    size = len(rows) // 2
                case ((413 | 422), _) if rows:
                    with self._transaction():
                        self._park(rows[0], reason(answer))
                case _:
                    raise Failed(reason(answer))

    def _check_account(self) -> None:
        """Failed, where this database is another's: what is in it must not be sent with this token."""
        account = account_of(self._token)
        if account is None:
            return
        with self._transaction():
            self._db.execute("UPDATE state SET account = ? WHERE account IS NULL", [json.dumps(account)])
            [made_for] = self._row("SELECT account FROM state")
        if json.loads(made_for) != account:
            raise Failed("the token is another account's than this database: nothing was sent")

    def _greet(self) -> int:
        """What one request may hold; and, before anything was sent, how far the clock is off. Some do not say."""
        with suppress(OSError, http.client.HTTPException):
            answer = self._request("GET", "/", {}, None)
            match answer.status, answer.content:
                case 200, {"limits": {"maxBatch": int(batch)}} if 0 < batch < BATCH_END:
                    self._db.execute("UPDATE state SET batch = ?", [batch])
                    return batch
        return BATCH

    def _next(self, size: int, offered: Counter[str]) -> list[Queued]:
        """A batch, all with one offset, by the header of the request; no item more than OFFERS_MAX times a round."""
        self._db.execute("UPDATE queue SET offset_ms = 0 WHERE offset_ms IS NULL")  # nobody told the time
        found = map(Queued._make, self._db.execute("SELECT * FROM queue ORDER BY offset_ms, at_us"))
        rows = [row for row in found if offered[row.item] < OFFERS_MAX][:size]
        return [row for row in rows if row.offset_ms == rows[0].offset_ms]

    def _merge(self, answer: Answer, after: str | None, sent: list[Queued]) -> None:
        """What came, what was settled, and the cursor: together, or not at all."""
        cursor, etag = answer.headers["Sync-Cursor"], answer.headers["ETag"]
        settled = sent if cursor else []  # without a cursor, only what the list has
        with self._transaction():
            if not self._stands(after):
                return
            self._db.executemany(MERGE, [version(one) for one in answer.content] + [row[:3] for row in settled])
            self._db.execute(SETTLE)
            # A tag is of one URL: of a GET, with its `after`.
            tag = etag if cursor == after and not sent else None
            self._db.execute("UPDATE state SET cursor = ?, etag = ?", [cursor, tag])

    def _stands(self, after: str | None) -> bool:
        """Whether the cursor is still the one that was sent. If not, another round was here: what came may be old."""
        [cursor] = self._row("SELECT cursor FROM state")
        return bool(cursor == after)

    def _read_receipts(self, after: str | None, rows: list[Queued], receipts: list[Any]) -> None:
        if len(receipts) != len(rows):
            raise Failed("the service answered more or fewer receipts than there were records")
        with self._transaction():
            if not self._stands(after):
                return
            [offset_ms] = self._row("SELECT coalesce(offset_ms, 0) FROM state")
            now_us = (self._now_ms() + offset_ms) * 1000
            for row, receipt in zip(rows, receipts, strict=True):
                match receipt:
                    case {"outcome": "applied" | "duplicate" | "superseded"}:
                        self._db.executemany(MERGE, [version(receipt), row[:3]])
                    case {"outcome": "future"}:  # nothing was stored of it, so it may become another version
                        at_us = min(row.at_us + (offset_ms - row.offset_ms) * 1000, now_us)
                        self._db.execute(RESTAMP, [at_us, offset_ms, *row[:3]])
                    case {"outcome": "limit" | "invalid" as outcome}:
                        self._park(row, receipt.get("detail") or outcome)
            self._db.execute(SETTLE)

    def _park(self, row: Queued, why: str) -> None:
        """Out of the others' way, for the person to be told."""
        if self._db.execute(REMOVE, row[:3]).rowcount:
            self._db.execute("INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?)", [*row[:3], why])

    def _begin_again(self) -> None:
        """The service may have forgotten something: what it held is news again, unless its whole list has it."""
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO queue SELECT item, at_us, deleted, 0 FROM known")
            self._db.execute("DELETE FROM known")
            self._db.execute("UPDATE state SET cursor = NULL, etag = NULL")

    def _exchange(self, rows: list[Queued], after: str | None, etag: str | None) -> Answer:
        query = f"?after={after}" if after else ""
        if not rows:
            return self._ask("GET", "/getUserFavorites" + query, {"If-None-Match": etag} if etag else {})
        offset_ms = rows[0].offset_ms
        headers = {
            "Content-Type": "application/json",
            "Prefer": "handling=lenient, return=representation",
            "Sync-Clock-Offset": str(offset_ms),
        }
        own = [record(row.item, row.at_us - offset_ms * 1000, row.deleted) for row in rows]
        return self._ask("POST", "/postUserFavorites" + query, headers, json.dumps(own))

    def _ask(self, method: str, path: str, headers: dict[str, str], body: str | None = None) -> Answer:
        """Sends the same again until an answer comes that says something: the law makes that harmless."""
        for attempt in range(ATTEMPTS):
            wait_s = 0
            try:
                answer = self._request(method, path, headers, body)
            except (OSError, http.client.HTTPException):
                why = "the service cannot be reached"
            else:
                if answer.status == UNAUTHORIZED:
                    raise Failed("the token is not accepted: sign in again, and sync")
                if answer.status not in AGAIN and not (answer.status == OK and answer.content is None):
                    return answer
                why, asked = reason(answer), answer.headers.get("Retry-After", "")
                wait_s = int(asked) if asked.isdecimal() else 0
            if wait_s > WAIT_MAX_S or attempt == ATTEMPTS - 1:
                break
            time.sleep(wait_s + random.uniform(0, min(WAIT_MAX_S, 0.25 * 2**attempt)))
        raise Failed(why)

    def _request(self, method: str, path: str, headers: dict[str, str], body: str | None) -> Answer:
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._url.netloc, timeout=TIMEOUT_S)
        began_ms, began_s = self._now_ms(), time.monotonic()
        try:
            # A redirect is not followed: the token is for this host.
            headers = headers | {"Authorization": f"Bearer {self._token}"}
            connection.request(method, self._url.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        self._set_clock(response.headers.get("Sync-Time"), began_ms, round((time.monotonic() - began_s) * 1000))
        try:
            return Answer(response.status, response.headers, json.loads(raw))
        except ValueError:
            return Answer(response.status, response.headers, None)

    def _set_clock(self, sync_time: str | None, began_ms: int, took_ms: int) -> None:
        """Learns the offset, where what is measured differs by more than the measure's own error."""
        ended_ms = self._now_ms()
        if sync_time is None or took_ms > MEASURE_MAX_MS or abs(ended_ms - began_ms - took_ms) > NOISE_MS:
            return  # too slow to tell; or the clock was set meanwhile, or the device slept
        measured_ms = us_of(sync_time) // 1000 - (began_ms + ended_ms) // 2
        with self._transaction():
            [offset_ms] = self._row("SELECT offset_ms FROM state")
            if offset_ms is None or abs(measured_ms - offset_ms) > max(NOISE_MS, took_ms):
                self._db.execute("UPDATE state SET offset_ms = ?", [measured_ms])
            if offset_ms is None:  # tapped before the first answer, and never sent
                unset = "UPDATE queue SET at_us = at_us + ? * 1000, offset_ms = ? WHERE offset_ms IS NULL"
                self._db.execute(unset, [measured_ms, measured_ms])

    def _now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._clock_error_ms

    def _row(self, query: str, *values: object) -> Any:
        return self._db.execute(query, values).fetchone()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:  # commits, or rolls back
            yield


def account_of(token: str) -> list[Any] | None:
    """Whom a JWT speaks for, by its own unverified word: `iss` and `sub`. None of a token that tells neither."""
    try:
        _, payload, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
        account = [claims.get("iss"), claims.get("sub")]
    except (ValueError, AttributeError):
        return None
    return account if any(account) else None


def us_of(text: str) -> int:
    """Of a date as the protocol has it: in GMT where it names no zone. Failed, where it is none."""
    try:
        at = datetime.fromisoformat(text.upper())
    except ValueError:
        raise Failed(f"the service answered a date that is none: {text}") from None
    return (at.replace(tzinfo=at.tzinfo or UTC) - EPOCH) // US


def text_of(at_us: int) -> str:
    """In GMT, with as many decimals as it needs: three or six."""
    decimals = "microseconds" if at_us % 1000 else "milliseconds"
    return (EPOCH + at_us * US).isoformat(timespec=decimals).replace("+00:00", "Z")


def record(item: str, at_us: int, deleted: int) -> dict[str, str]:
    return {"item": item, "actionDate": text_of(at_us), "action": "DELETE" if deleted else "ADD"}


def version(one: Any) -> tuple[str, int, int]:
    match one:
        case {"item": str(item), "actionDate": str(date), "action": "ADD" | "DELETE" as action}:
            return item, us_of(date), int(action == "DELETE")
    raise Failed("the service answered something else than a record")


def reason(answer: Answer) -> str:
    detail = answer.content.get("detail", "") if isinstance(answer.content, dict) else ""
    return f"the service answered {answer.status}. {detail}"


def main() -> None:
    try:
        url, folder, user, command, *values = sys.argv[1:]
        clock_error_ms = int(os.environ.get("CLOCK_ERROR_MS", "0"))
        device = Device(url, Path(folder), user, os.environ.get("TOKEN", "").strip(), clock_error_ms)
        match command, values:
            case "tap", [item, action]:
                print(device.tap(item, action))
            case "sync", []:
                device.sync()
            case "list", []:
                print(json.dumps(device.listing()))
            case _:
                sys.exit(__doc__)
    except ValueError as error:
        sys.exit(f"{error}\n{__doc__}")
    except (Failed, OSError, sqlite3.Error) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
