"""docs/client.md is true: it quotes what runs, and its commands do what it says."""

import asyncio
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.device_program import EXAMPLES, NODE
from tests.e2e.service import SECRET, Service
from tests.postgres import Server

ROOT = EXAMPLES.parent
DOCUMENT = (ROOT / "docs" / "client.md").read_text()
PYTHON = (EXAMPLES / "device" / "device.py").read_text()
TYPESCRIPT = "".join((EXAMPLES / "device" / name).read_text() for name in ("device.ts", "live.ts"))


@pytest.mark.parametrize(
    ("kind", "sources"), [("python", [PYTHON]), ("typescript", [TYPESCRIPT]), ("sql", [PYTHON, TYPESCRIPT])]
)
def test_what_it_quotes_is_in_the_programs(kind: str, sources: list[str]) -> None:
    quotes = re.findall(rf"```{kind}\n(.*?)\n```", DOCUMENT, re.DOTALL)
    assert len(quotes) >= 3
    for quote in quotes:
        assert all(quote in source for source in sources), quote


def test_its_commands_do_what_it_says(postgres: Server, tmp_path: Path) -> None:
    [block] = re.findall(r"```console\n(.*?)```", DOCUMENT, re.DOTALL)
    name = asyncio.run(postgres.create_database())
    clean = {key: value for key, value in os.environ.items() if not key.startswith("FAVSYNC_")}
    environment = clean | {"FAVSYNC_JWT_SECRET": SECRET, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    with Service(database_url=postgres.dsn(name)) as service:
        script = block.replace("http://127.0.0.1:8080", service.url).replace("$ ", "", 1).replace("\n$ ", "\n")
        script = script.replace("python3 ", f"{sys.executable} ").replace("node ", f"{NODE} ")
        script = script.replace(".venv/bin/favsync", f"{sys.executable} -m favsync")
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", script],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        listing = json.loads(done.stdout.splitlines()[-1])
        assert listing["records"] == service.request("GET", "/getUserFavorites").content
    asyncio.run(postgres.drop_database(name))
    assert [(one["item"], one["action"]) for one in listing["records"]] == [
        ("session_21982", "DELETE"),
        ("session_7", "ADD"),
    ]
    at = datetime.fromisoformat(listing["records"][1]["actionDate"])
    assert abs((at - datetime.now(UTC)).total_seconds()) < 60
