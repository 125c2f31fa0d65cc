"""Kinto, in an environment of its own, on the PostgreSQL of the service, as bench/kinto/kinto.ini sets it up."""

import base64
import configparser
import contextlib
import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import uvloop

from bench.outside import THREADS, Load, wrk
from bench.results import say
from bench.servers import ROOT, Machine
from bench.sides import CONNECTIONS
from bench.stock import ITEMS

FOLDER = ROOT / "bench" / "kinto"
SETTINGS = FOLDER / "kinto.ini"
REQUIREMENTS = FOLDER / "requirements.txt"
ENVIRONMENT = ROOT / "build" / "kinto"
DATABASE = "kinto"
BUCKET = "/v1/buckets/favorites"
PASSWORD = "any"  # noqa: S105 -- Kinto takes whatever it is told
START_S = 60.0
STOP_S = 20.0


def settings() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(SETTINGS.read_text())
    return parser


def version() -> str:
    """That of Kinto which is locked."""
    lines = REQUIREMENTS.read_text().splitlines()
    return next(line.removeprefix("kinto==").split()[0] for line in lines if line.startswith("kinto=="))


def principal(user: str) -> str:
    """What Kinto calls who comes with this name and `PASSWORD`: its `basicauth`."""
    secret = settings()["app:main"]["kinto.userid_hmac_secret"]
    return "basicauth:" + hmac.new(secret.encode(), f"{user}:{PASSWORD}".encode(), hashlib.sha256).hexdigest()


def credentials(user: str) -> str:
    return base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()


def write_users(file: Path, users: int) -> Path:
    """A name and its credentials on each line."""
    names = (f"user-{number}" for number in range(1, users + 1))
    file.write_text("".join(f"{name} {credentials(name)}\n" for name in names))
    return file


def install() -> Path:
    """The folder of its programs; what is locked is installed there once, until the lock changes."""
    stamp = ENVIRONMENT / ".installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    programs = ENVIRONMENT / "bin"
    if not stamp.exists() or stamp.read_text() != wanted:
        say(f"installing Kinto {version()} into {ENVIRONMENT.relative_to(ROOT)} (once, until its lock changes)")
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        how = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
        subprocess.run([programs / "python", "-m", "pip", "install", *how, "-r", REQUIREMENTS], check=True)
        stamp.write_text(wanted)
    return programs


class Kinto(NamedTuple):
    """A Kinto that runs; `users`: a file of them, each of whom has `ITEMS` records there."""

    url: str
    users: Path

    def get(self, seconds: float) -> Load:
        return self._wrk("get", seconds)

    def put(self, seconds: float) -> Load:
        return self._wrk("put", seconds)

    def _wrk(self, how: str, seconds: float) -> Load:
        arguments = (self.users, THREADS, how, ITEMS)
        return wrk(self.url + BUCKET, "kinto", *arguments, connections=CONNECTIONS, seconds=seconds)


@contextlib.contextmanager
def started(machine: Machine, users: int) -> Iterator[Kinto]:
    """In a database of its own on that machine's PostgreSQL, with records."""
    programs = install()
    with machine.sql() as sql:
        sql.execute(f"CREATE DATABASE {DATABASE} WITH ENCODING UTF8")
        sql.execute(f"ALTER DATABASE {DATABASE} SET timezone TO UTC")
    log, port = machine.folder / "kinto.log", _free_port()
    url = machine.database_url(DATABASE)
    environment = os.environ | {f"KINTO_{what}_URL": url for what in ("STORAGE", "PERMISSION", "CACHE")}
    environment |= {"KINTO_INI": str(SETTINGS)}
    with log.open("wb") as file:
        how: dict[str, Any] = {"cwd": FOLDER, "env": environment, "stdout": file, "stderr": file}
        migrated = subprocess.run([programs / "kinto", "migrate", "--ini", SETTINGS], check=False, **how)
        if migrated.returncode:
            raise RuntimeError(log.read_text()[-2000:])
        uvloop.run(_fill(url, users))
        where: list[str | Path] = [
            "--wsgi-file",
            "app.wsgi",
            "--virtualenv",
            ENVIRONMENT,
            "--http",
            f"127.0.0.1:{port}",
        ]
        process: subprocess.Popen[bytes] = subprocess.Popen([programs / "uwsgi", "--ini", SETTINGS, *where], **how)
    kinto = Kinto(f"http://127.0.0.1:{port}", write_users(machine.folder / "kinto-users", users))
    try:
        _wait(kinto, process, log)
        yield kinto
    finally:
        process.send_signal(signal.SIGINT)  # which ends it; to SIGTERM it answers by starting anew
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _fill(url: str, users: int) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("SET session_replication_role = replica")  # its trigger gives times of its own
    principals = [principal(f"user-{number}") for number in range(1, users + 1)]
    await connection.execute((FOLDER / "fill.sql").read_text(), users, ITEMS, principals)
    for statement in ("VACUUM (ANALYZE) objects", "VACUUM (ANALYZE) access_control_entries", "CHECKPOINT"):
        await connection.execute(statement)
    await connection.close()


def _wait(kinto: Kinto, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until a user reads its records there."""
    give_up = time.monotonic() + START_S
    address = f"{kinto.url}{BUCKET}/collections/user-1/records"
    request = urllib.request.Request(address, headers={"Authorization": f"Basic {credentials('user-1')}"})  # noqa: S310 -- it is HTTP
    while process.poll() is None and time.monotonic() < give_up:
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 -- likewise
                found = len(json.loads(response.read())["data"])
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"Kinto: {error.code} {error.read()!r}") from error
        except OSError:
            time.sleep(0.1)
        else:
            if found != ITEMS:
                raise RuntimeError(f"Kinto shows {found} records of {ITEMS}")
            return
    raise RuntimeError(log.read_text(errors="replace")[-2000:])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
