"""The command line, as an operator meets it."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jwt

from tests.e2e.service import SECRET, Service
from tests.postgres import Server


def favsync(*words: str, **variables: object) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FAVSYNC_")}
    settings = {f"FAVSYNC_{name.upper()}": str(value) for name, value in variables.items()}
    return subprocess.run(
        [sys.executable, "-m", "favsync", *words],
        env=clean | settings, cwd="/", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_token_is_what_the_service_accepts(data_dir: Path) -> None:
    made = favsync("token", "ann", "--scope", "feed:read admin", "--ttl", "2m", data_dir=data_dir)
    unknown = favsync("token", "ann", "--scope", "sync:al", data_dir=data_dir)
    assert (unknown.returncode, unknown.stderr) == (
        0, "favsync: the token has a scope that means nothing here, 'sync:al'; did you mean sync:any?\n"
    )  # fmt: skip
    secret = (data_dir / "jwt_secret").read_text()
    claims = jwt.decode(made.stdout.strip(), secret, algorithms=["HS256"])
    assert (claims["sub"], claims["scope"], claims["exp"] - claims["iat"]) == ("ann", "feed:read admin", 120)
    with Service(data_dir=data_dir, jwt_secret="") as service:
        headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        assert service.request("GET", "/getUserFavorites", user=None, headers=headers).status == 200
        assert service.request("GET", "/getUserFavorites").status == 401


def test_who_a_user_of_the_log_is(data_dir: Path) -> None:
    with Service(data_dir=data_dir) as service:
        assert service.request("GET", "/getUserFavorites", user="ann").status == 200
        logged = service.wait_for("request")["user"]
    made = favsync("log-user", "ann", data_dir=data_dir, jwt_secret=SECRET)
    assert (made.returncode, made.stdout) == (0, f"{logged}\n")
    assert favsync("log-user", "bob", data_dir=data_dir, jwt_secret=SECRET).stdout != made.stdout


def test_a_span_without_a_unit_is_refused(data_dir: Path) -> None:
    """Who means 90 days would lose the deletions of the last weeks."""
    for words, flag in (
        (["feed", "purge", "--entity", "favorites", "--older-than", "90"], "--older-than"),
        (["token", "ann", "--ttl", "90"], "--ttl"),
    ):
        done = favsync(*words, data_dir=data_dir)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"favsync: {flag}: lacks its unit, as in 90s, 10m, 1h or 2d\n"


def test_an_interrupt_while_it_is_being_imported_ends_it_quietly() -> None:
    interrupted = (
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(name, *_):\n"
        "        if name == 'favsync.settings': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder)\n"
        "from favsync.__main__ import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", interrupted], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_what_is_wrong_is_said_in_one_sentence(data_dir: Path) -> None:
    for words, said in (
        (["token", "ann", "--ttl", "soon"], "favsync: --ttl: is not a duration such as 90s, 10m, 1h or 2d\n"),
        (["token", ""], "favsync: the subject must have 1 to 255 characters\n"),
        (["serve", "--port", "x"], "favsync: --port: not a valid integer\n"),
        (["config", "--config", "/nowhere"], "favsync: --config /nowhere: No such file or directory\n"),
    ):
        done = favsync(*words, data_dir=data_dir)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def test_what_keeps_the_commands_from_a_database_is_said_in_one_sentence(
    data_dir: Path, dsn: str, postgres: Server
) -> None:
    empty = asyncio.run(postgres.create_database("template0"))
    purge = ["feed", "purge", "--entity"]
    behind = "the schema is behind this release (0001_records.sql is missing): favsync migrate"
    wrong, nowhere = dsn.replace("favsync:", "favsync:hunter2"), "postgresql://favsync@/x?host=/nowhere"
    for words, settings, said in (
        (["epoch", "show"], {}, f"data_dir: {data_dir} holds no database"),
        (["epoch", "new"], {}, f"data_dir: {data_dir} holds no database"),
        ([*purge, "favorites", "--older-than", "1d"], {}, f"data_dir: {data_dir} holds no database"),
        ([*purge, "notes", "--older-than", "1d"], {}, "--entity: 'notes' is not declared; there are: favorites"),
        ([*purge, "favorites", "--older-than", "soon"], {}, "--older-than: is not a duration such as"),
        (["epoch", "show"], {"database_url": postgres.dsn(empty)}, behind),
        (["epoch", "new"], {"database_url": postgres.dsn(empty)}, behind),
        (["epoch", "new"], {"database_url": wrong}, "the database: password authentication failed"),
        (["epoch", "new"], {"database_url": nowhere}, "the database: "),
    ):
        done = favsync(*words, **{"data_dir": data_dir, **settings})
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
        assert done.stderr.startswith(f"favsync: {said}"), words
        assert "hunter2" not in done.stderr
    assert not data_dir.exists()
    asyncio.run(postgres.drop_database(empty))


def test_a_secret_that_was_cut_short_is_not_signed_with(data_dir: Path) -> None:
    favsync("token", "ann", data_dir=data_dir)
    (data_dir / "jwt_secret").write_text("")
    said = f"favsync: {data_dir}/jwt_secret: must be at least 32 bytes long; put back what was there, or "
    said += "remove the file to get a new one: what the old one signed or sealed is void then\n"
    assert favsync("token", "ann", data_dir=data_dir).stderr == said


def test_an_external_database_needs_a_secret_and_names_it(dsn: str) -> None:
    done = favsync("serve", database_url=dsn)
    assert done.returncode == 1
    assert done.stderr.startswith("favsync: FAVSYNC_JWT_SECRET is not set: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_wrong_password_is_said_and_not_repeated(dsn: str) -> None:
    wrong = dsn.replace("favsync:", "favsync:hunter2")
    done = favsync("serve", database_url=wrong, jwt_secret=SECRET, port=0)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("favsync: database_url: password authentication failed")
    assert "hunter2" not in done.stderr


def test_config_shows_what_is_in_force(data_dir: Path) -> None:
    done = favsync("config", "--max-batch", "7", data_dir=data_dir, jwt_secret=SECRET)
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert lines["max_batch"].split() == ["max_batch", "=", "7", "#", "--max-batch"]
    assert lines["port"].endswith("# default")
    assert "********" in lines["jwt_secret"]
    assert SECRET not in done.stdout
    assert not data_dir.exists()


def test_migrate_then_serve_without_migrating(data_dir: Path, dsn: str) -> None:
    assert favsync("migrate", data_dir=data_dir).returncode == 0
    with Service(data_dir=data_dir, migrate="false") as service:
        assert service.request("GET", "/getUserFavorites").content == []
        refused = favsync("migrate", data_dir=data_dir)
        assert refused.returncode == 1
        assert "is in use by another favsync" in refused.stderr
    assert favsync("migrate", database_url=dsn, jwt_secret=SECRET).returncode == 0


def test_sigterm_lets_what_is_under_way_end(dsn: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        service = Service(database_url=dsn)
        service.start()
        service.process.send_signal(number)
        assert service.process.wait(10) == 0
        assert service.wait_for("stopped")


def test_the_log_is_json_and_one_line_a_request(dsn: str) -> None:
    with Service(database_url=dsn) as service:
        record = {"item": "secret-item", "actionDate": "2020-01-01T00:00:00Z", "action": "ADD"}
        service.request("POST", "/postUserFavorites", [record])
        entry = service.wait_for("request")
        assert {"method", "route", "status", "duration_ms", "request_id", "user", "level", "timestamp"} <= set(entry)
        assert (entry["method"], entry["route"], entry["status"]) == ("POST", "/postUserFavorites", 200)
    everything = "\n".join(service.lines)
    for secret in ("secret-item", "ann", SECRET, "eyJ"):
        assert secret not in everything


def test_an_external_database_gets_no_greeting(dsn: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "favsync", "serve", "--port", "0"],
        env=os.environ | {"FAVSYNC_DATABASE_URL": dsn, "FAVSYNC_JWT_SECRET": SECRET, "FAVSYNC_LOG_FORMAT": "json"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    while '"ready"' not in process.stderr.readline():
        assert process.poll() is None
    process.terminate()
    printed, _ = process.communicate(timeout=20)
    assert printed == ""


def test_metrics_have_a_port_of_their_own_where_one_is_set(dsn: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Service(database_url=dsn, metrics_port=port) as service:
        assert service.request("GET", "/metrics").status == 404
        service.request("GET", "/getUserFavorites")
        service.url, main = f"http://127.0.0.1:{port}", service.url
        assert 'route="/getUserFavorites",status="200"' in service.text("/metrics")
        assert re.search(r"^favsync_http_connections_max 10000\.0$", service.text("/metrics"), re.MULTILINE)
        assert service.request("GET", "/getUserFavorites").status == 404
        service.url = main


def test_openapi_prints_the_document(dsn: str) -> None:
    printed = json.loads(favsync("openapi", max_batch=7).stdout)
    assert printed["openapi"] == "3.1.0"
    body = printed["paths"]["/postUserFavorites"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["maxItems"] == 7
    with Service(database_url=dsn, max_batch=7) as service:
        assert service.request("GET", "/openapi.json").content == printed


def test_where_tokens_come_from_elsewhere_none_is_made_here(data_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "favsync.toml"
    file.write_text(f"[[issuers]]\niss = 'x'\nsecrets = ['{SECRET}']\n")
    done = favsync("token", "ann", data_dir=data_dir, config=file)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("favsync: tokens of this deployment are issued elsewhere")
    assert not data_dir.exists()
    with Service(data_dir=data_dir, config=file, jwt_secret="") as service:
        good = jwt.encode({"iss": "x", "sub": "ann", "exp": 4102444800}, SECRET, algorithm="HS256")
        headers = {"Authorization": f"Bearer {good}"}
        assert service.request("GET", "/getUserFavorites", user=None, headers=headers).status == 200
        assert service.request("GET", "/getUserFavorites").status == 401
    assert not (data_dir / "jwt_secret").exists()
