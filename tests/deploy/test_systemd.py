"""The systemd unit: what systemd itself says of it, and the real service under what it forbids."""

import grp
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.docs import runnable
from tests.deploy.machine import program, python_for_all
from tests.deploy.variables import meaningless
from tests.e2e.service import Service, postgres_pid

ROOT = Path(__file__).parents[2]
UNIT = (ROOT / "deploy/favsync.service").read_text()
DROP_IN = (ROOT / "deploy/favsync-database.conf").read_text()
EXPOSURE_MAX = 15  # of 100, as systemd reckons
RECORD = {"item": "a", "actionDate": "2020-01-01T00:00:00.000Z", "action": "ADD"}


def _values(key: str, text: str = UNIT) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def installed(session_dir: Path) -> Path:
    """What docs/deploy.md installs into /opt/favsync."""
    place, tools = session_dir / "opt-favsync", session_dir / "tools"
    tools.mkdir()
    (tools / "python3").symlink_to(python_for_all())
    script = runnable("install").replace("/opt/favsync", str(place))
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        ["/bin/bash", "-euc", script], cwd=ROOT, env=environment | {"PATH": f"{tools}:/usr/bin:/bin"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def state(session_dir: Path) -> Iterator[Path]:
    """What systemd makes of StateDirectory."""
    folder = Path(tempfile.mkdtemp(dir=session_dir))
    if (uid := _account()) is not None:
        os.chown(folder, uid, uid)
    yield folder
    shutil.rmtree(folder)


def _account() -> int | None:
    return 65534 if os.geteuid() == 0 else None


def _system_calls(group: str) -> set[str]:
    printed = subprocess.run(
        [program("systemd-analyze"), "--no-pager", "syscall-filter", group], capture_output=True, text=True, check=True
    ).stdout
    names = {line.strip() for line in printed.splitlines()[1:] if not line.strip().startswith("#")} - {""}
    return set().union(*(_system_calls(name) if name.startswith("@") else {name} for name in names))


def _sandboxed(*command: str | Path) -> list[str | Path]:
    allowed = _system_calls("@default")
    for value in _values("SystemCallFilter"):
        for group in value.removeprefix("~").split():
            allowed = allowed - _system_calls(group) if value.startswith("~") else allowed | _system_calls(group)
    [families], [umask] = _values("RestrictAddressFamilies"), _values("UMask")
    rules = {"uid": _account(), "allowed": sorted(allowed), "families": families.split(), "umask": int(umask, 8)}
    return [python_for_all(), ROOT / "tests/deploy/sandbox.py", json.dumps(rules), *command]


def test_systemd_understands_it_and_finds_it_closed(installed: Path, tmp_path: Path) -> None:
    unit = tmp_path / "favsync.service"
    unit.write_text(UNIT.replace("/opt/favsync", str(installed)))
    (tmp_path / "favsync.service.d").mkdir()
    (tmp_path / "favsync.service.d/database.conf").write_text(DROP_IN)
    checked = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", unit],
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    ours = [line for line in (checked.stdout + checked.stderr).splitlines() if "favsync" in line]
    assert (checked.returncode, ours) == (0, [])
    rated = subprocess.run(
        [program("systemd-analyze"), "--no-pager", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert rated.returncode == 0, rated.stdout


def test_it_names_settings_and_keeps_no_secret() -> None:
    names = [value.split("=")[0] for value in _values("Environment") + _values("Environment", DROP_IN)]
    assert not meaningless(names)
    assert [name for name in names if "SECRET" in name or "URL" in name] == [
        "FAVSYNC_DATABASE_URL_FILE", "FAVSYNC_JWT_SECRET_FILE",
    ]  # fmt: skip
    credentials = {value.split(":")[0] for value in _values("LoadCredential", DROP_IN)}
    assert credentials == set(re.findall(r"=%d/(\S+)", DROP_IN))
    assert _values("StandardOutput") == ["null"]  # where the greeting goes, which holds a token


def test_a_setting_that_is_wrong_does_not_loop_for_ever() -> None:
    keys = ("StartLimitBurst", "StartLimitIntervalSec", "RestartSec")
    tries, interval_s, pause_s = (int(*_values(key)) for key in keys)
    assert tries * (pause_s + 5) < interval_s  # it takes a second or two to find out


def test_the_nightly_recipes_run_as_the_account_on_what_was_installed(installed: Path, state: Path) -> None:
    page = (ROOT / "docs/backup.md").read_text()
    [make] = re.findall(r"<!-- console: nightly -->\n```console\n\$ (.*)\n```", page)
    [account, by_cron] = re.findall(r"^    15 3 \* \* \*  (\w+)  (.*)$", page, re.MULTILINE)[0]
    [there] = re.findall(r"`runuser -u favsync -- (env \S+ \S+)`", page)
    [by_systemd] = re.findall(r"^    ExecStart=(.*)$", page, re.MULTILINE)
    assert [account, *re.findall(r"^    User=(.*)$", page, re.MULTILINE), *_values("User")] == ["favsync"] * 3
    uid = os.geteuid() if _account() is None else _account()
    entry, backups = pwd.getpwuid(uid or 0), state.parent / f"{state.name}-backups"
    rights: dict[str, Any] = {"user": uid, "group": entry.pw_gid, "extra_groups": []} if _account() else {}
    given = {"/opt/favsync": str(installed), "/var/lib/favsync": str(state), "/var/backups/favsync": str(backups)}

    def run(command: str, **popen: Any) -> str:
        for named, there in given.items():
            command = command.replace(named, there)
        clean = {"PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            ["/bin/sh", "-c", command], env=clean, cwd="/", stdout=subprocess.PIPE, text=True, check=True, **popen
        )
        return str(done.stdout)

    service = Service(data_dir=state)
    service.command = _sandboxed(installed / "bin/favsync", "serve")
    with service:
        assert service.request("POST", "/postUserFavorites", [RECORD]).status == 200
        group = grp.getgrgid(entry.pw_gid).gr_name
        run(make.replace("-o favsync -g favsync", f"-o {entry.pw_name} -g {group}"))
        assert (backups.stat().st_uid, backups.stat().st_mode & 0o777) == (uid, 0o700)
        try:
            assert ": 1 records, " in run(by_cron.replace("\\%", "%"), **rights)
            assert ": 1 records, " in run(by_systemd, **rights)
            assert len(list(backups.iterdir())) == 2
            assert run(f"{there} psql -Atc 'SELECT count(*) FROM records'", **rights) == "1\n"
        finally:
            shutil.rmtree(backups)


def test_the_sandbox_of_the_next_test_is_one() -> None:
    script = """
import errno, mmap, os, socket
for attempt in (
    lambda: os.setpriority(os.PRIO_PROCESS, 0, 5),
    lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
):
    try:
        attempt()
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
    command = _sandboxed(python_for_all(), "-c", script)
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.split() == ["EPERM", "EAFNOSUPPORT", "EPERM"]


@pytest.mark.parametrize("workers", [1, 2])
def test_it_serves_under_what_the_unit_forbids(installed: Path, state: Path, workers: int) -> None:
    service = Service(data_dir=state, workers=workers)
    service.command = _sandboxed(installed / "bin/favsync", "serve")
    with service:
        assert service.request("POST", "/postUserFavorites", [RECORD]).status == 200
        os.kill(postgres_pid(state), signal.SIGKILL)
        deadline = time.monotonic() + 30
        # Sessions of the killed server live on for a moment: one answer proves nothing of the next.
        while (answer := service.request("GET", "/getUserFavorites")).status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert answer.content == [RECORD]
        service.kill()  # and leaves a PostgreSQL over
        service.start()
        assert service.request("GET", "/getUserFavorites").content == [RECORD]
        assert service.stop() == 0
