"""The document is true: whatever it allows is tried on a real service, and answered as it says."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.service import Service, token

HERE = Path(__file__).parent
EXAMPLES = int(os.environ.get("TEST_FUZZ_EXAMPLES", "200"))
SEED = os.environ.get("TEST_FUZZ_SEED", "1")
TIMEOUT_S = 180 + 1.5 * EXAMPLES  # three times what it takes
# Reading is the same code behind each path: a fifth is enough where another path has had all.
LESS = f"""
[[operations]]
include-name-regex = "^(GET|HEAD) /(sync(/plan)?|feed/.*)$"
generation.max-examples = {max(EXAMPLES // 5, 100)}

# Four hundred ways to break the query beside each kind of record: those are tried at the paths of one entity.
[[operations]]
include-name = "POST /sync"
phases.coverage.enabled = false
"""


@pytest.mark.timeout(TIMEOUT_S + 60)
def test_what_the_document_allows_is_answered_as_it_says(dsn: str, tmp_path: Path) -> None:
    report, config = tmp_path / "report.json", tmp_path / "fuzz.toml"
    config.write_text((HERE / "fuzz.toml").read_text() + LESS)
    hooks = {"SCHEMATHESIS_HOOKS": "fuzz_hooks", "PYTHONPATH": str(HERE)}
    with Service(database_url=dsn, config=HERE / "fuzz_entities.toml") as service:
        bearer = {"Authorization": f"Bearer {token('ann', 'sync:any', 'feed:read')}"}
        paths = ("/getUserFavorites", "/sync", "/sync/things", "/sync/plan")
        cursors = {path: service.request("GET", path).headers["Sync-Cursor"] for path in paths}
        cursors["/postUserFavorites"] = cursors["/getUserFavorites"]
        feeds = ("/feed/things", "/feed/plan")
        cursors |= {path: service.request("GET", path, user=None, headers=bearer).content["cursor"] for path in feeds}
        done = subprocess.run(
            [
                Path(sys.executable).parent / "schemathesis", "--config-file", config, "run",
                f"{service.url}/openapi.json", "--header", f"Authorization: {bearer['Authorization']}",
                # as the seed's paths, and `user` is tried at /sync/things; and as the other feeds
                "--exclude-path", "/sync/favorites", "--exclude-path", "/feed/favorites",
                "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--seed", SEED,
                "--continue-on-failure", "--generation-database", "none", "--no-color",
                "--report", "json", "--report-json-path", report,
            ],
            env=os.environ | hooks | {"FUZZ_CURSORS": json.dumps(cursors)},
            cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        counted = _answers(service)
        document = service.request("GET", "/openapi.json").content
    assert json.loads(report.read_text())["complete"]
    assert counted["POST /postUserFavorites"]["204"]
    reading = [f"{method} {path}" for path in (*paths, *feeds) for method in ("GET", "HEAD")]
    for operation in (*reading, "POST /postUserFavorites", "POST /sync", "POST /sync/things", "POST /sync/plan"):
        answers = counted[operation]
        print(operation, dict(answers))  # noqa: T201
        assert answers.total() >= (EXAMPLES if operation.split()[1] not in ("/sync", "/sync/plan", *feeds) else 100)
        taken = sum(count for status, count in answers.items() if status.startswith("2"))
        assert taken >= answers.total() / (3 if EXAMPLES >= 1000 else 4), (
            "the ways to break it are as many for few examples"
        )
    assert not [status for answers in counted.values() for status in answers if status.startswith("5")]
    named = {status for item in document["paths"].values() for one in item.values() for status in one["responses"]}
    assert all(re.fullmatch(r"[1-5]\d\d", status) for status in named)


def _answers(service: Service) -> dict[str, Counter[str]]:
    """How often each operation was answered with which status, as the service itself counted."""
    counted: dict[str, Counter[str]] = {}
    pattern = r'^favsync_http_request_duration_seconds_count\{method="(\w+)",route="([^"]+)",status="(\d+)"\} (\S+)$'
    for method, route, status, count in re.findall(pattern, service.text("/metrics"), re.MULTILINE):
        counted.setdefault(f"{method} {route}", Counter())[status] += int(float(count))
    return counted
