"""favsync.toml's issuers: what is wrong is named by its place."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from favsync import settings
from favsync.core.errors import SettingsError
from favsync.identity import issuers
from tests.identity.fake import EC_KEY, RSA_KEY, WEAK_RSA_KEY, pem

GOOD: dict[str, Any] = {"iss": "https://id", "aud": "favsync", "jwks": "https://id/jwks"}
SECRETS = {"iss": "x", "secrets": ["s" * 32]}
ASKED = {"url": "https://id/introspect", "client_id": "favsync", "client_secret": "s"}
NAME = "must be 1 to 63 of a-z, 0-9, ., _ and -, a letter or digit first"
NEEDS = "needs exactly one of secrets, secret_files, pem_file, jwks, introspection"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([], "issuers[0]: must be a table"),
        ({}, f"issuers[0]: {NEEDS}; it has none"),
        (GOOD | {"secrets": ["s" * 32]}, f"issuers[0]: {NEEDS}; it has secrets, jwks"),
        (GOOD | {"issuer": "x"}, "issuers[0].issuer: there is no such key"),
        (GOOD | {"iss": 1}, "issuers[0].iss: not a valid string"),
        ({"jwks": "https://id/jwks", "aud": "a"}, "issuers[0].iss: is missing: the iss that its tokens carry"),
        (GOOD | {"jwks": "http://id/jwks"}, "issuers[0].jwks: must begin with https://, or http:// for this machine"),
        (GOOD | {"jwks": "https://a:b@id/"}, "issuers[0].jwks: is not a URL of a host, without user and fragment"),
        (GOOD | {"jwks": "https://[::1/"}, "issuers[0].jwks: is not a URL"),
        (GOOD | {"aud": []}, "issuers[0].aud: must be a text or a list of them"),
        (GOOD | {"any_audience": True}, "issuers[0]: has both aud and any_audience"),
        (GOOD | {"tenant": "a/b"}, f"issuers[0].tenant: {NAME}"),
        (GOOD | {"tenant": "a\n"}, f"issuers[0].tenant: {NAME}"),
        (GOOD | {"namespace": ""}, f"issuers[0].namespace: {NAME}"),
        (GOOD | {"scopes": ["feed"]}, "issuers[0].scopes[0]: must be one of: feed:read, sync:any, admin"),
        (GOOD | {"scopes": "admin"}, "issuers[0].scopes: not a valid list"),
        (SECRETS | {"secrets": ["short"]}, "issuers[0].secrets: each must be at least 32 bytes long"),
        (SECRETS | {"secrets": []}, "issuers[0].secrets: must be a list of 1 to 4"),
        ({"iss": "x", "secret_files": ["none"]}, "issuers[0].secret_files: {}/none: No such file or directory"),
        ({"iss": "x", "pem_file": "none"}, "issuers[0].pem_file: {}/none: No such file or directory"),
        ({"iss": "x", "pem_file": "empty"}, "issuers[0].pem_file: must hold 1 to 4 public keys in PEM form"),
        (
            {"iss": "x", "pem_file": "private"},
            "issuers[0].pem_file: holds a private key, which is its issuer's alone: put the public one here",
        ),
        ({"iss": "x", "pem_file": "weak"}, "issuers[0].pem_file: an RSA key must have 2048 bits or more"),
        ({"iss": "x", "pem_file": "curve"}, "issuers[0].pem_file: a key must be RSA, EC P-256 or Ed25519"),
        (
            {"introspection": ASKED | {"url": "x"}, "aud": "a"},
            "issuers[0].introspection.url: is not a URL of a host, without user and fragment",
        ),
        (
            {"introspection": {"url": "https://x", "client_id": "a"}, "aud": "a"},
            "issuers[0].introspection: needs client_secret or client_secret_file",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, table: Any, said: str) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "weak").write_bytes(pem(WEAK_RSA_KEY))
    (tmp_path / "curve").write_bytes(pem(ec.generate_private_key(ec.SECP384R1())))
    (tmp_path / "private").write_bytes(RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(SettingsError) as caught:
        issuers.read_issuers([table], tmp_path)
    assert caught.value.detail == said.format(tmp_path)
    assert "s" * 32 not in caught.value.detail


@pytest.mark.parametrize("kind", ["jwks", "introspection"])
def test_the_audience_is_asked_for_or_waived(kind: str) -> None:
    table: dict[str, Any] = {"iss": "x", kind: {"jwks": "https://id/jwks", "introspection": ASKED}[kind]}
    with pytest.raises(SettingsError, match=r"^issuers\[0\]\.aud: is missing: .* say any_audience = true"):
        issuers.read_issuers([table], Path())
    assert issuers.read_issuers([table | {"any_audience": True}], Path())[0].audiences is None


def test_several_keys_and_certificates_in_one_file(tmp_path: Path) -> None:
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "id")])
    certificate = (
        x509.CertificateBuilder(name, name, RSA_KEY.public_key(), 1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
        .sign(RSA_KEY, hashes.SHA256())
    )
    (tmp_path / "keys.pem").write_bytes(b"Bag\n" + pem(EC_KEY) + b"\n" + certificate.public_bytes(Encoding.PEM))
    [issuer] = issuers.read_issuers([{"iss": "x", "pem_file": "keys.pem"}], tmp_path)
    assert [key.algorithm for key in issuer.keys] == ["ES256", "RS256"]


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ([SECRETS], "share tenant 'main' and namespace 'main'"),
        ([SECRETS | {"namespace": "a"}, GOOD | {"namespace": "a"}], "share tenant 'main' and namespace 'a'"),
        ([GOOD | {"namespace": "a"}, GOOD | {"namespace": "b"}], "https://id is there twice"),
        (
            [{"introspection": ASKED, "aud": "a", "namespace": name} for name in ("a", "b")],
            "only one may have introspection",
        ),
    ],
)
def test_issuers_stay_out_of_each_others_way(tables: list[Any], said: str) -> None:
    loaded = settings.Settings(
        database_url="postgresql://x", jwt_secret="s" * 32, issuers=issuers.read_issuers(tables, Path())
    )
    with pytest.raises(SettingsError) as caught:
        settings.with_secrets(loaded)
    assert said in caught.value.detail
    assert caught.value.detail.startswith("issuers: ")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "user_header.name: missing data for required field"),
        ({"name": "X-User-Id"}, "user_header.proxies: missing data for required field"),
        ({"name": "X-User-Id", "proxies": ["::1"]}, "user_header.namespace: missing data for required field"),
        ({"name": "X-User-Id", "proxies": [" , "], "namespace": "a"}, "user_header.proxies: names none"),
        (
            {"name": "Authorization", "proxies": ["::1"], "namespace": "a"},
            "user_header.name: Authorization has a meaning of its own",
        ),
        ({"name": "a b", "proxies": ["::1"], "namespace": "a"}, "user_header.name: is not the name of a header"),
        (
            {"name": "X-User-Id", "proxies": ["10.0.0.1/8"], "namespace": "a"},
            "user_header.proxies: '10.0.0.1/8' is not an address or a network such as 10.0.0.0/8",
        ),
    ],
)
def test_the_header_too(table: Any, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        issuers.read_user_header(table)
    assert caught.value.detail == said


def test_in_the_file_of_settings(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("t" * 40)
    file = tmp_path / "favsync.toml"
    file.write_text("""
      database_url = "postgresql://x"
      trusted_proxies = ["10.0.0.0/8", "::1"]
      [[issuers]]
      iss = "https://id"
      secret_files = ["secret"]
      [user_header]
      name = "X-User-Id"
      proxies = ["127.0.0.1"]
      namespace = "intranet"
    """)
    loaded, origins, _ = settings.load(config=file)
    assert settings.with_secrets(loaded) is loaded, "with somebody to believe, no secret is made"
    assert loaded.issuers[0].keys[0].material == b"t" * 40
    assert loaded.user_header is not None
    shown = settings.shown(loaded)
    assert shown["issuers[0]"] == "https://id for main/main"
    assert shown["user_header"] == "X-User-Id for main/intranet"
    assert shown["trusted_proxies"] == "10.0.0.0/8, ::1/128"
    assert "t" * 40 not in str(shown) + repr(loaded)
    assert origins["issuers"] == f"issuers in {file}"
    file.write_text("[[issuers]]\niss = 'x'\nsecrets = ['short']\n")
    with pytest.raises(SettingsError, match=r"/favsync\.toml: issuers\[0\]\.secrets: each must be"):
        settings.load(config=file)
