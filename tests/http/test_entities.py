"""/sync/{entity}: what favourites do, with `fields`."""

import gzip
import json
import time

import orjson
import pytest

from favsync.core import timestamp
from favsync.core.fields import BYTES_MAX, canonical, digest
from tests.http.conftest import NOW, NOW_US, Client, bearer
from tests.http.declared import DATE, WITH_THEM, Json, cursor, get, note, pointers, post, record, refused

NOTES = "/sync/notes"
JSON = {"Content-Type": "application/json"}
LENIENT = bearer(Prefer="handling=lenient")
WHOLE = bearer(Prefer="return=representation")
pytestmark = WITH_THEM


def spelled(*fields: str, item: str = "a", action: str = "ADD") -> bytes:
    """A body of records whose `fields` are spelled so."""
    head = f'"item":"{item}","actionDate":"{DATE}","action":"{action}"'
    return ("[" + ",".join(f'{{{head},"fields":{one}}}' for one in fields) + "]").encode()


async def outcomes(client: Client, path: str, content: Json, headers: dict[str, str] | None = None) -> list[str]:
    if isinstance(content, bytes):
        response = await client.post(path, data=content, headers=(headers or bearer()) | JSON)
        assert response.status == 200, await response.text()
        return [receipt["outcome"] for receipt in (await response.json())["receipts"]]
    return [receipt["outcome"] for receipt in await post(client, path, content, headers)]


async def test_fields_come_back_byte_for_byte(client: Client) -> None:
    """In their one form, at every door that shows them."""
    sent = (
        '{ "text":"\\u00fc\\/\\ud83d\\ude00\\u001F\\n", "n": 1.50e2, "any": {"b":-0.0,"a":[1e30,0.1,1E-7], "é":null} }'
    )
    form = '{"any":{"a":[1e+30,0.1,1e-7],"b":0,"é":null},"n":150,"text":"ü/😀\\u001f\\n"}'
    assert await outcomes(client, NOTES, spelled(sent)) == ["applied"]
    shown = f'{{"item":"a","actionDate":"{DATE}","action":"ADD","fields":{form}}}'
    whole = f'{{"favorites":[],"notes":[{shown}],"ratings":[],"free":[],"bare":[]}}'
    start = await cursor(client, NOTES, bearer("bob"))
    for path, user, expected in (
        (NOTES, "ann", f"[{shown}]"),
        (NOTES, "bob", "[]"),
        ("/sync/remarks", "ann", f"[{shown}]"),
    ):
        assert await (await client.get(path, headers=bearer(user))).text() == expected
    several = await (await client.get("/sync", headers=bearer())).text()
    assert shown in several
    assert orjson.loads(several) == orjson.loads(whole)
    for path, user, body in ((NOTES, "bob", spelled(sent)), ("/sync/jottings", "bob", b"[]")):
        response = await client.post(
            path, data=body, params={"after": start}, headers=bearer(user, Prefer="return=representation") | JSON
        )
        assert await response.text() == f"[{shown}]"
        assert response.headers["Preference-Applied"] == "return=representation"


async def test_the_same_content_in_another_spelling_is_a_duplicate(client: Client, connection: Json) -> None:
    assert await outcomes(client, NOTES, spelled('{"text":"ü","n":1,"any":{"a":1,"b":[]}}')) == ["applied"]
    others = (
        '{"any":{"b":[],"a":1},"n":1,"text":"ü"}',
        '{"text":"\\u00FC","n":1.0,"any":{"a":10e-1,"b":[ ]}}',
        ' {"n":2,"n":1e0, "text" : "\\u00fc","any":{"\\u0061":1,"b":[]}}',
    )
    assert await outcomes(client, NOTES, spelled(*others)) == ["duplicate"] * 3
    assert await connection.fetchval("SELECT seq FROM streams") == 1
    # Not the same: another type, another sequence of code points for the same picture.
    for other in ('{"text":"ü","n":1,"any":{"a":"1","b":[]}}', '{"text":"u\\u0308","n":1,"any":{"a":1,"b":[]}}'):
        assert (await outcomes(client, NOTES, spelled(other)))[0] in ("applied", "superseded")


async def test_absent_fields_are_an_empty_object(client: Client) -> None:
    assert await outcomes(client, NOTES, [record("a"), record("a", fields={})]) == ["applied", "duplicate"]
    assert await get(client, NOTES) == [record("a", fields={})]
    assert pointers(await refused(client, NOTES, [record("a", fields=None)])) == ["/0/fields"]
    faults = await refused(client, "/sync/ratings", [record("a")])
    assert faults == [{"index": 0, "pointer": "/0/fields/stars", "detail": "is missing"}]


async def test_delete_keeps_no_fields_however_broken(client: Client, connection: Json) -> None:
    await post(client, NOTES, [note("a", "x"), note("b", "x")])
    for item, fields in (("a", '{"text":7,"zz":"\\ud800"}'), ("b", "[[[]]]"), ("c", "null")):
        body = spelled(fields, item=item, action="DELETE")
        assert await outcomes(client, NOTES, body) == ["applied"], "on the same instant DELETE wins"
        assert await outcomes(client, NOTES, [record(item, "DELETE")]) == ["duplicate"]
        assert await outcomes(client, NOTES, [note(item, "y")]) == ["superseded"]
    assert await get(client, NOTES) == [record(item, "DELETE") for item in "abc"]
    rows = await connection.fetch("SELECT DISTINCT fields::text, digest FROM records")
    assert [tuple(row) for row in rows] == [(None, b"")]
    back = note("a", "again", "2020-01-02T00:00:00.000Z")
    assert await outcomes(client, NOTES, [back]) == ["applied"]
    assert (await get(client, NOTES))[0] == back


async def test_a_tie_goes_to_the_greater_digest_in_any_order(client: Client) -> None:
    rivals = sorted((note("a", text) for text in "abcdef"), key=lambda one: digest(canonical(one["fields"])))
    assert await outcomes(client, NOTES, rivals) == ["applied"] * 6
    for offered in rivals[:-1]:
        assert await outcomes(client, NOTES, [offered]) == ["superseded"]
    assert await outcomes(client, NOTES, rivals[::-1], bearer("bob")) == ["applied", *["superseded"] * 5]
    assert await get(client, NOTES) == await get(client, NOTES, bearer("bob")) == [rivals[-1]]


async def test_as_favourites_do(client: Client) -> None:
    """Receipts, `future`, the clock's offset, ETag, `after` and packed answers, at the doors of any entity."""
    ahead = timestamp.render(NOW_US + 3_600_000_000)
    receipts = await post(
        client, NOTES, [note("b", "x"), note("a", "x", ahead), note("b", "y", "2019-01-01T00:00:00Z")]
    )
    assert [receipt["outcome"] for receipt in receipts] == ["applied", "future", "superseded"]
    assert receipts[2] == {"item": "b", "outcome": "superseded", "action": "ADD", "actionDate": DATE}
    [receipt] = await post(client, NOTES, [note("a", "x", ahead)], bearer(**{"Sync-Clock-Offset": "-3600000"}))
    assert receipt == {"item": "a", "outcome": "applied", "action": "ADD", "actionDate": NOW}

    response = await client.get(NOTES, headers=bearer())
    etag, start = response.headers["ETag"], response.headers["Sync-Cursor"]
    for path, status in ((NOTES, 304), ("/sync/jottings", 304), ("/sync/ratings", 200), ("/sync", 200)):
        assert (await client.get(path, headers=bearer(**{"If-None-Match": etag}))).status == status
    assert (await client.get(NOTES, headers=bearer("bob", **{"If-None-Match": etag}))).status == 200
    for path in ("/sync/ratings", "/sync/free", "/sync", "/getUserFavorites"):
        assert (await client.get(path, params={"after": start}, headers=bearer())).status == 410, "of other entities"
    changes = [note("a", "z" * 1000, "2026-03-04T05:06:08.000Z")]
    await post(client, NOTES, changes)
    assert await get(client, NOTES, after=start) == changes

    packed = await client.get(NOTES, params={"after": start}, headers=bearer(**{"Accept-Encoding": "gzip"}))
    assert packed.headers["Content-Encoding"] == "gzip"
    assert await packed.json() == changes
    body = gzip.compress(orjson.dumps(changes))
    response = await client.post(NOTES, data=body, headers=bearer("cy", **{"Content-Encoding": "gzip"}) | JSON)
    assert response.status == 200
    assert await get(client, NOTES, bearer("cy")) == changes


WRONG: list[tuple[str, list[str]]] = [
    ('{"tags":["a",1,"b",null]}', ["/tags/1", "/tags/3"]),
    ('{"a/b~c":1}', ["/a~1b~0c"]),
    ('{"zz/~":1,"text":7}', ["/text", "/zz~1~0"]),
    ('{"_schema":1}', ["/_schema"]),
    ('{"inner":{"x.y":1.5}}', ["/inner/x.y"]),
    ('{"inner":{"_schema":1}}', ["/inner/x.y"]),
    ('{"inner":[]}', ["/inner"]),
    ("[]", [""]),
    ('"x"', [""]),
    ('{"text":"a\\u0000b"}', ["/text"]),
    ('{"text":"\\ud800"}', ["/text"]),
    ('{"any":{"a":["\\udfff"]}}', ["/any/a/0"]),
    ('{"any":{"a\\u0000":1}}', ["/any"]),
    ('{"any":{"\\ud800":1}}', ["/any"]),
    ('{"any":{"n":9007199254740992}}', ["/any/n"]),
    ('{"any":{"n":[-9007199254740993]}}', ["/any/n/0"]),
    ('{"n":9007199254740993}', ["/n"]),
    ('{"n":1e20}', ["/n"]),
    ('{"n":true}', ["/n"]),
    ('{"any":' + '{"x":' * 32 + "1" + "}" * 33, ["/any" + "/x" * 32]),
    ('{"any":' + "[" * 200 + "]" * 200 + "}", ["/any"]),
    ('{"any":{"x":' + "[" * 200 + "]" * 200 + "}}", ["/any/x" + "/0" * 31]),
    (json.dumps({"any": {str(i): "x" * 100 for i in range(700)}}), [""]),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "places"), WRONG, ids=range(len(WRONG)))
async def test_a_fault_leads_to_the_very_field(client: Client, fields: str, places: list[str]) -> None:
    body = spelled('{"text":"good"}', fields)
    faults = await refused(client, NOTES, body)
    assert sorted(pointers(faults)) == [f"/1/fields{place}" for place in places]
    assert {fault["index"] for fault in faults} == {1}
    assert await get(client, NOTES) == []
    response = await client.post(NOTES, data=body, headers=LENIENT | JSON)
    good, bad = (await response.json())["receipts"]
    assert (good["outcome"], bad["outcome"]) == ("applied", "invalid")
    assert bad["item"] == "a"
    assert all(f"fields{place}" in bad["detail"] for place in places)


@pytest.mark.parametrize("name", ["\ud800", "a\udfffb", "\0", "", "\U0001f600" * 1000])
async def test_a_name_that_nobody_declared_is_told_whatever_it_is(client: Client, name: str) -> None:
    body = spelled(json.dumps({name: 1}))
    [fault] = await refused(client, NOTES, body)
    assert fault["pointer"].startswith("/0/fields")
    assert await outcomes(client, NOTES, body, LENIENT) == ["invalid"]
    [fault] = await refused(client, "/sync", json.dumps({name: []}).encode())
    assert (fault["index"], fault["pointer"][:1], fault["detail"]) == (None, "/", "is not an entity")


async def test_the_edges_of_what_fits(client: Client) -> None:
    full = {"any": {"x": "é" * ((BYTES_MAX - len('{"any":{"x":""}}')) // 2)}}
    assert len(canonical(full)) == BYTES_MAX
    deep = spelled('{"any":' + '{"x":' * 30 + "{}" + "}" * 31, item="deep")
    exact = spelled('{"n":9007199254740991,"any":{"n":-9007199254740991,"m":1e21}}', item="exact")
    assert await outcomes(client, NOTES, [record("full", fields=full)]) == ["applied"]
    assert await outcomes(client, NOTES, deep) == await outcomes(client, NOTES, exact) == ["applied"]
    assert (await get(client, NOTES))[2] == record("full", fields=full)
    full["any"]["x"] += "x"
    [fault] = await refused(client, NOTES, [record("full", fields=full)])
    assert (fault["pointer"], fault["detail"]) == ("/0/fields", "has more than 65536 bytes")


async def test_a_body_of_nothing_but_faults_stalls_nobody(client: Client) -> None:
    """Half a million wrong elements, or as many names as fit, within the bounds of a body."""
    names = ",".join(f'"{number:x}":1' for number in range(90_000))
    bodies = [
        spelled('{"tags":[' + "1," * 500_000 + "1]}"),
        spelled("{" + names + "}"),
        ("{" + ",".join(f'"{number:x}":[]' for number in range(90_000)) + "}").encode(),
        spelled('{"' + "k" * 400_000 + '\U0001f600":[' + "1," * 200_000 + "1]}"),
        spelled('{"tags":[' + "{}," * 300_000 + "{}]}"),
    ]
    for path, body in zip((NOTES, NOTES, "/sync", "/sync/free", NOTES), bodies, strict=True):
        for headers, status in ((bearer(), 422), (LENIENT, 422 if path == "/sync" else 200)):
            began = time.process_time()
            response = await client.post(path, data=body, headers=headers | JSON)
            assert len(await response.read()) < 10_000
            assert response.status == status
            assert time.process_time() - began < 3, "it was 12 s when each fault was told, or each place noted"


@pytest.mark.parametrize(
    ("path", "sent", "expected"),
    [
        ("/sync/bare", {"x": 1}, ["/0/fields/x"]),
        ("/sync/bare", 7, ["/0/fields"]),
        ("/sync/bare", {}, None),
        ("/sync/favorites", {"x": 1}, None),
        ("/sync/favorites", 7, None),
        ("/sync/favorites", {"a": "\0"}, None),
        ("/sync/free", {"x": [{}]}, {"x": [{}]}),
        ("/sync/free", 7, ["/0/fields"]),
        ("/sync/free", {"\0000": 1}, ["/0/fields"]),
        ("/sync/ratings", {"stars": 3, "more": {"\0": 1}}, {"stars": 3}),
        ("/sync/ratings", {"stars": 3.0}, {"stars": 3}),
        ("/postUserRatings", {"stars": 3, "more": 1}, {"stars": 3}),
        ("/postUserRatings", {"stars": 6}, ["/0/fields/stars"]),
        ("/postUserFavorites", {"x": 1}, None),
        ("/postUserFavorites", "x", None),
    ],
)
async def test_what_becomes_of_what_is_not_declared(client: Client, path: str, sent: Json, expected: Json) -> None:
    """Refused, dropped or kept; `expected`: pointers to what is refused, else the `fields` that are shown."""
    if isinstance(expected, list):
        assert pointers(await refused(client, path, [record("a", fields=sent)])) == expected
        return
    await post(client, path, [record("a", fields=sent)])
    [shown] = await get(client, path.replace("/postUser", "/getUser"))
    assert shown == record("a") | ({} if expected is None else {"fields": expected})


async def test_what_is_not_an_entity_is_not_there(client: Client) -> None:
    for path in ("/sync/nothing", "/sync/Notes", "/sync/notes/", "/sync/", "/sync/fields", "/getUserNotes"):
        assert (await client.get(path, headers=bearer())).status == 404, path
        assert (await client.post(path, json=[], headers=bearer())).status == 404, path
    assert (await client.delete(NOTES, headers=bearer())).status == 405


async def test_preferences(client: Client) -> None:
    response = await client.post(NOTES, json=[note("a")], headers=bearer(Prefer="return=minimal"))
    assert (response.status, await response.read()) == (204, b"")
    response = await client.post(NOTES, json=[note("b", "x")], headers=WHOLE)
    assert await response.json() == [note("a"), note("b", "x")]
    marks = await client.get(NOTES, headers=bearer())
    assert all(response.headers[name] == marks.headers[name] for name in ("ETag", "Sync-Cursor"))
    response = await client.post(NOTES, json=[note("c", "x"), record("d", fields=7)], headers=WHOLE)
    assert response.status == 422
    response = await client.post(
        NOTES,
        json=[note("c", "x"), record("d", fields=7)],
        headers=bearer(Prefer="return=representation, handling=lenient"),
    )
    assert [receipt["outcome"] for receipt in (await response.json())["receipts"]] == ["applied", "invalid"]
    assert response.headers["Preference-Applied"] == "handling=lenient"
