"""Entities as a file declares them, and what tests of their doors have in common."""

import tomllib
from typing import Any

import orjson
import pytest

from favsync.catalog.declaration import read_entities
from favsync.catalog.entity import Entity
from tests.http.conftest import Client, bearer, token

Json = Any
SYNC_ANY = "sync:any"
DATE = "2020-01-01T00:00:00.000Z"

CONFERENCE = """
[entities.notes]
was = ["remarks", "jottings"]
[entities.notes.fields]
text = { type = "string", max_length = 1000 }
tags = { type = "list", item = { type = "string" } }
"a/b~c" = { type = "boolean" }
n = { type = "number" }
any = { type = "object" }
inner = { type = "object", fields = { "x.y" = { type = "integer", required = true } }, unknown = "drop" }

[entities.ratings]
unknown = "drop"
legacy = { get = "/getUserRatings", post = "/postUserRatings" }
[entities.ratings.fields]
stars = { type = "integer", required = true, min = 1, max = 5 }

[entities.sessions]
scope = "shared"
[entities.sessions.fields]
title = { type = "string", required = true }

[entities.free]
unknown = "keep"

[entities.bare]
"""


def declared(toml: str) -> tuple[Entity, ...]:
    """What a favsync.toml of this text declares, favourites first."""
    entities, mistakes = read_entities(tomllib.loads(toml).get("entities", {}))
    assert not mistakes, mistakes
    return entities


ENTITIES = declared(CONFERENCE)
WITH_THEM = pytest.mark.parametrize("overrides", [{"entities": ENTITIES}], ids=["declared"])


def record(item: str, action: str = "ADD", date: str = DATE, **more: Json) -> dict[str, Json]:
    return {"item": item, "actionDate": date, "action": action, **more}


def note(item: str, text: str = "", date: str = DATE, **more: Json) -> dict[str, Json]:
    return record(item, date=date, fields={"text": text}, **more)


def backend(subject: str = "backend", *, claims: dict[str, Json] | None = None, **headers: str) -> dict[str, str]:
    """The headers of one who may name any user."""
    return {"Authorization": f"Bearer {token(subject, scope=SYNC_ANY, **(claims or {}))}", **headers}


async def post(
    client: Client, path: str, content: Json, headers: dict[str, str] | None = None, /, **params: str
) -> Json:
    response = await client.post(path, json=content, params=params, headers=bearer() if headers is None else headers)
    assert response.status == 200, await response.text()
    return (await response.json())["receipts"]


async def get(client: Client, path: str, headers: dict[str, str] | None = None, /, **params: str) -> Json:
    response = await client.get(path, params=params, headers=bearer() if headers is None else headers)
    assert response.status == 200, await response.text()
    return await response.json()


async def cursor(client: Client, path: str, headers: dict[str, str] | None = None, /, **params: str) -> str:
    response = await client.get(path, params=params, headers=bearer() if headers is None else headers)
    assert response.status == 200, await response.text()
    return response.headers["Sync-Cursor"]


async def refused(
    client: Client, path: str, content: Json, headers: dict[str, str] | None = None, status: int = 422
) -> Json:
    """The problem that a POST is answered with: its faults where it has some, else its type."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    headers = (bearer() if headers is None else headers) | {"Content-Type": "application/json"}
    response = await client.post(path, data=body, headers=headers)
    assert response.status == status, await response.text()
    assert response.content_type == "application/problem+json"
    document = await response.json()
    return document.get("errors", document["type"])


def pointers(faults: Json) -> list[str]:
    return [fault["pointer"] for fault in faults]
