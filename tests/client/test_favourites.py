"""The two endpoints, with the service itself."""

import json
from typing import Any

import pytest

from favsync.client import (
    SEED,
    Client,
    CursorGone,
    Invalid,
    Paths,
    Receipt,
    Record,
    Refused,
    Session,
    Unauthorized,
    Unsendable,
)
from favsync.core.fields import canonical, digest
from favsync.core.record import Version
from tests.http.conftest import NOW_US, bearer, token
from tests.http.conftest import Client as Served
from tests.http.declared import SYNC_ANY

T = 1_577_836_800_000_000
S = 1_000_000


def anns(url: str, session: Session, **options: Any) -> Client:
    return Client(url, token("ann"), session=session, retry=None, **options)


async def test_what_is_pushed_is_pulled(url: str, session: Session) -> None:
    for paths in (SEED, Paths("/sync/{entity}", "/postUserFavorites")):
        client = anns(url, session, paths=paths)
        sent = [Record("a", T), Record("b\u00fc /?", T + 1, deleted=True)]
        told = await client.push(sent)
        assert told is not None
        assert [(one.item, one.action_us, one.deleted, one.settled) for one in told] == [
            ("a", T, False, True), ("b\u00fc /?", T + 1, True, True),
        ]  # fmt: skip
        pulled = await client.pull()
        assert (pulled.records, pulled.refused, pulled.not_modified) == (sent, [], False)
        assert pulled.etag
        assert pulled.cursor


async def test_nothing_new_is_nothing_to_read(url: str, session: Session) -> None:
    client = anns(url, session)
    await client.push([Record("a", T)])
    first = await client.pull()
    again = await client.pull(etag=first.etag)
    assert (again.records, again.not_modified, again.etag, again.cursor) == ([], True, first.etag, first.cursor)
    await client.push([Record("b", T)])
    changed = await client.pull(etag=first.etag)
    assert ([one.item for one in changed.records], changed.not_modified) == (["a", "b"], False)
    after = await client.pull(after=first.cursor)
    assert [one.item for one in after.records] == ["b"]
    since = await client.pull(after=after.cursor)
    assert since.records == []
    assert (await client.pull(after=after.cursor, etag=since.etag)).not_modified


@pytest.mark.parametrize("begun", [False, True])
async def test_a_list_in_pages_is_one_list(url: str, session: Session, begun: bool) -> None:
    client = anns(url, session)
    after = (await client.pull()).cursor if begun else None
    await client.push([Record(f"item {number}", T + number) for number in range(7)])
    pulled = await client.pull(limit=2, after=after)
    assert [one.item for one in pulled.records] == [f"item {number}" for number in range(7)]
    assert pulled.etag is None, "it would be of the first page"
    assert (await client.pull(after=pulled.cursor)).records == []


async def test_a_large_set_goes_out_in_batches_and_comes_back_whole(url: str, session: Session) -> None:
    client = anns(url, session)
    sent = [Record(f"item {number:04}", T + number) for number in range(1201)]
    told = await client.push(sent)
    assert told is not None
    assert [one.item for one in told] == [one.item for one in sent]
    assert (await client.pull()).records == sent
    assert await client.push([]) == []


async def test_fields_come_back_as_they_went(url: str, session: Session) -> None:
    client = anns(url, session, entity="free")
    fields = {"text": "\u00fc", "n": 1.5, "list": [None, {"deep": True}], "big": 1e22}
    await client.push([Record("a", T, fields=fields), Record("b", T, deleted=True)])
    a, b = (await client.pull()).records
    assert (a.fields, b.fields) == (fields, None)
    assert a.version == Version(T, deleted=False, digest=digest(canonical(fields)))


async def test_fields_that_are_large_go_out_in_requests_that_the_service_takes(url: str, session: Session) -> None:
    client = anns(url, session, entity="free")
    sent = [Record(f"{number:02}", T, fields={"text": 60_000 * "x"}) for number in range(40)]
    assert len(await client.push(sent) or []) == 40
    assert (await client.pull()).records == sent


async def test_the_greater_version_stands_whoever_sends_last(url: str, session: Session) -> None:
    client = anns(url, session)
    await client.push([Record("a", T + S, deleted=True)])
    [told] = await client.push([Record("a", T)]) or []
    assert told == Receipt("a", "superseded", T + S, deleted=True)
    [told] = await client.push([Record("a", T + S, deleted=True)]) or []
    assert told.outcome == "duplicate"


async def test_a_fault_is_named_by_its_place_in_all_that_was_to_be_sent(url: str, session: Session) -> None:
    client = anns(url, session, entity="ratings")
    sent = [Record(f"{number}", T, fields={"stars": 1 if number < 5 else 6}) for number in range(6)]
    with pytest.raises(Invalid) as caught:
        await client.push(sent, batch=2)
    assert (caught.value.status, caught.value.acknowledged, caught.value.retryable) == (422, 4, False)
    assert [(one.index, one.pointer) for one in caught.value.faults] == [(5, "/5/fields/stars")]
    assert caught.value.faults[0].detail == "must be between 1 and 5"
    assert len((await client.pull()).records) == 4
    told = await client.push(sent, batch=2, lenient=True)
    assert told is not None
    assert [one.outcome for one in told] == ["duplicate"] * 4 + ["applied", "invalid"]
    assert "between 1 and 5" in (told[-1].detail or "")


async def test_what_no_service_takes_is_not_sent(url: str, session: Session) -> None:
    client = anns(url, session)
    with pytest.raises(Unsendable, match="/1/item: does not have 1 to 255 characters"):
        await client.push([Record("a", T), Record("", T)], batch=1)
    assert (await client.pull()).records == [], "the first batch neither"


async def test_an_offset_is_added_to_dates(url: str, session: Session) -> None:
    client = anns(url, session)
    [told] = await client.push([Record("a", T)], clock_offset_ms=-1500) or []
    assert told.action_us == T - 1_500_000
    [told] = await client.push([Record("b", NOW_US + 3600 * S)]) or []
    assert (told.outcome, told.settled) == ("future", False)


async def test_the_clock_is_the_services(url: str, session: Session) -> None:
    """Which stands still, in these tests."""
    client = anns(url, session)
    assert client.clock.offset_ms is None
    await client.pull()
    assert client.clock.offset_ms is not None
    assert abs(client.clock.now_us() - NOW_US) < 60 * S
    assert client.clock.stamp(Version(NOW_US + 3600 * S, False)) == NOW_US + 3600 * S + 1000
    [told] = await client.push([Record("a", client.clock.stamp())]) or []
    assert told.outcome == "applied"


async def test_a_cursor_that_has_ended(url: str, session: Session) -> None:
    theirs = await Client(url, token("bob"), session=session).pull()
    with pytest.raises(CursorGone) as caught:
        await anns(url, session).pull(after=theirs.cursor)
    assert (caught.value.status, caught.value.retryable) == (410, False)
    assert caught.value.detail


async def test_a_backend_reads_and_writes_for_any_user(url: str, session: Session, service: Served) -> None:
    def backend(**options: Any) -> Client:
        return Client(url, token("backend", scope=SYNC_ANY), session=session, retry=None, **options)

    for_two = backend()
    told = await for_two.push([Record("a", T, user="ann"), Record("b", T, user="bob")])
    assert told is not None
    assert [(one.user, one.item) for one in told] == [("ann", "a"), ("bob", "b")]
    await backend(user="bob", namespace="main").push([Record("c", T)])
    assert [one.item for one in (await backend(user="bob").pull(limit=1)).records] == ["b", "c"]
    response = await service.get("/sync/favorites", headers=bearer("bob"))
    assert [one["item"] for one in json.loads(await response.read())] == ["b", "c"]
    with pytest.raises(Unauthorized) as caught:
        await anns(url, session, user="bob").pull()
    assert (caught.value.status, caught.value.retryable) == (403, False)


async def test_refusals(url: str, session: Session) -> None:
    with pytest.raises(Unauthorized) as caught:
        await Client(url, "not-a-token", session=session).pull()
    assert caught.value.status == 401
    with pytest.raises(Refused) as unknown:
        await anns(url, session, entity="un/known?").pull()
    assert (unknown.value.status, type(unknown.value)) == (404, Refused)
    with pytest.raises(Invalid) as bad:
        await anns(url, session).pull(after="no cursor")
    assert (bad.value.status, bad.value.faults) == (400, ())
    with pytest.raises(Invalid) as many:
        await anns(url, session).push([Record(f"{number}", T) for number in range(1001)], batch=2000)
    assert [(one.index, one.pointer) for one in many.value.faults] == [(None, "")]


async def test_a_client_of_its_own_session(url: str) -> None:
    async with Client(url.rstrip("/"), token("ann")) as client:
        assert (await client.pull()).records == []
    with pytest.raises(RuntimeError, match="not open"):
        await client.pull()


async def test_a_shared_session_stays_open(url: str, session: Session) -> None:
    async with anns(url, session) as client:
        await client.pull()
    await client.pull()
