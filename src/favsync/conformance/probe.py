"""Requests to the backend that is examined, and the items that they write: of one run, so that nobody's are touched."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
from yarl import URL

from favsync.client import SEED, BadAnswer, Busy, Clock, Session
from favsync.client.answers import check_status, json_of, looks_like_html, opaque
from favsync.client.client import PAGES_MAX
from favsync.client.links import next_url
from favsync.client.session import Answer, Request
from favsync.core import timestamp
from favsync.core.timestamp import US_PER_DAY, US_PER_MINUTE
from favsync.peering import ANSWER_BYTES_MAX, LIST_BYTES_MAX, LIST_RECORDS_MAX, named

ITEMS = "favsync-check-"  # what items that are written begin with, unless the caller wants it otherwise
STEP_US = 2 * US_PER_MINUTE  # between dates that are to differ for a backend of any precision
SHOWN_WITHIN_S = 5.0  # what was written; later than that is never
BUSY_TIMES_MAX = 7  # of one request; without a Retry-After the waits double from a second to a minute and more
BUSY_WAIT_S_MAX = 90.0  # the windows of most limits are a minute
PATIENCE_S = 300.0  # for all of what is tried; and once more for the deletions
Json = Any
Records = list[dict[str, Json]]


@dataclass(frozen=True, slots=True)
class Target:
    """Where the endpoints are, and who asks. `header`: the token's, where that is not a bearer's Authorization."""

    url: URL
    token: str = field(repr=False)
    get: str = SEED.read
    post: str = SEED.write
    header: str | None = None
    user: str | None = None

    def at(self, path: str, account: str | None = None) -> URL:
        """`account`: another one than the user's."""
        return URL(str(self.url).rstrip("/") + named(path, account or self.user))

    def proof(self, token: str | None) -> dict[str, str]:
        if token is None:
            return {}
        return {self.header: token} if self.header else {"Authorization": f"Bearer {token}"}


class Reply(NamedTuple):
    """To a POST."""

    status: int

    @property
    def yes(self) -> bool:
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def no(self) -> bool:
        return HTTPStatus.BAD_REQUEST <= self.status < HTTPStatus.INTERNAL_SERVER_ERROR


class Shown(NamedTuple):
    """One of our items in the backend's list. `action_us`: None where its date cannot be read."""

    date: Json
    action_us: int | None
    action: Json
    copies: int


class Probe:
    """`run`: what sets the items of this run apart. `base_us`: a date of two days ago, in whole minutes."""

    def __init__(self, session: Session, target: Target, *, items: str = ITEMS, run: str = "") -> None:
        self._session = session
        self.target = target
        self.items = f"{items}{run or secrets.token_hex(4)}-"
        self.base_us = (self.now_us() - 2 * US_PER_DAY) // US_PER_MINUTE * US_PER_MINUTE
        self.written: dict[str, int] = {}  # the latest date of each item that it was sent
        self.lag_s = 0.0  # until what was written is shown
        self.tombstones = True
        self.unanswered: set[str] = set()  # items that were sent, and perhaps arrive yet
        self.earlier: list[str] = []  # items of other runs that stand there, and not as deleted
        self.patience_s = PATIENCE_S  # what is left of it, for a backend that is busy

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def date_us(self, step: int) -> int:
        return self.base_us + step * STEP_US

    def record(self, name: str, action_us: int, action: str = "ADD", **more: Json) -> dict[str, Json]:
        """A record of our item `name`, which is deleted in the end."""
        item = self.items + name
        self.written[item] = max(action_us, self.written.get(item, 0))
        return {"item": item, "actionDate": timestamp.render(action_us), "action": action, **more}

    async def get(
        self, *, tag: str | None = None, proof: Mapping[str, str] | None = None, account: str | None = None
    ) -> Answer:
        """The first page, whatever its status."""
        return await self._get(self.target.at(self.target.get, account), tag, proof)

    async def read(self) -> Records:
        """All of the list that is an object. Raises ClientError where it is no list."""
        return [one for one in await self.read_raw() if isinstance(one, dict)]

    async def read_raw(self) -> list[Json]:
        """Within what a link reads of a list, and no more; without what earlier examinations have left there."""
        url: URL | None = self.target.at(self.target.get)
        found: list[Json] = []
        size = 0
        for _ in range(PAGES_MAX):
            if url is None:
                earlier = [one for one in found if self._is_of_another_run(one)]
                self.earlier = [one["item"] for one in earlier if one.get("action") != "DELETE"]
                return [one for one in found if not self._is_of_another_run(one)]
            answer = await self._get(url, None, None)
            size += len(answer.body)
            if size > LIST_BYTES_MAX:
                raise BadAnswer(f"the list has more than {LIST_BYTES_MAX} bytes")
            found += self.content(answer)
            if len(found) > LIST_RECORDS_MAX:
                raise BadAnswer(f"the list has more than {LIST_RECORDS_MAX} records")
            url = next_url(answer.headers.getall("Link", []), answer.url)
        raise BadAnswer(f"the list has more than {PAGES_MAX} pages")

    def _is_of_another_run(self, one: Json) -> bool:
        item = one.get("item") if isinstance(one, dict) else None
        return isinstance(item, str) and item.casefold().startswith(ITEMS) and not self.is_own(one)

    def is_own(self, one: Json) -> bool:
        """Of this run, also where names are kept in another case."""
        return isinstance(one, dict) and str(one.get("item")).casefold().startswith(self.items.casefold())

    def content(self, answer: Answer) -> list[Json]:
        """The records of an answer; ClientError where it has none."""
        check_status(answer, {self.target.token}, time.time)
        content = json_of(answer)
        if not isinstance(content, list):
            raise BadAnswer("the answer is JSON, and no list of records")
        return content

    async def post(
        self, body: Records | bytes, *, lenient: bool = False, proof: Mapping[str, str] | None = None
    ) -> Reply:
        """Raises BadAnswer for a yes that is a page for people: that was not the backend."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if lenient:
            headers["Prefer"] = "handling=lenient"
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        items = set() if isinstance(body, bytes) else {one["item"] for one in body if "item" in one}
        self.unanswered |= items
        answer = await self._ask("POST", self.target.at(self.target.post), headers, proof, raw)
        self.unanswered -= items
        if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
            check_status(answer, {self.target.token}, time.time)
        if looks_like_html(answer.body) and Reply(answer.status).yes:
            raise BadAnswer("the answer to a POST is HTML: whether the records arrived is not known")
        return Reply(answer.status)

    async def shown(self, *names: str, pause: bool = True) -> list[Shown | None]:
        """How each of our items stands there, once what was written is likely to be shown."""
        if pause and self.lag_s:
            await asyncio.sleep(min(SHOWN_WITHIN_S, 2 * self.lag_s))
        records = await self.read()
        return [_shown(records, self.items + name) for name in names]

    def tag_of(self, answer: Answer) -> str | None:
        return opaque(answer.headers.get("ETag"))

    async def _get(self, url: URL, tag: str | None, proof: Mapping[str, str] | None) -> Answer:
        headers = {"Accept": "application/json"} | ({} if tag is None else {"If-None-Match": tag})
        return await self._ask("GET", url, headers, proof)

    async def _ask(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        proof: Mapping[str, str] | None,
        body: bytes | None = None,
    ) -> Answer:
        """Whoever says for how long it is busy is asked again then; Busy where that is too long, or too often."""
        who = self.target.proof(self.target.token) if proof is None else proof
        request = Request(method, url, {**headers, **who}, body)
        for time_ in range(BUSY_TIMES_MAX):
            answer = await self._session.ask(request, Clock(), bytes_max=ANSWER_BYTES_MAX)
            if answer.status not in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
                return answer
            try:
                check_status(answer, {self.target.token}, time.time)
            except Busy as busy:
                wait_s = busy.retry_after_s if busy.retry_after_s is not None else 2.0**time_
                if wait_s > min(BUSY_WAIT_S_MAX, self.patience_s):
                    raise
                self.patience_s -= wait_s
                await asyncio.sleep(wait_s)
        check_status(answer, {self.target.token}, time.time)
        return answer


def instant(date: Json) -> int | None:
    """Microseconds since 1970 of a date as the backend wrote it; None where that is none."""
    try:
        return timestamp.parse(date) if isinstance(date, str) else None
    except ValueError:
        return None


def _shown(records: Records, item: str) -> Shown | None:
    copies = [one for one in records if one.get("item") == item]
    if not copies:
        return None
    best = max(copies, key=lambda one: (instant(one.get("actionDate")) or 0, one.get("action") == "DELETE"))
    return Shown(best.get("actionDate"), instant(best.get("actionDate")), best.get("action"), len(copies))
