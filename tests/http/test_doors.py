"""Every route there is: who may pass, that it is described, and what browsers are told."""

import itertools
import re
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from favsync.app import doors
from favsync.core.record import entity_key
from favsync.http import keys, openapi, respond
from favsync.http.doors import EVENTS, Answer, Door
from favsync.identity import issuers
from favsync.identity.authenticator import Identity
from favsync.peering import read_peers
from favsync.settings import Settings
from tests.http.conftest import SECRET, Client, Serve, bearer, token
from tests.http.declared import backend, declared

PROTOCOL = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
SAMPLE = {"{name}": "not-found", "{peer}": "venue"}
LINK = "/peers/venue/link"
LINKED: dict[str, Any] = {
    "link_keys": ("a key for tests, of 32 bytes and more",),
    "peers": read_peers([{"name": "venue", "url": "http://127.0.0.1:1"}], Path()),
}
OTHER_SECRET = "the secret of another tenant's issuer"
# By its date each is told apart, for all are of the same item.
ANNS, THEIRS = "2020-01-01T00:00:00.111Z", "2020-01-02T00:00:00.222Z"
ANNS_RECORDS = {entity: [{"item": "same", "actionDate": ANNS, "action": "ADD"}] for entity in ("favorites", "notes")}
SHARED = {"main": "2020-01-03T00:00:00.333Z", "other": "2020-01-03T00:00:00.444Z"}
DECLARED = declared("""
    [entities.notes.fields]
    text = { type = "string" }
    [entities.sessions]
    scope = "shared"
""")


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"entities": DECLARED}


def sample(item: str, date: str) -> dict[str, str]:
    return {"item": item, "actionDate": date, "action": "ADD"}


def body_for(path: str) -> object:
    """What a POST or PUT there may carry."""
    if path == "/peers/{peer}/link":
        return {"token": "theirs"}
    records = [sample("theirs" if path == "/sync/sessions" else "same", THEIRS)]
    return {"favorites": records, "notes": records} if path == "/sync" else records


def routes(app: web.Application) -> list[tuple[str, str]]:
    return [(route.method, route.resource.canonical) for route in app.router.routes() if route.resource]


async def placed(client: Client, feeds: set[str], headers: dict[str, str]) -> None:
    """Returns when each of the feeds shows something."""
    for path in feeds:
        found = await (await client.get(path, params={"wait": 30}, headers=headers)).json()
        assert found["changes"], path


async def test_the_table_of_who_may_pass(serve: Serve) -> None:
    """Each route, asked by each kind of caller; the table in docs/protocol.md is what comes out."""
    other = issuers.read_issuers(
        [{"iss": "other", "secrets": [OTHER_SECRET], "tenant": "other", "scopes": [issuers.SYNC_ANY]}], Path()
    )
    client = await serve(issuers=other, entities=DECLARED, **LINKED)
    elsewhere = {"secret": OTHER_SECRET, "iss": "other"}
    callers = {
        "no token": {},
        "expired": {"Authorization": f"Bearer {token('ann', exp=int(time.time()) - 60)}"},
        "another user": bearer("bob"),
        "another tenant": {"Authorization": f"Bearer {token('ann', **elsewhere)}"},
        "no scope": bearer("cy"),
        "`sync:any`": backend("dan"),
        "`feed:read`": {"Authorization": f"Bearer {token('eve', scope=issuers.FEED_READ)}"},
    }
    for tenant, headers in (("main", backend()), ("other", backend(claims=elsewhere))):
        await client.post("/sync/sessions", json=[sample("shared", SHARED[tenant])], headers=headers)
    await client.post("/sync", json=ANNS_RECORDS, headers=bearer("ann"))
    assert (await client.put(LINK, json={"token": "ann's"}, headers=bearer("ann"))).status == 200
    await placed(client, {f"/feed/{name}" for name in ("favorites", "notes", "sessions")}, callers["`feed:read`"])
    rows: dict[tuple[str, ...], list[str]] = {}
    assert len(routes(client.app)) > 30
    for method, path in routes(client.app):
        cells = []
        for name, headers in callers.items():
            await client.post("/sync", json=ANNS_RECORDS, headers=bearer("ann"))
            url = re.sub(r"\{\w+\}", lambda match: SAMPLE[match[0]], path)
            body = body_for(path) if method in ("POST", "PUT") else None
            sent = headers | {"Prefer": "return=representation"}
            response = await client.request(method, url, headers=sent, json=body)
            text, status = await response.text(), response.status
            tenant = "other" if name == "another tenant" else "main"
            shows = status == 200 and method != "HEAD"
            to_all = shows and path in ("/feed/favorites", "/feed/notes")
            assert (ANNS in text) == to_all, f"{method} {path} to {name}, of Ann"
            for one, date in SHARED.items():
                shown = path in ("/sync/sessions", "/feed/sessions") and one == tenant and shows
                assert (date in text) == shown, f"{method} {path} to {name}, of the tenant {one}"
            got = str(status)
            if status == 200 and "private" in response.headers.get("Cache-Control", ""):
                got += ", their tenant's" if path == "/sync/sessions" or "/feed/" in path else ", their own"
            cells.append(got)
            content = await (await client.get("/sync", headers=bearer("ann"))).json()
            assert [one["actionDate"] for records in content.values() for one in records] == [ANNS] * 2, (
                f"{method} {path} changed what is Ann's"
            )
            assert (await client.get(LINK, headers=bearer("ann"))).status == 200, f"{method} {path} ended Ann's link"
        if method == "OPTIONS":
            assert set(cells) == {"204"}
        else:
            rows.setdefault((path, *cells), []).append(method)
    table = ["| route | " + " | ".join(callers) + " |", "|---" * (len(callers) + 1) + "|"]
    for (path, *cells), methods in rows.items():
        table.append(f"| {', '.join(sorted(methods))} `{path}` | {' | '.join(cells)} |")
    assert "\n".join(table) in PROTOCOL, "\n" + "\n".join(table)


async def test_a_door_with_a_scope_opens_to_that_scope_alone(serve: Serve) -> None:
    granting = {"iss": "granting", "secrets": [OTHER_SECRET], "tenant": "other", "scopes": ["feed:read"]}
    plain = {"iss": "plain", "secrets": ["the secret of an issuer that grants nothing"], "tenant": "plain"}

    async def inside(_request: web.Request, caller: Identity) -> web.Response:
        return web.json_response([caller.tenant, entity_key("x", tenant=caller.tenant), sorted(caller.scopes)])

    door = Door(
        method="GET", path="/inside", handler=inside, summary="Inside", scope="feed:read",
        answers={200: Answer(description="Inside", schema={"type": "array"})},
    )  # fmt: skip
    client = await serve(issuers=issuers.read_issuers([granting, plain], Path()), doors=[door])
    cases: list[tuple[dict[str, Any], int]] = [
        ({"iss": "granting", "secret": OTHER_SECRET, "scope": "feed:read admin"}, 200),
        ({"iss": "granting", "secret": OTHER_SECRET, "scope": ["feed:read"]}, 200),
        ({"iss": "granting", "secret": OTHER_SECRET, "scope": "feed:reader"}, 403),
        ({"iss": "granting", "secret": OTHER_SECRET}, 403),
        ({"iss": "plain", "secret": plain["secrets"][0], "scope": "feed:read"}, 403),
        ({"scope": "feed:read"}, 200),  # the deployment's own secret may grant anything
        ({"scope": "sync:any"}, 403),
    ]
    for claims, status in cases:
        response = await client.get("/inside", headers={"Authorization": f"Bearer {token(**claims)}"})
        assert response.status == status, claims
        if status == 403:
            content = await response.json()
            assert (content["type"], content["scope"]) == ("/problems/insufficient-scope", "feed:read")
            challenge = 'Bearer realm="favsync", error="insufficient_scope", scope="feed:read"'
            assert response.headers["WWW-Authenticate"] == challenge
    first = await client.get(
        "/inside",
        headers={
            "Authorization": f"Bearer {token(iss='granting', secret=OTHER_SECRET, scope='feed:read sync:any')}",
        },
    )
    assert await first.json() == ["other", "other/x", ["feed:read"]], "what the issuer may not grant is passed over"
    described = openapi.document([door])["paths"]["/inside"]["get"]
    assert described["security"] == [{"bearer": ["feed:read"]}]
    assert "403" in described["responses"]


async def test_the_document_knows_every_route_and_no_other(client: Client) -> None:
    document = await (await client.get("/openapi.json")).json()
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item if method != "parameters"
    }
    assert described == set(routes(client.app))
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                assert all(re.fullmatch(r"[1-5]\d\d", status) for status in operation["responses"]), (method, path)


LIKE_OTHERS = declared("""
    [entities.Problem]
    unknown = "drop"
    [entities.Record]
    unknown = "drop"
    [entities.Receipt.fields]
    text = { type = "string" }
    [entities.ReceiptAdd]
    unknown = "drop"
    [entities.notes]
    [entities.notes2]
    [entities.Notes]
    legacy = { get = "/syncNotes", post = "/sync.notes" }
""")


async def test_what_a_backend_may_say_at_the_seeds_paths_is_documented(client: Client) -> None:
    """Whoever may name users there is refused one that is no text."""
    document = await (await client.get("/openapi.json")).json()
    bodies = [
        document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        for path in ("/postUserFavorites", "/sync/favorites")
    ]
    assert bodies[0] == bodies[1]
    wrong = [{"item": "a", "actionDate": "2020-01-01T00:00:00Z", "action": "ADD", "user": {}}]
    for headers, status in ((backend("ann"), 422), (bearer(), 200)):
        assert (await client.post("/postUserFavorites", headers=headers, json=wrong)).status == status


async def test_names_that_look_like_others_are_told_apart(serve: Serve) -> None:
    """In the document each operation has a name of its own, and each schema; apispec warns where it has none."""
    client = await serve(entities=LIKE_OTHERS)
    document = await (await client.get("/openapi.json")).json()
    names = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(names)) == len(names)
    assert "getSyncNotes" in names
    assert document["components"]["schemas"]["Problem"]["description"] == "RFC 9457"
    for name in ("Problem", "Record", "Receipt", "notes", "Notes"):
        body = [{"item": "a", "actionDate": THEIRS, "action": "ADD"}]
        assert (await client.post(f"/sync/{name}", json=body, headers=bearer())).status == 200


OF_HTTP = {"Content-Type", "Content-Length", "Content-Encoding", "Date", "Server", "Connection", "Transfer-Encoding"}
# Of a POST: as it was asked for. Of an answer that is a part: a Link, and what the whole has is not there.
OPTIONAL = {"Preference-Applied", "Etag", "Sync-Cursor", "Link", "X-Accel-Buffering"}


async def test_every_header_is_described(client: Client) -> None:
    """What is sent is in the document, for each route and the statuses that a request can be made to meet."""
    await client.post("/sync/sessions", json=[sample("a", ANNS), sample("b", ANNS)], headers=backend("ann"))
    document = await (await client.get("/openapi.json")).json()
    bad = {"Authorization": "Bearer x"}
    gone = {"after": "A" * 34}
    reads = {"Authorization": f"Bearer {token('eve', scope=issuers.FEED_READ)}"}
    feeds: set[object] = set()
    met: set[object] = set()
    for method, path in routes(client.app):
        url = re.sub(r"\{\w+\}", lambda match: SAMPLE[match[0]], path)
        body = body_for(path) if method in ("POST", "PUT") else None
        etag = (await client.get(url, headers=bearer())).headers.get("ETag", "x")
        for headers, params in (
            (bearer(), {}), ({}, {}), (bad, {}), (bearer(), gone), (bearer(), {"after": "x"}),
            (bearer(**{"If-None-Match": etag}), {}), (bearer(), {"limit": "1"}), (bearer(), {"user": "bob"}),
            (backend("ann"), {}), (backend("ann", Prefer="return=minimal"), {}),
            (backend("ann", Prefer="return=representation"), {"limit": "1"}),
            (bearer(Prefer="return=minimal"), {}), (bearer(Prefer="return=representation"), {}),
            (bearer(**{"Content-Encoding": "br"}), {}), (bearer(**{"Accept-Encoding": "identity"}), {}),
            (reads, {}), (reads, {"after": "A" * 44}), (reads, {"after": "x"}), (reads, {"wait": "1", "limit": "1"}),
            (reads | {"Accept": EVENTS}, {}),
        ):  # fmt: skip
            response = await client.request(method, url, headers=headers, params=params, json=body)
            described = document["paths"][path][method.lower()]["responses"][str(response.status)]
            sent = {name.title() for name in response.headers} - OF_HTTP
            told = {name.title() for name in described.get("headers", {})}
            assert sent <= told, (method, path, response.status, sent - told)
            assert told - sent <= OPTIONAL, (method, path, response.status, told - sent)
            met.add(response.status)
            feeds |= {response.status} if "/feed/" in path else set()
            met |= {"Link", "X-Accel-Buffering"} & sent
            response.close()
    assert met == {200, 204, 304, 400, 401, 403, 410, 415, "Link", "X-Accel-Buffering"}
    assert feeds == {200, 204, 400, 401, 403, 410}


async def test_head_is_get_without_a_body(client: Client) -> None:
    for method, path in routes(client.app):
        if method == "GET" and path != "/metrics":
            url = re.sub(r"\{\w+\}", lambda match: SAMPLE[match[0]], path)
            got, asked = await client.get(url, headers=bearer()), await client.head(url, headers=bearer())
            assert (asked.status, await asked.read()) == (got.status, b"")
            for name in ("Content-Type", "ETag", "Sync-Cursor", "Cache-Control"):
                assert asked.headers.get(name) == got.headers.get(name)


ORIGIN = "https://app.example.org"
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type,prefer"}


@pytest.mark.parametrize(
    ("configured", "echoed"), [((ORIGIN,), ORIGIN), (("https://x", ORIGIN), ORIGIN), (("*",), "*")]
)
async def test_a_page_of_a_configured_origin_may_call(serve: Serve, configured: tuple[str, ...], echoed: str) -> None:
    client = await serve(cors_origins=configured)
    preflight = await client.options("/postUserFavorites", headers={"Origin": ORIGIN} | ASKED)
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == echoed
    assert preflight.headers["Access-Control-Allow-Methods"] == preflight.headers["Allow"] == "POST, OPTIONS"
    allowed = preflight.headers["Access-Control-Allow-Headers"].lower()
    for name in ("authorization", "content-type", "prefer", "if-none-match", "sync-clock-offset"):
        assert name in allowed
    assert preflight.headers["Access-Control-Max-Age"] == "600"
    for response in (
        await client.get("/getUserFavorites", headers=bearer(Origin=ORIGIN)),
        await client.get("/getUserFavorites", headers={"Origin": ORIGIN}),  # 401
        await client.post("/postUserFavorites", data=b"x", headers=bearer(Origin=ORIGIN)),  # 400
        await client.get("/nothing", headers={"Origin": ORIGIN}),
    ):
        assert response.headers["Access-Control-Allow-Origin"] == echoed
        exposed = response.headers["Access-Control-Expose-Headers"].lower()
        for name in ("etag", "sync-cursor", "sync-time", "link", "retry-after", "x-request-id"):
            assert name in exposed
        assert "Access-Control-Allow-Credentials" not in response.headers
        assert ("Origin" in response.headers.get("Vary", "")) == (echoed != "*")
    unmodified = await client.get("/getUserFavorites", headers=bearer(Origin=ORIGIN))
    again = bearer(Origin=ORIGIN) | {"If-None-Match": unmodified.headers["ETag"]}
    response = await client.get("/getUserFavorites", headers=again)
    assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (304, echoed)


@pytest.mark.parametrize("origin", ["https://evil.example.org", "null", f"{ORIGIN}.evil.org", "http://app.example.org"])
async def test_a_page_of_another_origin_may_not(serve: Serve, origin: str) -> None:
    client = await serve(cors_origins=(ORIGIN,))
    for response in (
        await client.options("/postUserFavorites", headers={"Origin": origin} | ASKED),
        await client.get("/getUserFavorites", headers=bearer(Origin=origin)),
    ):
        assert not [name for name in response.headers if name.startswith("Access-Control")]
        assert "Origin" in response.headers["Vary"]


async def test_without_configured_origins_nothing_is_said_of_them(client: Client) -> None:
    response = await client.options("/getUserFavorites", headers={"Origin": ORIGIN} | ASKED)
    assert (response.status, response.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
    assert not [name for name in response.headers if name.startswith("Access-Control")]
    assert (await client.options("/nothing")).status == 404


async def test_every_problem_has_its_page(client: Client) -> None:
    kinds = {
        (await (await client.get("/nothing")).json())["type"],
        (await (await client.get("/getUserFavorites")).json())["type"],
        (await (await client.delete("/")).json())["type"],
        (await (await client.get("/getUserFavorites?after=x", headers=bearer())).json())["type"],
    }
    page = await (await client.get("/problems/not-found")).text()
    kinds |= set(re.findall(r'href="([^"]+)"', page))
    assert len(kinds) > 12
    for kind in kinds:
        response = await client.get(kind)
        assert response.status == 200, kind
        assert response.content_type == "text/html"
        assert kind.rpartition("/")[2] in await response.text()
        assert "script" not in await response.text()
    for wrong in ("/problems/nothing", "/problems/", "/problems/..%2fx", "/problems/%3Cscript%3E"):
        assert (await client.get(wrong)).status == 404


async def test_the_documentation_comes_from_here_alone(client: Client) -> None:
    page = await (await client.get("/docs")).text()
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(links) == 4
    for link in links:
        if link != "data:,":
            assert link.startswith("/docs/")
            response = await client.get(link)
            assert response.status == 200
            assert response.headers["Content-Encoding"] == "gzip"
            assert "Accept-Encoding" in response.headers["Vary"]
            content = await response.read()
            assert len(content) > 100
            plain = await client.get(link, headers={"Accept-Encoding": "gzip;q=0, deflate"})
            assert "Content-Encoding" not in plain.headers
            assert await plain.read() == content
            again = await client.get(link, headers={"If-None-Match": response.headers["ETag"]})
            assert (again.status, await again.read()) == (304, b"")
    for wrong in ("/docs/offapi.py", "/docs/..%2f__init__.py", "/docs/scalar.js"):
        assert (await client.get(wrong)).status == 404


def test_every_route_has_its_place_in_the_settings() -> None:
    settings = Settings(jwt_secret=SECRET)
    assert "/metrics" in {door.path for door in doors(settings)}
    assert "/metrics" not in {door.path for door in doors(Settings(jwt_secret=SECRET, metrics_port=9100))}
    for door in doors(settings):
        assert door.summary
        assert set(door.parameters) <= set(openapi.PARAMETERS)
        for answer in door.answers.values():
            assert set(answer.headers) <= set(openapi.HEADERS)


@pytest.mark.parametrize("size", [65_535, 65_536, 3_000_000])
async def test_a_body_is_whole_however_large(serve: Serve, size: int) -> None:
    """With its length; and with none of it where HEAD asks, or all of it gzipped; the connection goes on."""

    async def large(request: web.Request, _caller: Identity) -> web.StreamResponse:
        return respond.private_bytes(request, b"x" * size)

    door = Door(method="GET", path="/large", handler=large, summary="", answers={200: Answer(description="")})
    client = await serve(doors=[door])
    for _ in range(2):
        for method, coding in itertools.product(("GET", "HEAD"), ("identity", "gzip")):
            response = await client.request(method, "/large", headers=bearer(**{"Accept-Encoding": coding}))
            assert response.status == 200
            assert await response.read() == (b"x" * size if method == "GET" else b"")
            if coding == "identity":
                assert response.headers["Content-Length"] == str(size)
    assert len(client.app[keys.CONNECTIONS]) == 1
