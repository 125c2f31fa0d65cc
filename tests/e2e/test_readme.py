"""The README is true: its commands are run, and print what it says they print."""

import doctest
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from favsync.core import merge
from tests import settings_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
# `<!-- console: why -->` before a block says why it is not simply run.
BLOCK = re.compile(r"(?:<!-- console: (.*?) -->\n)?```console\n(.*?)```", re.DOTALL)
READY_S = 90


class Served:
    """What a page's `make serve` has started: the environment for its commands, and what it printed."""

    def __init__(self, folder: Path) -> None:
        self.port, self._peer_port = _free_port(), _free_port()
        self._folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("FAVSYNC_", "MAKE"))}
        self.environment = clean | {"FAVSYNC_PORT": self.port, "FAVSYNC_DATA_DIR": str(folder / "readme")}
        self.printed = ""
        self._out = folder / "printed"
        self._process: subprocess.Popen[bytes] | None = None
        self._beside: subprocess.Popen[bytes] | None = None

    def here(self, text: str) -> str:
        """With ports that are free, and files that nobody else has."""
        config = self._folder / "peers.toml"
        config.write_text((ROOT / "examples/peers.toml").read_text().replace(":8090", f":{self._peer_port}"))
        text = text.replace("examples/peers.toml", str(config)).replace("build/", f"{self._folder}/")
        return text.replace(":8080", f":{self.port}").replace(":8090", f":{self._peer_port}")

    def start_beside(self, commands: list[str]) -> None:
        """The other backend, by the last of the commands."""
        *before, last = (self.here(command) for command in commands)
        _run("\n".join(before), self.environment)
        self._beside = subprocess.Popen(
            ["/bin/bash", "-c", f"exec {last} --port {self._peer_port}"], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert self._beside.stdout
        assert b"listening" in self._beside.stdout.readline()

    def start(self, *commands: str) -> None:
        """By the last of them, in place of what runs already."""
        self.stop()
        *before, command = (self.here(command) for command in commands)
        _run("\n".join(before), self.environment)
        with self._out.open("wb") as out:
            script = ["/bin/bash", "-c", f"exec env {command}"]
            self._process = subprocess.Popen(script, cwd=ROOT, env=self.environment, stdout=out)
        deadline = time.monotonic() + READY_S
        while "getUserFavorites" not in self._out.read_text():
            assert self._process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        self.printed = self._out.read_text()

    def end(self) -> None:
        self.stop()
        if self._beside is not None:
            self._beside.terminate()
            self._beside.communicate(timeout=20)

    def stop(self) -> None:
        """The service, and not what is beside it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            assert self._process.wait(20) in (
                0,
                -signal.SIGTERM,
            )  # make's own end; the service has then ended before it
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", int(self.port)))


@pytest.fixture(scope="module")
def served(session_dir: Path) -> Iterator[Served]:
    serving = Served(session_dir)
    serving.start("make serve")
    yield serving
    serving.end()


def _free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def _run(script: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_make_serve_prints_can_be_pasted(served: Served) -> None:
    record = '{"item":"session_21982","actionDate":"2017-05-02T10:45:12.798Z","action":"ADD"}'
    receipt = '{"item":"session_21982","outcome":"applied","action":"ADD","actionDate":"2017-05-02T10:45:12.798Z"}'
    script = served.printed.replace("curl -sS", "echo; curl -sS")
    assert _run(script, served.environment).split() == [f'{{"receipts":[{receipt}]}}', f"[{record}]"]
    assert f"http://127.0.0.1:{served.port}/getUserFavorites" in served.printed


@pytest.mark.parametrize(
    ("page", "not_run"),
    [
        (
            "README.md",
            [
                "serve", "beside", "serve", "serve", "goes on until Ctrl-C",
                "not run by the test of this page, which is one of them", "needs a server of yours",
            ],
        ),
        ("docs/operate.md", []),
    ],
)  # fmt: skip
def test_its_commands_print_what_it_says(served: Served, page: str, not_run: list[str], tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / page).read_text())
    assert [reason for reason, _ in blocks if reason] == not_run
    kept = tmp_path / "variables"  # of one shell, for the one after the next `make serve`
    kept.touch()
    ran = 0
    for reason, text in blocks:
        parts = [_split(part) for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]]
        if reason == "serve" and ran:
            served.start(*(command for command, _ in parts))
        if reason == "beside":
            served.start_beside([command for command, _ in parts])
        if reason:
            continue
        script = served.here("\n".join(f"{command}; echo; echo ---" for command, _ in parts))
        keep = f"declare -p | grep -E '^declare -- (TOKEN|BACKEND|CURSOR)=' >{kept} || true"
        printed = _run(f"source {kept}\n{script}\n{keep}", served.environment)
        assert [part.strip() for part in printed.split("\n---\n")[:-1]] == [served.here(output) for _, output in parts]
        ran += len(parts)
    assert ran


def _split(part: str) -> tuple[str, str]:
    """A command, which goes on for as long as a quote is open, and what it prints."""
    lines = part.splitlines()
    for end in range(1, len(lines) + 1):
        command = "\n".join(lines[:end])
        if command.count("'") % 2 == 0:
            return command, "\n".join(lines[end:]).strip()
    raise AssertionError(part)


def test_its_truth_table_is_the_one_that_the_doctest_prints() -> None:
    examples = doctest.DocTestParser().get_examples(merge.__doc__ or "")
    [table] = [example.want for example in examples if example.source == "truth_table()\n"]
    assert table in README


def test_its_settings_are_those_there_are() -> None:
    assert "\n".join(settings_table.rows()) in README


def test_every_target_it_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", README)) <= targets


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CHANGELOG.md",
        *(f"docs/{path.relative_to(ROOT / 'docs')}" for path in (ROOT / "docs").rglob("*.md")),
    ],
)
def test_every_link_within_leads_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text()):
        if "://" not in link:
            assert ((ROOT / page).parent / link).exists(), link
