"""What Prometheus reads."""

import asyncio
import re
import time

import asyncpg
import pytest

from favsync.http import monitor
from tests.http.conftest import Client, Serve, bearer, token


async def read(client: Client) -> dict[str, float]:
    """Every sample, by its name and labels as they are written."""
    response = await client.get("/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = [line for line in (await response.text()).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def requests(method: str, route: str, status: int) -> str:
    return f'favsync_http_request_duration_seconds_count{{method="{method}",route="{route}",status="{status}"}}'


async def test_requests_and_receipts_are_counted(client: Client) -> None:
    future = {"item": "x", "actionDate": "2090-01-01T00:00:00Z", "action": "ADD"}
    past = {"item": "x", "actionDate": "2020-01-01T00:00:00Z", "action": "ADD"}
    for _ in range(2):
        await client.post("/postUserFavorites", json=[past, future], headers=bearer())
    await client.post("/postUserFavorites", json=[past, {}], headers=bearer(Prefer="handling=lenient"))
    await client.get("/getUserFavorites")
    for path in ("/nothing", "/nothing/else", "/getUserFavorites/x"):
        await client.get(path)
    await client.request("BREW", "/getUserFavorites", headers=bearer())
    await read(client)  # on a connection that stays
    await asyncio.sleep(2 * monitor.LOOK_S)
    samples = await read(client)
    assert samples[requests("POST", "/postUserFavorites", 200)] == 3
    assert samples[requests("GET", "/getUserFavorites", 401)] == 1
    assert samples[requests("GET", "none", 404)] == 3
    outcomes = {
        name: samples[f'favsync_receipts_total{{outcome="{name}"}}'] for name in ("applied", "duplicate", "future")
    }
    assert outcomes == {"applied": 1, "duplicate": 2, "future": 2}
    assert samples['favsync_receipts_total{outcome="invalid"}'] == 1
    assert samples["favsync_database_connections_max"] == 10
    assert samples['favsync_database_connections{state="idle"}'] >= 1
    assert samples["favsync_http_connections"] >= 1
    assert samples["favsync_http_connections_max"] == 10_000
    assert samples["process_resident_memory_bytes"] > 0


async def test_no_series_is_made_of_what_a_caller_chooses(client: Client) -> None:
    before = len(await read(client))
    for number in range(30):
        await client.request(f"M{number}", f"/x{number}", headers={"X-Request-ID": f"id-{number}"})
        await client.get(f"/problems/x{number}")
    response = await client.get("/metrics")
    text = await response.text()
    assert len(text.splitlines()) < before + 100
    for number in range(30):
        assert f"x{number}" not in text
        assert f"M{number}" not in text


async def test_nobody_is_named(client: Client) -> None:
    await client.post(
        "/postUserFavorites",
        json=[{"item": "secret-item", "actionDate": "2020-01-01T00:00:00Z", "action": "ADD"}],
        headers=bearer("somebody"),
    )
    text = await (await client.get("/metrics")).text()
    for secret in ("secret-item", "somebody", token("somebody")):
        assert secret not in text


async def test_the_age_of_the_oldest_change_that_waits(
    serve: Serve, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "PENDING_S", 0.05)
    client = await serve()

    async def until(low: float, high: float) -> None:
        deadline = time.monotonic() + 10
        while not low <= (await read(client))["favsync_feed_pending_age_seconds"] <= high:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    await until(0, 0)
    record = {"item": "x", "actionDate": "2020-01-01T00:00:00Z", "action": "ADD"}
    await client.post("/postUserFavorites", json=[record], headers=bearer())
    while (await read(client))["favsync_feed_placed_total"] != 1:
        await asyncio.sleep(0.05)
    async with connection.transaction():  # which the sequencers cannot get past
        await connection.execute("SELECT FROM feed_head FOR UPDATE")
        await client.post("/postUserFavorites", json=[record | {"item": "y"}], headers=bearer())
        await until(0.000001, 60)
    await until(0, 0)
    assert (await read(client))["favsync_feed_placed_total"] == 2


async def test_a_stalled_event_loop_shows(client: Client) -> None:
    await asyncio.sleep(monitor.LOOK_S / 2)
    time.sleep(monitor.LOOK_S + 0.3)
    await asyncio.sleep(0.1)
    samples = await read(client)
    slow = samples["favsync_event_loop_lag_seconds_count"] - samples['favsync_event_loop_lag_seconds_bucket{le="0.25"}']
    assert slow >= 1


async def test_with_a_port_of_its_own_it_is_not_on_the_other(serve: Serve) -> None:
    client = await serve(metrics_port=9100)
    assert (await client.get("/metrics")).status == 404
    assert not re.search(r"/metrics", await (await client.get("/openapi.json")).text())
