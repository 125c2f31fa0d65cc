"""The bodies that the OpenAPI document shows are taken as they are: the page at /docs sends them."""

from pathlib import Path

import pytest

from favsync.http.doors import JSON
from favsync.settings_sources import declared as declared_in
from tests.http.conftest import Serve, bearer
from tests.http.declared import Json, backend, declared

ROOT = Path(__file__).parents[2]
HARD = """
[entities.hard.fields]
x = { type = "string", required = true, pattern = "^nobody guesses this$" }
[entities.late]
was = ["later"]
"""


def posts(document: Json) -> dict[str, Json]:
    """The operations that write, by path."""
    return {path: item["post"] for path, item in document["paths"].items() if "post" in item}


@pytest.mark.parametrize("file", ["examples/entities.toml", "tests/e2e/fuzz_entities.toml"])
async def test_every_example_of_the_document_is_applied(serve: Serve, file: str) -> None:
    entities, faults = declared_in(ROOT / file)
    assert faults == []
    client = await serve(entities=entities)
    operations = posts(await (await client.get("/openapi.json")).json())
    assert len(operations) >= 5
    for number, (path, operation) in enumerate(operations.items()):
        example = operation["requestBody"]["content"][JSON]["example"]
        needed = operation["security"] == [{"bearer": ["sync:any"]}]
        headers = backend() if needed else bearer(f"user{number}")
        answer = await client.post(path, json=example, headers=headers)
        receipts = (await answer.json())["receipts"]
        assert answer.status == 200
        by_entity = receipts if path == "/sync" else {path: receipts}
        assert len(by_entity) == (2 if path == "/sync" else 1)
        assert [one["outcome"] for found in by_entity.values() for one in found] == ["applied"] * len(by_entity)


async def test_what_has_no_example_is_left_out(serve: Serve) -> None:
    client = await serve(entities=declared(HARD), max_batch=1)
    operations = posts(await (await client.get("/openapi.json")).json())
    shown = {path: one["requestBody"]["content"][JSON].get("example") for path, one in operations.items()}
    assert shown["/sync/hard"] is None
    assert shown["/sync/later"] == shown["/sync/late"] == shown["/sync/favorites"]
    assert shown["/sync"] == {"favorites": shown["/sync/favorites"]}, "no more records than a request may have"
