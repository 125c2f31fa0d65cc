"""Whose records they are: backends that write for any user, sets that a tenant shares, and who may do neither."""

import asyncio
import json
import random
from pathlib import Path

import pytest
from yarl import URL

from favsync.identity.issuers import read_issuers
from tests.http.conftest import Client, Serve, token
from tests.http.declared import (
    ENTITIES,
    SYNC_ANY,
    Json,
    backend,
    cursor,
    declared,
    get,
    note,
    pointers,
    post,
    record,
    refused,
)

NOTES, SESSIONS, SYNC = "/sync/notes", "/sync/sessions", "/sync"
SSO, OTHER, PLAIN = (f"the secret of the issuer named {name}" for name in ("sso", "other", "plain"))
# Two issuers of one tenant beside the deployment itself, and one of another.
ISSUERS = read_issuers(
    [
        {"iss": "sso", "secrets": [SSO], "namespace": "sso", "scopes": [SYNC_ANY]},
        {"iss": "plain", "secrets": [PLAIN], "namespace": "plain"},
        {"iss": "other", "secrets": [OTHER], "tenant": "other", "scopes": [SYNC_ANY]},
    ],
    Path(),
)
SSO_BACKEND = backend(claims={"iss": "sso", "secret": SSO})
OTHER_BACKEND = backend(claims={"iss": "other", "secret": OTHER})
UNGRANTED = backend(
    claims={"iss": "plain", "secret": PLAIN}
)  # says that it has the scope, which its issuer may not grant


def of(subject: str, iss: str | None = None) -> dict[str, str]:
    """The headers of a user without scopes."""
    signed = (
        token(subject, iss=iss, secret={"sso": SSO, "other": OTHER, "plain": PLAIN}[iss]) if iss else token(subject)
    )
    return {"Authorization": f"Bearer {signed}"}


def session(item: str, title: str = "x") -> dict[str, Json]:
    return record(item, fields={"title": title})


@pytest.fixture
async def client(serve: Serve) -> Client:
    return await serve(entities=ENTITIES, issuers=ISSUERS)


async def test_a_thousand_records_of_five_hundred_users(client: Client) -> None:
    chance = random.Random(3)
    sent = [note("i", str(number), user=f"u{number // 2}") | {"item": f"i{number % 2}"} for number in range(1000)]
    chance.shuffle(sent)
    receipts = await post(client, NOTES, sent, backend())
    expected = [
        {
            "user": one["user"],
            "item": one["item"],
            "outcome": "applied",
            "action": "ADD",
            "actionDate": one["actionDate"],
        }
        for one in sent
    ]
    assert receipts == expected
    assert [list(one) for one in receipts[:2]] == [["user", "item", "outcome", "action", "actionDate"]] * 2
    for number in range(500):
        stored = await get(client, NOTES, of(f"u{number}"))
        assert stored == [note("i0", str(2 * number)), note("i1", str(2 * number + 1))]
    assert await get(client, NOTES, of("backend")) == []
    again = await post(client, NOTES, sent[::-1], backend())
    assert again == [one | {"outcome": "duplicate"} for one in expected[::-1]]


async def test_backends_that_write_for_the_same_users_at_once(client: Client) -> None:
    """In any order, and beside the users themselves: nobody is turned away, and the last version stands."""
    chance = random.Random(5)
    users = [f"u{number}" for number in range(40)]

    async def write(turn: int) -> None:
        date = f"2020-01-01T00:00:00.{turn:03d}Z"
        if turn % 2:
            await post(
                client, NOTES, [note("a", str(turn), date, user=user) for user in chance.sample(users, 30)], backend()
            )
        else:
            await post(client, NOTES, [note("a", str(turn), date)], of(chance.choice(users)))

    await asyncio.gather(*(write(turn) for turn in range(60)))
    last = note("a", "last", "2020-01-02T00:00:00.000Z")
    await asyncio.gather(
        *(post(client, NOTES, [last | {"user": user} for user in part], backend()) for part in (users, users[::-1]))
    )
    assert [await get(client, NOTES, of(user)) for user in users] == [[last]] * 40


async def test_for_one_user_by_the_query(client: Client) -> None:
    assert await post(client, NOTES, [note("a")], backend(), user="ann") == [
        {"item": "a", "outcome": "applied", "action": "ADD", "actionDate": note("a")["actionDate"]}
    ]
    [_, named] = await post(client, NOTES, [note("b"), note("b", user="bob")], backend(), user="ann")
    assert named["user"] == "bob"
    await post(client, SYNC, {"notes": [note("c")], "favorites": [record("x", user="bob")]}, backend(), user="ann")
    await post(client, "/postUserFavorites", [record("y"), record("z", user="cy")], backend(), user="ann")
    for user, items in (("ann", ["a", "b", "c"]), ("bob", ["b"]), ("cy", [])):
        for params, headers in (({"user": user}, backend()), ({}, of(user))):
            assert [one["item"] for one in await get(client, NOTES, headers, **params)] == items
    for user, items in (("ann", ["y"]), ("bob", ["x"]), ("cy", ["z"])):
        for path in ("/getUserFavorites", "/sync/favorites"):
            assert [one["item"] for one in await get(client, path, backend(), user=user)] == items
        assert [one["item"] for one in (await get(client, SYNC, of(user)))["favorites"]] == items
    assert await get(client, NOTES, backend()) == []
    mine, theirs = await cursor(client, NOTES, of("ann")), await cursor(client, NOTES, backend(), user="ann")
    assert mine == theirs, "one list, one cursor, whoever reads it"
    etag = (await client.get(NOTES, headers=of("ann"))).headers["ETag"]
    known = backend() | {"If-None-Match": etag}
    assert (await client.get(NOTES, params={"user": "ann"}, headers=known)).status == 304
    assert (await client.get(NOTES, params={"user": "bob"}, headers=known)).status == 200


async def test_users_of_another_issuer_of_the_tenant(client: Client) -> None:
    sent = [note("1", user="ann"), note("2", user="ann", namespace="sso"), note("3", user="ann", namespace="main")]
    receipts = await post(client, NOTES, sent, backend())
    assert [(one["user"], one.get("namespace")) for one in receipts] == [("ann", None), ("ann", "sso"), ("ann", "main")]
    await post(client, NOTES, [note("4", user="ann"), note("5", user="ann", namespace="plain")], SSO_BACKEND)
    await post(client, NOTES, [note("6")], SSO_BACKEND, user="ann", namespace="main")
    await post(client, NOTES, [note("7", user="ann"), note("8")], OTHER_BACKEND, user="ann")
    for headers, params, items in (
        (of("ann"), {}, "136"), (of("ann", "sso"), {}, "24"),
        (of("ann", "plain"), {}, "5"), (of("ann", "other"), {}, "78"),
        (SSO_BACKEND, {"user": "ann"}, "24"), (SSO_BACKEND, {"user": "ann", "namespace": "main"}, "136"),
        (backend(), {"user": "ann", "namespace": "sso"}, "24"), (OTHER_BACKEND, {"user": "ann"}, "78"),
        (backend(), {"user": "ann"}, "136"),
    ):  # fmt: skip
        assert "".join(one["item"] for one in await get(client, NOTES, headers, **params)) == items

    strange = [note("x", user="ann", namespace=name) for name in ("other", "nothing", "main/x", "", "SSO")]
    faults = await refused(client, NOTES, [*strange, note("x", namespace="sso")], backend())
    assert pointers(faults) == [f"/{index}/namespace" for index in range(6)]
    for params in ({"namespace": "sso"}, {"user": "ann", "namespace": "nothing"}, {"user": "ann", "namespace": ""}):
        assert (await client.get(NOTES, params=params, headers=backend())).status == 400
        assert (await client.post(NOTES, params=params, json=[note("x")], headers=backend())).status == 400
    # `main` is a namespace of the other tenant as well, and another one.
    assert await get(client, NOTES, OTHER_BACKEND, user="backend", namespace="main") == []
    assert (await client.get(NOTES, params={"user": "ann", "namespace": "sso"}, headers=OTHER_BACKEND)).status == 400


@pytest.mark.parametrize("name", ["", "x" * 256, "a\0b", 7, None, ["ann"], {}, "\ud800"], ids=repr)
async def test_a_name_that_is_none(client: Client, name: Json) -> None:
    for body, pointer in (
        ([note("a", user=name)], "/0/user"),
        ([note("a", user="ann", namespace=name)], "/0/namespace"),
    ):
        assert pointers(await refused(client, NOTES, body_of(body), backend())) == [pointer]
    several = body_of({"notes": [note("a", user=name)]})
    assert pointers(await refused(client, SYNC, several, backend())) == ["/notes/0/user"]
    lenient = backend(Prefer="handling=lenient") | {"Content-Type": "application/json"}
    response = await client.post(NOTES, data=body_of([note("a", user=name)]), headers=lenient)
    [receipt] = (await response.json())["receipts"]
    assert (receipt["outcome"], "user" in receipt) == ("invalid", False)
    if isinstance(name, str) and name.isascii():
        assert (await client.get(NOTES, params={"user": name}, headers=backend())).status == 400


def body_of(content: Json) -> bytes:
    """JSON, of half a surrogate pair as well."""
    return json.dumps(content).encode()


@pytest.mark.parametrize("caller", ["plain", "other scopes", "not granted"])
async def test_without_the_scope_nobody_is_named_not_even_oneself(client: Client, caller: str) -> None:
    headers = {
        "plain": of("ann"),
        "other scopes": {"Authorization": f"Bearer {token('ann', scope='feed:read admin sync:anything')}"},
        "not granted": UNGRANTED,
    }[caller]
    for params in ({"user": "ann"}, {"user": "bob"}, {"user": ""}, {"namespace": "main"}, {"namespace": ""}):
        for path in (NOTES, "/sync/remarks", "/sync/favorites", SYNC):
            for method in ("GET", "HEAD", "POST"):
                body: Json = {} if path == SYNC else []
                response = await client.request(
                    method, path, params=params, headers=headers, json=body if method == "POST" else None
                )
                assert response.status == 403, (method, path, params)
    more: list[dict[str, Json]] = [{"user": "ann"}, {"user": "bob"}, {"user": None}, {"namespace": "main"}, {"user": 7}]
    for prefer in ({}, {"Prefer": "handling=lenient"}, {"Prefer": "return=representation"}):
        for named in more:
            for path, content in (
                (NOTES, [note("a"), note("b", **named)]),
                (SYNC, {"favorites": [record("a")], "notes": [note("b", **named)]}),
                (SESSIONS, [session("a") | named]),
                (SESSIONS, [session("a")]),
                (SYNC, {"notes": [note("a")], "sessions": [session("a")]}),
            ):
                assert await refused(client, path, content, headers | prefer, 403) == "/problems/insufficient-scope"
    assert await get(client, SESSIONS, headers) == []
    assert not any((await get(client, SYNC, headers)).values()), "nothing of a request that is refused is stored"


async def test_at_the_seeds_paths_such_members_are_as_any_other(client: Client, connection: Json) -> None:
    sent = [record("a", user="bob", namespace="sso", fields={"x": 1}), record("b", user=7)]
    receipts = await post(client, "/postUserFavorites", sent, of("ann"), user="bob")
    assert [list(one) for one in receipts] == [["item", "outcome", "action", "actionDate"]] * 2
    assert await get(client, "/getUserFavorites", of("ann"), user="bob", namespace="sso") == [record("a"), record("b")]
    assert await connection.fetch("SELECT DISTINCT user_id FROM records") == [("main/main/ann",)]


TRICKS = ["", "/", "/sessions", "//sessions", "main//sessions", "other//sessions", "sessions", "../sessions", " "]


async def test_a_shared_set_is_its_tenants_and_nobody_elses(client: Client, connection: Json) -> None:
    shared = await post(client, SESSIONS, [session("s", "ours")], backend())
    assert shared[0]["outcome"] == "applied"
    await post(client, SESSIONS, [session("s", "theirs"), session("t")], OTHER_BACKEND)
    for headers in (of("ann"), of("bob"), of("ann", "sso"), of("x", "plain"), backend(), SSO_BACKEND):
        assert await get(client, SESSIONS, headers) == [session("s", "ours")]
    assert await get(client, SESSIONS, of("ann", "other")) == [session("s", "theirs"), session("t")]
    start = await cursor(client, SESSIONS, of("ann"))
    assert await get(client, SESSIONS, of("bob", "sso"), after=start) == []
    other = await client.get(SESSIONS, params={"after": start}, headers=of("ann", "other"))
    assert other.status == 410
    await post(client, SYNC, {"sessions": [record("s", "DELETE")], "notes": [note("n")]}, SSO_BACKEND)
    assert await get(client, SESSIONS, of("ann"), after=start) == [record("s", "DELETE")]
    assert "sessions" not in await get(client, SYNC, backend())
    assert await get(client, NOTES, of("backend", "sso")) == [note("n")]
    assert (await client.get(SESSIONS)).status == 401
    owners = await connection.fetch("SELECT DISTINCT user_id FROM records WHERE entity LIKE '%/sessions' ORDER BY 1")
    assert [row["user_id"] for row in owners] == ["main//sessions", "other//sessions"]


@pytest.mark.parametrize("name", TRICKS)
async def test_no_name_reaches_a_shared_set(client: Client, connection: Json, name: str) -> None:
    """Neither as a token's subject nor as a backend's user or namespace, from whichever tenant."""
    await post(client, SESSIONS, [session("s", "ours")], backend())
    before = await connection.fetch("SELECT * FROM records ORDER BY user_id, entity, item")
    for iss in (None, "sso", "plain", "other"):
        response = await client.get(SYNC, headers=of(name, iss))
        assert response.status == (200 if name else 401)
        if name:
            assert "ours" not in await response.text()
            assert await get(client, SESSIONS, of(name, iss)) == ([] if iss == "other" else [session("s", "ours")])
            response = await client.post(SESSIONS, json=[session("s", "forged")], headers=of(name, iss))
            assert response.status == 403
    for caller in (backend(), SSO_BACKEND, OTHER_BACKEND):
        for named in ({"user": name}, {"user": "ann", "namespace": name}, {"user": "sessions", "namespace": name}):
            assert (await client.get(NOTES, params=named, headers=caller)).status == (
                200 if name and "namespace" not in named else 400
            )
            status = 200 if name and "namespace" not in named else 422
            for path in (NOTES, SYNC):
                body: Json = [note("forged", **named)]
                response = await client.post(path, json={"notes": body} if path == SYNC else body, headers=caller)
                assert response.status == status
    # A record of a shared entity says nothing of a user; what it says all the same is passed over.
    await post(client, SESSIONS, [session("mine") | {"user": name, "namespace": name}], OTHER_BACKEND, user="ann")
    assert [one["item"] for one in await get(client, SESSIONS, of("x", "other"))] == ["mine"]
    assert await connection.fetch("SELECT * FROM records WHERE user_id = 'main//sessions'") == before


async def test_what_then_stands_is_shown_only_where_it_is_all_that_was_sent(client: Client) -> None:
    wanted = backend(Prefer="return=representation")
    for content, user, shown in (
        ([note("a"), note("b")], None, "backend"),
        ([note("a", user="ann"), note("b", user="ann")], "ann", "ann"),
        ([note("c"), note("d", user="ann", namespace="main")], "ann", "ann"),
        ([note("a", user="backend")], None, "backend"),
        ([note("a", user="ann")], None, None),
        ([note("a", user="ann"), note("b")], None, None),
        ([note("a", user="ann"), note("b", user="bob")], "ann", None),
        ([note("a", user="ann", namespace="sso")], "ann", None),
    ):
        params = {"user": user} if user else {}
        response = await client.post(NOTES, json=content, params=params, headers=wanted)
        answer = await response.json()
        if shown is None:
            assert "Preference-Applied" not in response.headers
            assert "Sync-Cursor" not in response.headers
            assert len(answer["receipts"]) == len(content)
        else:
            assert response.headers["Preference-Applied"] == "return=representation"
            assert answer == await get(client, NOTES, of(shown))
    response = await client.post(SESSIONS, json=[session("s")], headers=wanted)
    assert await response.json() == [session("s")], "of a shared set it is that set"
    response = await client.post(NOTES, json=[note("z", user="zoe")], headers=backend(Prefer="return=minimal"))
    assert response.status == 204


async def test_limits_are_of_one_user_and_one_entity(serve: Serve) -> None:
    entities = declared("""
        [entities.notes]
        max_items = 2
        unknown = "keep"
        [entities.sessions]
        scope = "shared"
        [entities.halls]
        scope = "shared"
        max_items = 1
    """)
    client = await serve(entities=entities, max_items=3)

    async def outcomes(path: str, content: Json) -> list[str]:
        return [one["outcome"] for one in await post(client, path, content, backend())]

    sent = [note(item, user=user) for item in "abcd" for user in ("ann", "bob")]
    assert await outcomes(NOTES, sent) == ["applied"] * 4 + ["limit"] * 4
    sent = [record(item, user=user) for item in "abcd" for user in ("ann", "bob")]
    assert await outcomes("/sync/favorites", sent) == ["applied"] * 6 + ["limit"] * 2
    assert await outcomes(SESSIONS, [record(f"s{number}") for number in range(1000)]) == ["applied"] * 1000
    assert await outcomes("/sync/halls", [record("a"), record("b"), record("a", "DELETE")]) == [
        "applied",
        "limit",
        "applied",
    ]
    receipts = await post(
        client, SYNC, {"halls": [record("b")], "notes": [note("c", user="ann"), note("c", user="cy")]}, backend()
    )
    assert [one["outcome"] for name in receipts for one in receipts[name]] == ["limit", "limit", "applied"]
    assert receipts["notes"][0]["detail"] == "there may be 2 items, and this would be one more"
    assert receipts["notes"][0]["user"] == "ann"


async def test_a_user_who_is_blocked_blocks_no_other_of_the_same_batch(client: Client, connection: Json) -> None:
    await post(client, NOTES, [note("a")])
    batch = [note("b") | {"user": user} for user in ("ann", "bob", "cy")]
    async with connection.transaction():
        await connection.execute("SELECT FROM streams WHERE user_id = 'main/main/ann' FOR UPDATE")
        waiting = asyncio.create_task(client.post(NOTES, json=batch, headers=backend()))
        await asyncio.sleep(0.3)
        for number in range(10):
            async with asyncio.timeout(1):
                await post(client, NOTES, [note(f"own{number}")], of("bob"))
        assert not waiting.done()
    response = await waiting
    assert [one["outcome"] for one in (await response.json())["receipts"]] == ["applied"] * 3


@pytest.mark.parametrize("user", ["M%F6ller", "%FF", "%ED%A0%80"])
async def test_a_user_is_named_in_utf_8(client: Client, user: str) -> None:
    """Or two of them would look like one."""
    response = await client.get(URL(f"{NOTES}?user={user}", encoded=True), headers=backend())
    assert response.status == 400
    assert (await client.get(URL(f"{NOTES}?user=M%C3%B6ller", encoded=True), headers=backend())).status == 200
