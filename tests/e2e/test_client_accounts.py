"""One phone, several accounts: nothing of one is sent for another, whatever the app calls them."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from tests.e2e.device_program import COMMANDS, Phone
from tests.e2e.service import SECRET, Service
from tests.postgres import Server

SUBJECT = "ann é"
ISSUERS = {name: f"https://{name}.example.org/é" for name in ("one", "two")}
TOKENS = {
    name: jwt.encode({"iss": iss, "sub": SUBJECT, "exp": 4102444800}, SECRET + name, algorithm="HS256")
    for name, iss in ISSUERS.items()
}
languages = pytest.mark.parametrize("language", COMMANDS)


@pytest.fixture
def service(postgres: Server, tmp_path: Path) -> Iterator[Service]:
    """Two issuers, each of a tenant of its own."""
    config = tmp_path / "favsync.toml"
    config.write_text(
        "".join(
            f"[[issuers]]\niss = '{iss}'\nany_audience = true\nsecrets = ['{SECRET + name}']\ntenant = '{name}'\n"
            for name, iss in ISSUERS.items()
        )
    )
    database = asyncio.run(postgres.create_database())
    with Service(database_url=postgres.dsn(database), config=config, jwt_secret="") as running:
        yield running
    asyncio.run(postgres.drop_database(database))


def _items(service: Service, issuer: str) -> list[str]:
    headers = {"Authorization": f"Bearer {TOKENS[issuer]}"}
    answer = service.request("GET", "/getUserFavorites", user=None, headers=headers)
    assert answer.status == 200
    return [one["item"] for one in answer.content]


@languages
def test_another_issuers_token_for_the_same_subject_sends_nothing(
    language: str, service: Service, tmp_path: Path
) -> None:
    [other] = set(COMMANDS) - {language}
    phone, same = (Phone(one, service.url, tmp_path / "phone") for one in (language, other))
    for synced in ("first", "second"):
        phone.run(SUBJECT, TOKENS["one"], "tap", synced, "ADD")
        phone.run(SUBJECT, TOKENS["one"], "sync")
    phone.run(SUBJECT, TOKENS["one"], "tap", "queued", "ADD")
    complaint = "the token is another account's than this database: nothing was sent\n"
    for program in (phone, same):
        assert program.attempt(SUBJECT, TOKENS["two"], "sync") == (1, "", complaint)
    assert _items(service, "two") == []
    same.run(SUBJECT, TOKENS["one"], "sync")
    assert _items(service, "one") == ["first", "queued", "second"]


@languages
def test_each_account_and_each_service_has_a_file_of_its_own(language: str, service: Service, tmp_path: Path) -> None:
    phone = Phone(language, service.url, tmp_path / "phone")
    for issuer in ISSUERS:
        phone.run(f"{issuer} {SUBJECT}", TOKENS[issuer], "tap", f"of {issuer}", "ADD")
        phone.run(f"{issuer} {SUBJECT}", TOKENS[issuer], "sync")
    assert [_items(service, issuer) for issuer in ISSUERS] == [["of one"], ["of two"]]
    for url, items in [(service.url + "/", ["of one"]), (service.url + "/staging", [])]:
        listing = Phone(language, url, phone.folder).listing(f"one {SUBJECT}")
        assert [one["item"] for one in listing["records"]] == items


@languages
@pytest.mark.parametrize("made", [True, False])
def test_its_files_are_for_their_owner_alone(language: str, made: bool, tmp_path: Path) -> None:
    phone = Phone(language, "http://127.0.0.1:9", tmp_path / "phone")
    mask = os.umask(0o022)
    try:
        if not made:
            phone.folder.mkdir()
        phone.run("ann", "", "tap", "a", "ADD")
    finally:
        os.umask(mask)
    [file] = phone.folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert phone.folder.stat().st_mode & 0o777 == (0o700 if made else 0o755)
