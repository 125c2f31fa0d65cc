"""Settings: where they come from, and what is wrong with them, in one sentence."""

import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from favsync import settings, settings_sources
from favsync.app import doors
from favsync.core.errors import SettingsError
from favsync.http import openapi
from favsync.identity.keys import fingerprints
from favsync.setting_fields import parse_duration_s
from tests.identity.fake import EC_KEY, RSA_KEY, pem

EXAMPLES = Path(__file__).parents[1] / "examples"
SECRET = "x" * 32
BAD_URL = "is not a URL; in a password, write each of :/?#[]@ as % and its two digits"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty working directory, and no variable of ours."""
    for name in settings.FIELDS:
        monkeypatch.delenv(settings_sources.variable(name), raising=False)
        monkeypatch.delenv(settings_sources.variable(name) + "_FILE", raising=False)
    monkeypatch.chdir(tmp_path)


def test_flags_go_over_variables_over_the_file_over_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "favsync.toml").write_text('port = 1\nhost = "h1"\nmax_batch = 11\nmigrate = false\n')
    monkeypatch.setenv("FAVSYNC_PORT", "2")
    monkeypatch.setenv("FAVSYNC_HOST", "h2")
    monkeypatch.setenv("FAVSYNC_MAX_ITEMS", "")
    loaded, origins, warnings = settings.load({"port": "3", "host": None})
    assert (loaded.port, loaded.host, loaded.max_batch, loaded.max_items) == (3, "h2", 11, 10_000)
    assert not loaded.migrate
    assert origins == {
        "port": "--port",
        "host": "FAVSYNC_HOST",
        "max_batch": "max_batch in favsync.toml",
        "migrate": "migrate in favsync.toml",
    }
    assert warnings == []


def test_a_working_directory_that_is_closed_has_no_file(tmp_path: Path) -> None:
    (tmp_path / "favsync.toml").write_text("port = 1\n")
    tmp_path.chmod(0)
    before = os.geteuid()
    os.seteuid(before or 65534)
    try:
        loaded, _, _ = settings.load({"data_dir": "/nowhere"})
    finally:
        os.seteuid(before)
        tmp_path.chmod(0o700)
    assert loaded.port == 8080


def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    monkeypatch.setenv("FAVSYNC_JWT_SECRET_FILE", str(tmp_path / "secret"))
    loaded, _, warnings = settings.load()
    assert loaded.jwt_secret == SECRET
    assert warnings == []


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"PORT": "99999"}, "FAVSYNC_PORT: must be between 0 and 65535"),
        ({"PORT": "tcp://10.0.0.1:80"}, "FAVSYNC_PORT: not a valid integer"),
        ({"MIGRATE": "perhaps"}, "FAVSYNC_MIGRATE: not a valid boolean"),
        ({"MAX_CLOCK_SKEW": "soon"}, "FAVSYNC_MAX_CLOCK_SKEW: is not a duration such as 90s, 10m, 1h or 2d"),
        ({"MAX_BODY": "1 GB"}, "FAVSYNC_MAX_BODY: is not a size such as 65536, 64KiB or 1MiB"),
        ({"MAX_BODY": "10"}, "FAVSYNC_MAX_BODY: must be between 1024 and 67108864"),
        ({"LOG_LEVEL": "loud"}, "FAVSYNC_LOG_LEVEL: must be one of: debug, info, warning, error"),
        ({"RATE_LIMIT_USER": "1e-320"}, "FAVSYNC_RATE_LIMIT_USER: must be 0, or between 0.001 and 1000000"),
        (
            {"PORT": "9100", "METRICS_PORT": "9100"},
            "FAVSYNC_METRICS_PORT: is the port of everything else; leave it out to have both there",
        ),
        (
            {"CORS_ORIGINS": "https://a/b"},
            "FAVSYNC_CORS_ORIGINS: 'https://a/b' is not an origin such as https://app.example.org, or *",
        ),
        ({"JWT_SECRET": "short"}, "FAVSYNC_JWT_SECRET: must be at least 32 bytes long"),
        ({"JWT_SECRET_FILE": "/nowhere"}, "FAVSYNC_JWT_SECRET_FILE: /nowhere: cannot be read"),
        (
            {"JWT_SECRET": "x" * 32, "JWT_SECRET_FILE": __file__},
            "FAVSYNC_JWT_SECRET and FAVSYNC_JWT_SECRET_FILE are both set: one of them may be",
        ),
        ({"JWT_SECRET_FILE": "/dev/null"}, "FAVSYNC_JWT_SECRET_FILE: /dev/null: is empty"),
        ({"JWT_SECRET_FILE": "/dev/null/x"}, "FAVSYNC_JWT_SECRET_FILE: /dev/null/x: cannot be read"),
        ({"JWT_SECRET_FILE": "a secret by mistake"}, "FAVSYNC_JWT_SECRET_FILE: cannot be read"),
        ({"LINK_KEYS": f",{'x' * 32}"}, "FAVSYNC_LINK_KEYS: must be at least 32 bytes long"),
        ({"LINK_KEYS": " , "}, "FAVSYNC_LINK_KEYS: must be at least 32 bytes long"),
        ({"DATABASE_URL": "mysql://x"}, "FAVSYNC_DATABASE_URL: must begin with postgresql://"),
        ({"DATABASE_URL": "postgresql://u:hun/ter2@h/db"}, f"FAVSYNC_DATABASE_URL: {BAD_URL}"),
        ({"DATABASE_URL": "postgresql://u:hun#ter2@h/db"}, f"FAVSYNC_DATABASE_URL: {BAD_URL}"),
        ({"DATABASE_URL": "postgresql://[::1/db"}, f"FAVSYNC_DATABASE_URL: {BAD_URL}"),
        ({"DATABASE_URL": "postgresql://h:abc/db"}, f"FAVSYNC_DATABASE_URL: {BAD_URL}"),
    ],
)
def test_a_wrong_one_is_named(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"FAVSYNC_{name}", value)
    with pytest.raises(SettingsError) as caught:
        settings.load()
    assert caught.value.detail == said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("prot = 1", "favsync.toml: there is no setting 'prot'; did you mean port?"),
        ("[issuers]", "favsync.toml: issuers: must be a list of tables: [[issuers]]"),
        ("[issuer]", "favsync.toml: there is no setting 'issuer'; did you mean issuers?"),
        ("port = ", "favsync.toml: Invalid value (at end of document)"),
        ("port = 1.5", "port in favsync.toml: not a valid integer"),
        ("port = true", "port in favsync.toml: not a valid integer"),
        ("port = -1", "port in favsync.toml: must be between 0 and 65535"),
    ],
)
def test_so_is_what_is_wrong_in_the_file(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "favsync.toml").write_text(content)
    with pytest.raises(SettingsError) as caught:
        settings.load()
    assert caught.value.detail == said


def test_origins_are_those_that_browsers_send(monkeypatch: pytest.MonkeyPatch) -> None:
    written = "https://A.example:443, http://b:80,https://c:80, capacitor://localhost ,http://[::1]:3000"
    monkeypatch.setenv("FAVSYNC_CORS_ORIGINS", written)
    sent = ("https://a.example", "http://b", "https://c:80", "capacitor://localhost", "http://[::1]:3000")
    assert settings.load()[0].cors_origins == sent


def test_a_database_of_your_own_needs_your_secret() -> None:
    loaded = settings.Settings(database_url="postgresql://x")
    with pytest.raises(SettingsError, match=r"^FAVSYNC_JWT_SECRET is not set: with a database of your own"):
        settings.with_secrets(loaded)


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^--config /nowhere\.toml: No such file or directory$"):
        settings.load(config=Path("/nowhere.toml"))
    (tmp_path / "other.toml").write_text("port = 7")
    assert settings.load(config=tmp_path / "other.toml")[0].port == 7


def test_a_variable_that_means_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAVSYNC_DATABSE_URL", "postgresql://x")
    assert settings.load()[2] == ["FAVSYNC_DATABSE_URL is not a setting; did you mean FAVSYNC_DATABASE_URL?"]


def test_what_is_shown_holds_no_secret() -> None:
    loaded = settings.Settings(database_url="postgresql://ann:hunter2@db:5432/x?sslmode=require", jwt_secret=SECRET)
    shown = settings.shown(loaded)
    assert shown["database_url"] == "postgresql://ann:********@db:5432/x?sslmode=require"
    query = settings.Settings(database_url="postgresql:///db?user=u&password=hunter2&host=/run/x")
    assert settings.shown(query)["database_url"] == "postgresql:///db?user=u&password=********&host=/run/x"
    assert "hunter2" not in str(shown) + repr(loaded)
    assert SECRET not in repr(loaded)
    assert SECRET not in str(shown)
    assert shown["jwt_secret"] == "********"
    assert (shown["max_clock_skew"], shown["migrate"], shown["jwt_secret_previous"]) == ("600s", "true", "")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5s", 1.5), ("10m", 600), ("1h", 3600), (" 2 d ", 172800)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


def test_every_setting_has_a_sentence() -> None:
    for name, field in settings.FIELDS.items():
        metadata: Any = field.metadata
        assert metadata["help"], name


def test_a_worker_is_handed_the_same(tmp_path: Path) -> None:
    (tmp_path / "keys.pem").write_bytes(pem(RSA_KEY) + pem(EC_KEY))
    issuer = '[[issuers]]\niss = "https://id.example.org"\naud = "favsync"\npem_file = "keys.pem"\n'
    (tmp_path / "favsync.toml").write_text(issuer + (EXAMPLES / "entities.toml").read_text())
    loaded, _, _ = settings.load({"jwt_secret": SECRET, "max_items": "7"}, tmp_path / "favsync.toml")
    handed = pickle.loads(pickle.dumps(loaded))  # noqa: S301 -- our own
    assert settings.shown(handed) == settings.shown(loaded)
    assert openapi.document(doors(handed)) == openapi.document(doors(loaded))
    [ours, theirs] = [[issuer.keys for issuer in one.all_issuers] for one in (loaded, handed)]
    assert [*map(fingerprints, ours)] == [*map(fingerprints, theirs)]
    assert dataclasses.replace(handed, issuers=(), entities=()) == dataclasses.replace(loaded, issuers=(), entities=())
