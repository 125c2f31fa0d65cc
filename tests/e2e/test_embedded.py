"""The embedded PostgreSQL, when things die."""

import contextlib
import http.client
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.e2e.service import SECRET, Service, postgres_pid
from tests.e2e.test_cli import favsync

RECORD = {"item": "a", "actionDate": "2020-01-01T00:00:00.000Z", "action": "ADD"}


def _until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def _remembers(service: Service) -> bool:
    return bool(service.request("GET", "/getUserFavorites").content == [RECORD])


def _store(service: Service) -> None:
    answer = service.request("POST", "/postUserFavorites", [RECORD])
    assert answer.status == 200, answer


def test_it_stops_as_it_was_told_and_starts_again(data_dir: Path) -> None:
    service = Service(data_dir=data_dir)
    service.start()
    _store(service)
    pid = postgres_pid(data_dir)
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began < 10
    assert _gone(pid)
    with service:
        assert _remembers(service)


def test_nothing_of_it_is_open_to_others(data_dir: Path) -> None:
    with Service(data_dir=data_dir, jwt_secret="") as service:
        service.request("GET", "/healthz")
        for name in ("jwt_secret", "postgres-password", "lock"):
            assert (data_dir / name).stat().st_mode & 0o077 == 0, name
        home = data_dir / "postgres"
        assert home.stat().st_mode & 0o777 == 0o700
        assert (data_dir / "run").stat().st_mode & 0o777 == 0o700
        owner = psutil.Process(postgres_pid(data_dir)).uids().real
        assert owner == home.stat().st_uid
        assert owner != 0
        assert SECRET not in (data_dir / "jwt_secret").read_text()
        assert not psutil.Process(postgres_pid(data_dir)).net_connections("inet")
        hba = (home / "data" / "pg_hba.conf").read_text()
        rules = [line.split()[-1] for line in hba.splitlines() if line.strip() and not line.startswith("#")]
        assert set(rules) == {"scram-sha-256"}


def test_postgresql_killed_alone_is_started_again_by_the_running_service(data_dir: Path) -> None:
    with Service(data_dir=data_dir) as service:
        _store(service)
        for _ in range(2):
            os.kill(postgres_pid(data_dir), signal.SIGKILL)
            service.wait_for("the embedded PostgreSQL ended; starting it again")
            _until(lambda: service.request("GET", "/readyz").status == 200)
            assert _remembers(service)
            assert service.request("GET", "/healthz").status == 200


def test_while_the_database_is_away_the_service_says_so_and_heals(data_dir: Path) -> None:
    with Service(data_dir=data_dir) as service:
        _store(service)
        server = psutil.Process(postgres_pid(data_dir))
        stopped = [server, *server.children()]
        for process in stopped:
            process.suspend()  # it neither answers nor refuses
        try:
            threads = [
                threading.Thread(target=service.request, args=("POST", "/postUserFavorites", [RECORD]))
                for _ in range(30)
            ]
            for thread in threads:
                thread.start()
            assert service.request("GET", "/readyz", timeout_s=10).status == 503
            assert service.request("GET", "/healthz", timeout_s=5).status == 200
            answer = service.request("POST", "/postUserFavorites", [RECORD], user="bob", timeout_s=30)
            assert answer.status == 503
            assert answer.headers["Retry-After"]
            assert answer.content["type"] == "/problems/unavailable"
        finally:
            for process in stopped:
                process.resume()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        _until(lambda: service.request("GET", "/readyz").status == 200)
        assert _remembers(service)


def _killed(data_dir: Path, *, postgres_too: bool) -> tuple[Service, int]:
    """A service that had stored something when it was killed, and the pid of its PostgreSQL."""
    service = Service(data_dir=data_dir)
    service.start()
    _store(service)
    pid = postgres_pid(data_dir)
    service.kill()
    if postgres_too:
        os.kill(pid, signal.SIGKILL)
    return service, pid


def test_the_service_killed_alone_starts_again(data_dir: Path) -> None:
    service, left_over = _killed(data_dir, postgres_too=False)
    assert not _gone(left_over), "nobody is there to stop it: that is what the next start must deal with"
    with service:
        assert _gone(left_over)
        assert _remembers(service)


def test_both_killed_start_again(data_dir: Path) -> None:
    service, _ = _killed(data_dir, postgres_too=True)
    with service:
        assert _remembers(service)


def test_a_pid_that_is_now_somebody_elses_is_left_alone(data_dir: Path) -> None:
    service, pid = _killed(data_dir, postgres_too=True)
    _until(lambda: _gone(pid))
    file = data_dir / "postgres" / "data" / "postmaster.pid"
    # As the same account, so that PostgreSQL itself would take it for a server and refuse to start.
    owner = file.stat().st_uid
    stranger = (
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
        if owner == os.getuid()
        else (subprocess.Popen(["/bin/sleep", "120"], user=owner, group=owner, extra_groups=[]))
    )
    try:
        file.write_text(file.read_text().replace(str(pid), str(stranger.pid), 1))
        with service:
            assert _remembers(service)
            assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_half_a_cluster_is_made_anew(data_dir: Path) -> None:
    with Service(data_dir=data_dir):
        pass
    home = data_dir / "postgres"
    (home / "data").rename(home / "new-0123")
    with Service(data_dir=data_dir) as service:
        _store(service)
    assert not (home / "new-0123").exists()


def test_killed_again_and_again_while_it_starts_for_the_first_time(data_dir: Path) -> None:
    chance = random.Random(20170502)
    service = Service(data_dir=data_dir)
    for _ in range(8):
        service.start(until=None)
        time.sleep(chance.uniform(0.6, 2.2))
        service.kill()
    with service:
        _store(service)


def test_a_server_that_is_dead_and_not_buried_is_no_obstacle(data_dir: Path) -> None:
    """As in a container whose first process buries nobody: here, the test is the parent that does not."""
    with Service(data_dir=data_dir) as service:
        _store(service)
    file = data_dir / "postgres" / "data" / "postmaster.pid"
    dead = subprocess.Popen(["/bin/true"])
    _until(lambda: psutil.Process(dead.pid).status() == psutil.STATUS_ZOMBIE)
    file.write_text(f"{dead.pid}\n{file.parent}\n1\n5432\n\n\n0 0\nready\n")
    shutil.chown(file, file.parent.stat().st_uid)
    with service:
        assert _remembers(service)
    dead.wait()


def test_sigterm_ends_it_in_ten_seconds_whatever_is_under_way(data_dir: Path) -> None:
    service = Service(data_dir=data_dir)
    service.start()
    _store(service)
    server = psutil.Process(postgres_pid(data_dir))
    stopped = [server, *server.children()]
    for process in stopped:
        process.suspend()
    asking = [threading.Thread(target=_ask_in_vain, args=(service,)) for _ in range(20)]
    for thread in asking:
        thread.start()
    time.sleep(0.5)
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began < 10
    _until(lambda: _gone(server.pid))
    for process in stopped[1:]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()
    for thread in asking:
        thread.join()
    with service:
        assert _remembers(service)


def _ask_in_vain(service: Service) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        service.request("POST", "/postUserFavorites", [RECORD | {"item": "b"}], user="bob")


def test_a_password_that_is_gone_is_named(data_dir: Path) -> None:
    with Service(data_dir=data_dir):
        pass
    (data_dir / "postgres-password").unlink()
    assert _leaves(data_dir=data_dir).endswith("postgres-password is missing, and the cluster is there")


@pytest.mark.skipif(os.getuid() != 0, reason="only root has an account to change to")
def test_under_root_a_link_that_the_account_made_is_not_followed(data_dir: Path) -> None:
    with Service(data_dir=data_dir):
        pass
    treasure = data_dir.parent / "treasure"
    treasure.mkdir(mode=0o755)
    (treasure / "postmaster.pid").write_text("1\n")
    home = data_dir / "postgres"
    for name in ("start.log", "run", "password.new"):
        (home / name).symlink_to(treasure)
    (home / "data").rename(home / "kept")
    (home / "data").symlink_to(treasure)
    _leaves(data_dir=data_dir)
    assert (treasure.stat().st_uid, treasure.stat().st_mode & 0o777) == (0, 0o755)
    assert (treasure / "postmaster.pid").read_text() == "1\n"
    assert [path.name for path in treasure.iterdir()] == ["postmaster.pid"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root could be made to change what is not the account's")
def test_under_root_a_folder_of_somebody_elses_is_left_alone(data_dir: Path) -> None:
    secret, treasure, link = (data_dir.parent / name for name in ("secret", "treasure", "link"))
    secret.write_text("keep")
    treasure.mkdir(mode=0o755)
    (data_dir / "postgres" / "data").mkdir(parents=True)
    (data_dir / "lock").symlink_to(secret)
    (data_dir / "run").symlink_to(treasure)
    link.symlink_to(data_dir)
    for place, named in ((data_dir, data_dir), (data_dir.parent, data_dir), (data_dir, link), (link, link)):
        os.chown(place, 65534, 65534, follow_symlinks=False)
        account = pwd.getpwuid(65534).pw_name
        said = f"favsync: data_dir: {place}: belongs to uid 65534: run this as that account (runuser -u {account} -- favsync …)"  # noqa: E501
        assert favsync("backup", str(data_dir.parent / "file"), data_dir=named).stderr == said + "\n"
        os.chown(place, 0, 0, follow_symlinks=False)
    os.chown(data_dir, 65534, 65534)
    for words in (["serve"], ["psql"], ["migrate"], ["token", "ann"]):
        assert f"{data_dir}: belongs to uid 65534" in favsync(*words, data_dir=data_dir).stderr
    assert not (data_dir / "jwt_secret").exists()
    os.chown(data_dir, 0, 0)
    data_dir.chmod(0o775)
    assert "others than root can write there" in _leaves(data_dir=data_dir)
    data_dir.chmod(0o711)
    assert _leaves(data_dir=data_dir).endswith("/lock: Too many levels of symbolic links")
    assert secret.read_text() == "keep"
    assert (treasure.stat().st_uid, treasure.stat().st_mode & 0o777) == (0, 0o755)


def _leaves(**settings: object) -> str:
    """Runs a service that is to end by itself with status 1, and gives its last line."""
    values = {"port": "0", "jwt_secret": SECRET} | settings
    environment = os.environ | {f"FAVSYNC_{name.upper()}": str(value) for name, value in values.items()}
    command = [sys.executable, "-m", "favsync", "serve"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done
    return done.stderr.strip().splitlines()[-1]


def test_a_second_service_says_so_and_leaves(data_dir: Path) -> None:
    with Service(data_dir=data_dir) as service:
        said = _leaves(data_dir=data_dir)
        expected = f"data_dir: {data_dir} is in use by another favsync (process {service.process.pid})"
        assert said == f"favsync: {expected}"
        assert service.request("GET", "/readyz").status == 200
        port = service.url.rpartition(":")[2]
        assert _leaves(data_dir=data_dir.parent / "other", port=port).startswith(
            f"favsync: cannot listen on 127.0.0.1:{port}: "
        )


def test_a_data_directory_of_another_major_version_is_refused(data_dir: Path) -> None:
    with Service(data_dir=data_dir):
        pass
    (data_dir / "postgres" / "data" / "PG_VERSION").write_text("17\n")
    assert "is of PostgreSQL 17, and this release runs 18" in _leaves(data_dir=data_dir)
    (data_dir / "postgres" / "data" / "PG_VERSION").unlink()
    assert _leaves(data_dir=data_dir).endswith("PG_VERSION: No such file or directory")


@pytest.mark.parametrize("name", ["a,b", 'a"b', "a$HOME", "a`id`", "a'b", "a\\b"])
def test_a_path_that_the_tools_misread_is_refused(data_dir: Path, name: str) -> None:
    assert "PostgreSQL's tools misread" in _leaves(data_dir=data_dir / name)


def test_a_path_with_spaces_and_letters_of_anywhere_is_not(data_dir: Path) -> None:
    with Service(data_dir=data_dir / "a b ü") as service:
        _store(service)


def test_a_path_too_long_for_a_socket_gets_one_elsewhere(data_dir: Path) -> None:
    long = data_dir / ("d" * 120)
    with Service(data_dir=long) as service:
        _store(service)
        assert _remembers(service)


@pytest.mark.skipif(os.getuid() != 0, reason="only root has an account to change to")
def test_under_root_a_closed_folder_is_named(data_dir: Path) -> None:
    data_dir.parent.chmod(0o700)
    said = _leaves(data_dir=data_dir)
    assert f"which {data_dir.parent} is closed to" in said
    assert "/var/lib/favsync" in said


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is closed to root")
def test_a_folder_that_cannot_be_written_is_named(data_dir: Path) -> None:
    data_dir.parent.chmod(0o500)
    assert f"{data_dir}" in _leaves(data_dir=data_dir)
    data_dir.parent.chmod(0o700)
