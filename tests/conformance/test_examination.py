"""The examination as a whole: of favsync, of backends that are only read, of ones that end in its midst."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from favsync.client import Session, Timeouts, Unreachable
from favsync.conformance import Mark, Probe, Target, cleaning, examine, reading
from favsync.conformance import probe as probe_module
from favsync.conformance.findings import Finding
from tests.conformance.backend import TOKEN, Backend
from tests.conformance.conftest import Start, examined, marks
from tests.e2e.service import Service, token

SIGNED = "head.claims.signature"


@contextlib.asynccontextmanager
async def probing(one: Backend) -> AsyncIterator[Probe]:
    async with Session(timeouts=Timeouts(connect=5, read=5, total=5)) as session:
        yield Probe(session, Target(session.check(one.url), TOKEN))


async def test_this_service_does_all_as_documented(dsn: str) -> None:
    with Service(database_url=dsn) as service:
        report = await asyncio.to_thread(asyncio.run, examined(service.url, token("ann")))
        stands = service.request("GET", "/getUserFavorites").content
    assert marks(report) == {}
    assert report.settings == {"precision": "us"}
    assert {record["action"] for record in stands} == {"DELETE"}
    assert len({finding.check for finding in report.findings}) == len(report.findings) == 23
    says = {finding.check: finding.says for finding in report.findings}
    assert says["mixed"].endswith("with `Prefer: handling=lenient` the good ones are stored")
    assert says["left"].startswith(f"nothing is left but {len(stands)} deletions")
    assert says["future"] == "a date in the future is not stored"


async def test_what_was_there_is_not_touched(backend: Start) -> None:
    one = await backend()
    kept = one._read({"item": "theirs", "actionDate": "2026-01-01T00:00:00Z", "action": "ADD"})
    one.has = dict([kept])
    report = await examined(one.url, TOKEN)
    assert report.ok
    assert dict([kept]).items() <= one.has.items()
    [*items] = one.has.keys() - {"theirs"}
    assert all(item.startswith("favsync-check-") and one.has[item].deleted for item in items)
    again = await examined(one.url, TOKEN)
    assert marks(again) == {}
    assert "records 1 in the list" in " ".join(f"{found.check} {found.says}" for found in again.findings)
    assert (await examined(one.url, TOKEN, read_only=True)).settings["precision"] == "s", "of theirs alone"
    assert len(one.has) == 2 * len(items) + 1, "each run has items of its own"


async def test_a_backend_that_takes_so_many_a_minute_is_examined_to_the_end(
    backend: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of what was written is left alive there."""
    one = await backend("a window")
    waited: list[float] = []

    async def sleep(wait_s: float) -> None:
        waited.append(wait_s)
        one.asked = 0

    monkeypatch.setattr(probe_module, "asyncio", SimpleNamespace(sleep=sleep))
    report = await examined(one.url, TOKEN)
    assert marks(report) == {}
    assert set(waited) == {60.0}
    assert all(version.deleted for version in one.has.values())


async def test_one_that_looks_at_nothing_is_left_with_nothing(backend: Start) -> None:
    """It keeps what it is sent as it is, by its item, and compares dates as text."""
    one = await backend()
    kept: dict[Any, Any] = {}

    def take(content: list[Any], *, lenient: bool) -> web.Response:
        for record in content:
            stands = kept.get(record.get("item"))
            if stands is None or str(record.get("actionDate")) > str(stands.get("actionDate")):
                kept[record.get("item")] = record
        return web.Response(status=200 if content else 422 + lenient)

    one._take = take  # type: ignore[method-assign]
    one._list = lambda: list(kept.values())  # type: ignore[method-assign]
    report = await examined(one.url, TOKEN)
    said = marks(report)
    assert report.ok
    assert "left" not in said
    assert {record.get("action") for record in kept.values()} == {"DELETE"}
    assert said["bad-input"].endswith("could not be deleted: a date that is a number, no date, no item")


async def test_what_an_earlier_examination_left_is_told_and_not_looked_at(backend: Start) -> None:
    one = await backend()
    left = {"item": "favsync-check-00000000-\x1b[2J", "actionDate": "2026-01-01T00:00:00.5Z", "action": "ADD"}
    one.has = dict([one._read(left)])
    report = await examined(one.url, TOKEN, read_only=True)
    told = "differs: items of earlier examinations are there, and not deleted: 1, such as favsync-check-00000000- [2J"
    assert marks(report)["earlier"] == told
    assert "there is no date to see it by" in str(report.findings)


async def test_one_that_keeps_no_deletions_has_nothing_left(backend: Start) -> None:
    one = await backend("no tombstones")
    report = await examined(one.url, TOKEN)
    assert (report.findings[-1].says, one.has) == ("nothing is left of what was written", {})


async def test_read_only_sends_no_post(backend: Start) -> None:
    one = await backend()
    one.has = dict(
        one._read({"item": item, "actionDate": f"2026-01-01T00:00:{second}Z", "action": action})
        for item, second, action in (("a", "01.250", "ADD"), ("b", "02", "DELETE"))
    )
    report = await examined(one.url, TOKEN, read_only=True)
    assert (list(marks(report)), one.posts) == (["post"], [])
    assert report.settings == {"precision": "ms", "direction": "pull"}
    one.has.pop("a")
    assert (await examined(one.url, TOKEN, read_only=True)).settings == {"precision": "s", "direction": "pull"}
    one.has.pop("b")
    said = marks(await examined(one.url, TOKEN, read_only=True))
    assert said["tombstones"].startswith("differs: its list is empty")


async def test_a_signature_that_is_not_read_is_found(backend: Start) -> None:
    one = await backend("signature unread", token=SIGNED)
    report = await examined(one.url, SIGNED)
    said = marks(report)
    assert said["token"].startswith("fails: GET lets in our token with another signature")
    assert said["post-token"].startswith("fails: POST takes records with our token with another signature")
    assert marks(await examined((await backend(token=SIGNED)).url, SIGNED)) == {}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8090", {}),
        ("http://10.1.2.3", {"address": "fails: its URL is http, of another machine"}),
        ("https://10.1.2.3", {"address": "differs: it has an address that not the whole world can reach: 10.1.2.3"}),
        ("https://8.8.8.8", {}),
    ],
)
async def test_a_link_may_be_forbidden_what_this_is_not(url: str, expected: dict[str, str]) -> None:
    async with Session(allow_http=True) as session:
        found = await reading.address(Probe(session, Target(session.check(url), TOKEN)))
    said = {one.check: f"{one.mark}: {one.says}" for one in found}
    assert said.keys() == expected.keys()
    assert all(said[name].startswith(words) for name, words in expected.items())
    assert [one.settings for one in found if one.settings] == (
        [{"networks": ["10.1.2.3"]}] if "https://10" in url else []
    )


async def test_the_header_may_be_another(backend: Start) -> None:
    one = await backend("other header")
    assert marks(await examined(one.url, TOKEN, header="X-Key")) == {}
    assert marks(await examined(one.url, TOKEN)) == {
        "get": "fails: GET /getUserFavorites: it answered 401: there is nothing to read"
    }


@pytest.mark.parametrize("after", [1, 5, 40])
async def test_a_backend_that_ends_in_the_midst_is_one_line(after: int, backend: Start) -> None:
    """And one more where something stays there."""
    one = await backend()
    asked = one._is_known

    def ends(request: web.Request, fault: str) -> bool:
        if len(one.seen) >= after and request.transport is not None:
            request.transport.abort()
        return asked(request, fault)

    one._is_known = ends  # type: ignore[method-assign]
    report = await examined(one.url, TOKEN)
    failed = [finding for finding in report.findings if finding.mark is Mark.FAILS]
    assert len(failed) == 1
    assert "the connection broke off" in failed[0].says
    assert (report.findings[-1].check == "left") == bool(one.posts)


async def test_where_it_is_stopped_its_items_are_deleted(backend: Start) -> None:
    one = await backend()
    told: list[Finding] = []
    async with probing(one) as probe:
        running = asyncio.ensure_future(examine(probe, told.append))
        while not any(not version.deleted for version in one.has.values()):
            await asyncio.sleep(0.001)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert told[-1].check == "left"
    assert one.has
    assert all(version.deleted for version in one.has.values())


async def test_with_a_backend_that_is_too_slow_it_ends_all_the_same(backend: Start) -> None:
    one = await backend()
    told: list[Finding] = []
    async with probing(one) as probe:
        probe.lag_s = 0.1  # it shows late what it was sent
        await examine(probe, told.append, within_s=2.5)
    assert [one.check for one in told[-2:]] == ["time", "left"]
    assert told[-2].mark is Mark.FAILS
    assert one.has
    assert all(version.deleted for version in one.has.values())


@pytest.mark.parametrize("late_s", [2.0, 3600.0])
async def test_the_time_for_what_is_tried_does_not_end_the_deletions(
    late_s: float, backend: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do these go on for ever."""
    one = await backend()
    told: list[Finding] = []
    async with probing(one) as probe:
        own = cleaning._own

        async def late(probe: Probe) -> Any:
            """The first look, which ends when the time for what is tried is over, or never."""
            monkeypatch.setattr(cleaning, "_own", own)
            await asyncio.sleep(late_s)
            return await own(probe)

        monkeypatch.setattr(cleaning, "_own", late)
        began = time.monotonic()
        await examine(probe, told.append, within_s=2.8)
    assert told[-1].check == "left"
    assert ("it took too long" in told[-1].says) == (late_s > 3)
    assert time.monotonic() - began < 30
    assert all(version.deleted for version in one.has.values()) == (late_s < 3)


@pytest.mark.parametrize("again", [False, True])
async def test_stopped_while_it_deletes_it_goes_on_with_that_unless_stopped_again(again: bool, backend: Start) -> None:
    one = await backend()
    told: list[Finding] = []
    async with probing(one) as probe:
        running = asyncio.ensure_future(examine(probe, told.append))
        while not any(finding.check == "bad-input" for finding in told):
            await asyncio.sleep(0.001)
        for _ in range(1 + again):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert told[-1].check == "left"
    assert all(version.deleted for version in one.has.values()) != again
    assert ("not all of it: stopped" in told[-1].says) == again


async def test_what_arrives_after_the_deletions_is_deleted_all_the_same(
    backend: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A POST whose answer did not come in time may be taken later, and its records with it."""
    one = await backend()
    take = one._take
    held: list[list[Any]] = []

    def late(content: list[Any], *, lenient: bool) -> web.StreamResponse:
        if not held and content[0]["item"].endswith("newer"):
            held.append(content)
            raise web.HTTPGatewayTimeout
        return take(content, lenient=lenient)

    monkeypatch.setattr(one, "_take", late)
    told: list[Finding] = []
    async with probing(one) as probe:
        ask = probe._ask

        async def lost(method: str, *words: Any) -> Any:
            answer = await ask(method, *words)
            if answer.status == 504:
                raise Unreachable("there was no answer in time")
            return answer

        monkeypatch.setattr(probe, "_ask", lost)
        await examine(probe, told.append)
    take(*held, lenient=False)
    assert told[-1].check == "left"
    assert one.has
    assert all(version.deleted for version in one.has.values())


async def test_no_redirect_takes_the_token_elsewhere(backend: Start) -> None:
    one = await backend("redirects")
    await examined(one.url, TOKEN)
    assert one.seen == [TOKEN]


async def test_whoever_is_busy_for_long_is_not_waited_for(backend: Start) -> None:
    one = await backend("busy for long")
    began = time.monotonic()
    said = marks(await examined(one.url, TOKEN))
    assert said == {"get": "fails: GET /getUserFavorites: it answered 503: there is nothing to read"}
    assert time.monotonic() - began < 30
