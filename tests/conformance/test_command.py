"""`favsync peer check` in a process of its own; and the documents that show it."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from favsync.peering import read_peers
from tests.conformance.backend import TOKEN
from tests.conformance.conftest import Start
from tests.e2e.test_third_party import ThirdParty

ROOT = Path(__file__).parents[2]
CHECK = re.compile(r"<!-- console: check -->\n```console\n\$ (.*?)\n(.*?)```", re.DOTALL)
RUN = re.compile(r"favsync-check-[0-9a-f]{8}-")


@pytest.fixture
def example(tmp_path: Path) -> Iterator[ThirdParty]:
    party = ThirdParty(tmp_path)
    party.tokens.write_text(f"{TOKEN} ann\ntoken-of-check check\n")
    party.start()
    yield party
    party.kill()


async def check(*words: str, token: str | None = TOKEN) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FAVSYNC_")}
    named = {} if token is None else {"FAVSYNC_PEER_TOKEN": token}
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "favsync", "peer", "check", *words],
        env=clean | named, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("page", ["docs/peers.md", "examples/third_party/README.md"])
def test_what_the_documents_show_is_what_it_prints(page: str, example: ThirdParty) -> None:
    [(command, printed)] = CHECK.findall((ROOT / page).read_text())
    script = re.sub(r"(\.\./)*\.venv/bin/favsync", f"{sys.executable} -m favsync", command)
    script = script.replace("http://127.0.0.1:8090", example.url)
    done = subprocess.run(["/bin/bash", "-ec", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    if printed:
        shown = done.stdout.replace(example.url, "http://127.0.0.1:8090")
        assert RUN.sub("favsync-check-…-", shown).strip() == RUN.sub("favsync-check-…-", printed).strip()


async def test_the_example_passes(example: ThirdParty) -> None:
    done = await check(example.url, "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, done.stderr, report["ok"], report["url"]) == (0, "", True, example.url)
    assert [one["check"] for one in report["findings"] if one["mark"] != "ok"] == ["future"]
    assert report["settings"] == {"precision": "us"}
    assert set(report["findings"][0]) == {"check", "mark", "says", "settings"}


async def test_what_cannot_be_synced_with_is_said_and_is_status_1(backend: Start) -> None:
    done = await check((await backend("arrival")).url)
    assert done.returncode == 1
    assert "\nfails    older         an older action replaces a newer" in done.stdout
    assert done.stdout.endswith("\nIt cannot be synced with as it is: older.\n")
    assert done.stderr == ""


async def test_what_fits_is_written_as_the_settings_have_it(backend: Start) -> None:
    one = await backend("no tombstones")
    done = await check(one.url)
    table = f'    [[peers]]\n    name = "…"\n    url = "{one.url}"\n    precision = "us"\n    absence = "delete"\n'
    assert (done.returncode, done.stdout.endswith(table)) == (0, True)
    assert ' → absence = "delete"\n' in done.stdout


async def test_a_fault_of_the_network_is_a_line(backend: Start) -> None:
    one = await backend()
    await one.stop()
    done = await check(one.url)
    said, blank, verdict = done.stdout.splitlines()
    assert (done.returncode, done.stderr, blank) == (1, "", "")
    assert said == (
        "fails    get           GET /getUserFavorites: there is no connection: Connection refused: "
        "there is nothing to read"
    )
    assert verdict == "It cannot be synced with as it is: get."


@pytest.mark.parametrize("fault", ["", "html", "anybody writes", "500 to bad input"])
async def test_the_token_is_never_printed(fault: str, backend: Start) -> None:
    one = await backend(fault)
    for words in ([], ["--json", "--read-only"], ["--post", "no-path"]):
        done = await check(one.url, *words)
        assert TOKEN not in done.stdout + done.stderr


async def test_paths_items_and_the_account_may_be_others(backend: Start) -> None:
    one = await backend("other header")
    one.has = dict([one._read({"item": "theirs", "actionDate": "2026-01-01T00:00:00Z", "action": "ADD"})])
    paths = ["--get", "/mine/{user}/list", "--post", "/mine/{user}/changes", "--user", "a n/n", "--header", "X-Key"]
    done = await check(one.url, *paths, "--item", "session_", "--token", TOKEN, token="another")
    assert done.returncode == 0, done.stdout
    assert all(item.startswith("session_") for item in one.has if item != "theirs")
    [others, mine] = sorted({path.rpartition("/")[0] for path in one.paths}, key=len, reverse=True)
    assert (others.startswith("/mine/favsync-check-"), mine) == (True, "/mine/a%20n%2Fn")
    assert "\nok       accounts      a name that nobody has shows no list of ours\n" in done.stdout
    assert '\n    get = "/mine/{user}/list"\n    post = "/mine/{user}/changes"\n' in done.stdout


async def test_what_it_prints_is_what_favsync_takes(backend: Start) -> None:
    """Whatever was said on the command line."""
    one = await backend("other header")
    paths = ["--get", "/mine/{user}/list", "--post", "/mine/{user}/changes", "--user", "ann"]
    done = await check(one.url, *paths, "--header", "X-Key")
    _, _, table = done.stdout.partition("In favsync.toml:\n\n")
    table = table.replace('name = "…"', 'name = "eau"').replace('value_file = "…"', 'value = "key"')
    [peer] = tomllib.loads(table)["peers"]
    [read] = read_peers([peer], Path())
    assert (read.get, read.post, read.header) == ("/mine/{user}/list", "/mine/{user}/changes", ("X-Key", "key"))


@pytest.mark.parametrize("read_only", [True, False])
async def test_a_path_in_which_the_account_counts_for_nothing_is_found(read_only: bool, backend: Start) -> None:
    """Such as that of a key that may not name anybody: every link would get its owner's list."""
    one = await backend("one list for all")
    if read_only:
        one.has = dict([one._read({"item": "theirs", "actionDate": "2026-01-01T00:00:00Z", "action": "ADD"})])
    paths = ["--get", "/mine/{user}/list", "--post", "/mine/{user}/changes", "--user", "ann"]
    done = await check(one.url, *paths, "--header", "Authorization", *(["--read-only"] if read_only else []))
    assert (done.returncode, len(one.posts) > 0) == (1, not read_only)
    assert "\nfails    accounts      a name that nobody has shows the same list" in done.stdout


async def test_read_only_is_read_only(backend: Start) -> None:
    one = await backend()
    done = await check(one.url, "--read-only")
    assert (done.returncode, one.posts) == (0, [])
    assert '\ndiffers  post          not tried, as you wanted it → direction = "pull"\n' in done.stdout
    assert "\nIt can be read from. In favsync.toml:\n" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["http://a.example"], "the URL must begin with https"),
        (["http://a.example"], "--allow-http"),
        (["http://a.example?x=1"], "ends with its path ╰"),
        (["no URL"], "the URL needs a scheme and a host"),
        (["https://ann:secret@a.example"], "the URL holds a user or a password"),
        (["https://a.example", "--get", "list"], "a path begins with a slash"),
        (["https://a.example/x/getUserFavorites"], "leave /getUserFavorites away"),
        (["https://a.example", "--get", "/{user}"], "{user} in a path goes with it"),
        (["https://a.example", "--user", "ann"], "goes with {user} in the paths"),
        (["https://a.example", "--get", "/{user}", "--header", "X"], "{user} has to be in each path"),
        (
            ["https://a.example", "--get", "/{user}", "--post", "/{user}", "--header", "X"],
            "is what {user} in a path stands for",
        ),
        (["https://a.example", "--header", "no header"], "is not the name of a header"),
        (["https://a.example", "--item", "x" * 200], "is text of up to"),
        (["https://a.example", "--timeout", "soon"], "is not a duration"),
        (["https://a.example", "--timeout", "0s"], "must be above 0"),
        (["https://a.example", "--token", "two words"], "a bearer token is ASCII"),
        ([], "Missing argument"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_the_command_is_status_2(words: list[str], said: str) -> None:
    done = await check(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.replace("│", " ").split())


async def test_without_a_token_nothing_is_asked(backend: Start) -> None:
    one = await backend()
    done = await check(one.url, token=None)
    assert (done.returncode, one.seen) == (2, [])


async def test_where_it_is_stopped_it_says_so_and_cleans_up(backend: Start) -> None:
    one = await backend()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FAVSYNC_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "favsync", "peer", "check", one.url,
        env=clean | {"FAVSYNC_PEER_TOKEN": TOKEN}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not any(not version.deleted for version in one.has.values()):
        await asyncio.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err.decode()) == (1, "favsync: stopped before it was done\n")
    assert "\nfails    stopped       it was stopped, and nothing more is tried; what was written is" in out.decode()
    assert out.decode().splitlines()[-1].startswith("ok       left")
    assert all(version.deleted for version in one.has.values())
