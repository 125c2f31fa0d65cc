"""What a start refuses, and what another declaration leaves of what is stored: all of it, readable."""

from pathlib import Path

import pytest

from favsync.catalog.entity import FAVORITES, Entity
from favsync.core.errors import SettingsError
from favsync.store.database import Database
from tests.e2e.service import Service
from tests.http.conftest import SECRET, Serve, bearer
from tests.http.declared import Json, backend, cursor, declared, get, note, pointers, post, record, refused

NOTES = "[entities.notes]\nunknown = 'keep'\n"
HALLS = "[entities.halls]\nscope = 'shared'\n"


async def start(dsn: str, entities: tuple[Entity, ...]) -> str | None:
    """What a start with these says, where it is refused."""
    database = Database(pool_size=1, declared={entity.stored: entity.scope for entity in entities})
    try:
        await database.open({"dsn": dsn}, patience_s=10)
    except SettingsError as error:
        return error.detail
    finally:
        await database.close()
    return None


async def test_a_start_that_would_hide_records_is_refused(serve: Serve, dsn: str, connection: Json) -> None:
    assert await start(dsn, declared(NOTES + HALLS)) is None
    assert await start(dsn, declared("[entities.halls]")) is None, (
        "without records anything may go, or change its scope"
    )
    assert await start(dsn, declared(HALLS)) is None
    client = await serve(entities=declared(NOTES + HALLS))
    await post(client, "/sync/notes", [record("gone", "DELETE")])
    await post(client, "/sync/halls", [record("a")], backend())

    gone = await start(dsn, declared(HALLS))
    assert gone is not None
    assert "records of 'notes', not declared" in gone
    gone = await start(dsn, declared(NOTES))
    assert gone is not None
    assert "'halls'" in gone
    changed = await start(dsn, declared(HALLS + "[entities.notes]\nscope = 'shared'"))
    assert changed is not None
    assert changed.startswith("entities.notes.scope: ")
    assert "from when it was 'user'; as 'shared' nobody" in changed
    changed = await start(dsn, declared(NOTES + "[entities.halls]\nscope = 'user'"))
    assert changed is not None
    assert changed.startswith("entities.halls.scope: ")
    for said in (gone, changed):
        assert "\n" not in said

    renamed = "[entities.{}]\nwas = {}\n"
    assert await start(dsn, declared(HALLS + renamed.format("jottings", "'notes'"))) is None
    assert await start(dsn, declared(HALLS + renamed.format("jottings", ["notes", "remarks"]))) is None
    order = await start(dsn, declared(HALLS + renamed.format("jottings", ["remarks", "notes"])))
    assert order is not None
    assert "'notes'" in order
    assert "first" in order, "it is named, and in the wrong place"
    # A start that was refused has changed nothing.
    assert await start(dsn, declared(NOTES + HALLS)) is None
    await connection.execute("DELETE FROM records")
    assert await start(dsn, (FAVORITES,)) is None


async def test_a_process_that_is_refused_says_why_and_ends(serve: Serve, dsn: str, tmp_path: Path) -> None:
    client = await serve(entities=declared(NOTES))
    await post(client, "/sync/notes", [note("a")])
    config = tmp_path / "favsync.toml"
    config.write_text(HALLS)
    service = Service(database_url=dsn, config=config, jwt_secret=SECRET)
    service.start(until=None)
    assert service.process.wait(30) == 1
    service.reader.join(10)
    [said] = [line for line in service.lines if line.startswith("favsync: ")]
    assert "'notes'" in said
    assert "ready" not in "".join(service.lines)
    config.write_text(HALLS + "[entities.remarks]\nwas = 'notes'\n")
    with Service(database_url=dsn, config=config, jwt_secret=SECRET) as again:
        assert again.request("GET", "/sync/remarks").content == [note("a")]


BEFORE = """
[entities.notes]
[entities.notes.fields]
text = { type = "string", required = true }
tags = { type = "list" }
inner = { type = "object", fields = { x = { type = "integer" } } }
"""
AFTER = {
    "a field is gone": '[entities.notes.fields]\ntext = { type = "string" }',
    "narrower": '[entities.notes.fields]\ntext = { type = "string", max_length = 1, choices = ["x"] }',
    "another type": '[entities.notes.fields]\ntext = { type = "integer" }\ntags = { type = "boolean" }',
    "more is required": '[entities.notes.fields]\nnew = { type = "string", required = true }',
    "no fields": "[entities.notes]",
    "no fields, dropped": '[entities.notes]\nunknown = "drop"',
    "anything": '[entities.notes]\nunknown = "keep"',
    "dropped": '[entities.notes]\nunknown = "drop"\n[entities.notes.fields]\nnew = { type = "string" }',
    "fewer items": "[entities.notes]\nmax_items = 1",
    "renamed": '[entities.remarks]\nwas = "notes"\n[entities.remarks.fields]\nnew = { type = "url", required = true }',
}


@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
async def test_no_declaration_makes_what_is_stored_unreadable(serve: Serve, after: str) -> None:
    stored = [
        record("a", fields={"inner": {"x": 1}, "tags": [1, {"y": None}], "text": "long"}),
        record("b", "DELETE"),
        record("c", fields={"text": ""}),
    ]
    client = await serve(entities=declared(BEFORE))
    none = {path: await cursor(client, path) for path in ("/sync", "/sync/notes")}
    await post(client, "/sync/notes", stored[:2])
    marks = await client.get("/sync/notes", headers=bearer())
    seen = {path: await cursor(client, path) for path in none}
    text = await marks.text()
    await post(client, "/sync/notes", stored[2:])

    client = await serve(entities=declared(after))
    name = "remarks" if "remarks" in after else "notes"
    known = bearer(**{"If-None-Match": marks.headers["ETag"]})
    for path in {"/sync/notes", f"/sync/{name}"}:
        content = await (await client.get(path, headers=known)).text()
        assert content.startswith(text[:-1]), "byte for byte"
        assert await get(client, path) == stored
        assert await get(client, path, limit="2") == stored[:2]
        assert await get(client, path, after=none["/sync/notes"]) == stored
        assert await get(client, path, after=seen["/sync/notes"]) == stored[2:]
        assert [one["outcome"] for one in await post(client, path, [stored[1]])] == ["duplicate"]
    assert await get(client, "/sync", after=none["/sync"]) == {"favorites": [], name: stored}
    assert await get(client, "/sync", after=seen["/sync"]) == {"favorites": [], name: stored[2:]}
    later = record("a", "DELETE", "2021-01-01T00:00:00.000Z")
    assert (await post(client, f"/sync/{name}", [later]))[0]["outcome"] == "applied"
    assert await get(client, "/sync/notes") == [later, *stored[1:]]


async def test_what_comes_in_is_judged_by_todays_declaration(serve: Serve) -> None:
    client = await serve(entities=declared("[entities.notes]"))
    await post(client, "/sync/notes", [record("a"), record("b")])
    assert await get(client, "/sync/notes") == [record("a"), record("b")]
    client = await serve(entities=declared('[entities.notes.fields]\ntext = { type = "string" }'))
    assert await get(client, "/sync/notes") == [record("a"), record("b")], "as it was written, without fields"
    receipts = await post(client, "/sync/notes", [record("a"), note("b", "x")])
    assert [one["outcome"] for one in receipts] == ["applied", "applied"]
    assert await get(client, "/sync/notes") == [record("a", fields={}), note("b", "x")]
    client = await serve(entities=declared('[entities.notes.fields]\ntext = { type = "integer" }'))
    assert pointers(await refused(client, "/sync/notes", [note("b", "x")])) == ["/0/fields/text"]
    assert await get(client, "/sync/notes") == [record("a", fields={}), note("b", "x")]


async def test_two_starts_that_disagree_on_the_scope_hide_nothing_for_good(serve: Serve, dsn: str) -> None:
    """A deployment is replaced process by process, and the old one writes once more."""
    old = await serve(entities=declared(NOTES))
    shared = declared("[entities.notes]\nscope = 'shared'\nunknown = 'keep'\n")
    assert await start(dsn, shared) is None
    await post(old, "/sync/notes", [record("a")])
    refusal = await start(dsn, shared)
    assert refusal is not None
    assert "from when it was 'user'" in refusal
    assert await start(dsn, declared(NOTES)) is None
