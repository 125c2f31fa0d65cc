"""The keys that seal tokens are changed as docs/peers.md says, beside the embedded database."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import SECRET, Service
from tests.e2e.test_cli import favsync
from tests.e2e.test_third_party import ThirdParty, ask
from tests.peers.third_party import until

PAGE = (Path(__file__).parents[2] / "docs/peers.md").read_text()
DATE = "2020-01-01T00:00:00.000Z"


@pytest.fixture
def party(tmp_path: Path) -> Iterator[ThirdParty]:
    example = ThirdParty(tmp_path)
    example.tokens.write_text("token-of-ann ann\n")
    example.start()
    yield example
    example.kill()


def _block(name: str, keys: Path, settings: dict[str, Any]) -> tuple[str, str]:
    """Runs the commands of the page, as a reader does who pastes them; what they print, and what they ought to."""
    [block] = re.findall(rf"<!-- console: {name} -->\n```console\n(.*?)```", PAGE, re.DOTALL)
    script = re.sub(r"^\$ ", "", "\n".join(re.findall(r"^\$ .*", block, re.MULTILINE)), flags=re.MULTILINE)
    script = re.sub(r"KEYS=.*", "", script).replace(".venv/bin/favsync", f"{sys.executable} -m favsync")
    named = {f"FAVSYNC_{name.upper()}": str(value) for name, value in settings.items()}
    done = subprocess.run(
        ["/bin/bash", "-uc", script], env=os.environ | named | {"KEYS": str(keys)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr, re.sub(r"^\$ .*\n", "", block, flags=re.MULTILINE)


async def test_as_the_page_says(party: ThirdParty, data_dir: Path, tmp_path: Path) -> None:
    config = tmp_path / "favsync.toml"
    config.write_text(f'[[peers]]\nname = "eau"\nurl = "{party.url}"\ninterval = "1s"\n')
    settings: dict[str, Any] = {"config": config, "data_dir": data_dir, "jwt_secret": SECRET}
    keys = data_dir / "link_key"
    shown = favsync("config", **settings).stdout
    assert re.search(r"^link_keys += \(made in data_dir\) +# default$", shown, re.MULTILINE)
    assert re.search(rf"^peers.eau.interval += 1s +# peers.eau.interval in {config}$", shown, re.MULTILINE)
    assert re.search(r"^peers.eau.precision += ms +# default$", shown, re.MULTILINE)
    service = Service(**settings)

    async def opens(item: str) -> None:
        """With the keys that there are now a change arrives at the peer."""
        service.request("POST", "/postUserFavorites", [{"item": item, "actionDate": DATE, "action": "ADD"}])
        await until(lambda: item in _items(party))

    service.start()
    service.request("PUT", "/peers/eau/link", {"token": "token-of-ann"})
    await opens("first")
    old = keys.read_text().strip()
    printed, expected = _block("a new key", keys, settings)
    assert printed == expected
    new, comma, rest = keys.read_text().strip().partition(",")
    assert (comma, rest, new != old, keys.stat().st_mode & 0o777) == (",", old, True, 0o600)
    service.stop()
    service.start()
    await opens("second")
    _fails_elsewhere(keys, settings)
    del settings["config"]  # which is not needed for this
    printed, expected = _block("the old one goes", keys, settings)
    assert printed == expected
    assert keys.read_text().strip() == new
    service.stop()
    service.start()
    await opens("third")
    service.stop()
    everything = "\n".join(service.lines)
    assert not any(secret in everything for secret in (old, new, "token-of-ann"))


def _fails_elsewhere(keys: Path, settings: dict[str, Any]) -> None:
    """With another data directory; nothing is made there, and nothing lost here."""
    both, elsewhere = keys.read_text(), keys.parent / "elsewhere"
    printed, _ = _block("the old one goes", keys, settings | {"data_dir": elsewhere})
    nor = f"and {elsewhere}/link_key is not there"
    assert printed == f"favsync: FAVSYNC_LINK_KEYS is not set, {nor}: say what the service was started with\n"
    assert (keys.read_text(), elsewhere.exists()) == (both, False)


def _items(party: ThirdParty) -> str:
    return str(ask(party.url, "GET", "/getUserFavorites", None, {"Authorization": "Bearer token-of-ann"}).content)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "is empty"), (b"short", "must be at least 32"), (b"\xff" * 40, "is not text"),
        (b"long enough to be a key, that of 32 bytes,short", "must be at least 32"),
    ],
)  # fmt: skip
def test_a_file_of_keys_that_cannot_be_used_is_named(text: bytes, said: str, data_dir: Path, tmp_path: Path) -> None:
    config = tmp_path / "favsync.toml"
    config.write_text('[[peers]]\nname = "eau"\nurl = "https://eau.example.org"\n')
    data_dir.mkdir(mode=0o711)
    (data_dir / "link_key").write_bytes(text)
    done = favsync("serve", config=config, data_dir=data_dir, jwt_secret=SECRET, port=0)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"favsync: {data_dir}/link_key: {said}")
    assert "short" not in done.stderr
