"""compose.yaml: parsed, and held against the settings, the image and the law of least rights."""

import ipaddress
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.deploy.docs import runnable
from tests.deploy.variables import meaningless

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
FAVSYNC, DATABASE = COMPOSE["services"]["favsync"], COMPOSE["services"]["database"]


@pytest.mark.parametrize("service", [FAVSYNC, DATABASE])
def test_a_service_may_do_no_more_than_it_must(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "pids_limit", "restart", "stop_grace_period", "healthcheck"} <= set(service)
    assert not re.search(r"(?i)(password|secret|url): (?!/run/secrets/)", yaml.safe_dump(service["environment"]))
    assert set(re.findall(r"/run/secrets/([\w-]+)", yaml.safe_dump(service))) == set(service["secrets"])
    assert set(service["secrets"]) <= set(COMPOSE["secrets"])


def test_what_it_names_is_there() -> None:
    assert not meaningless(FAVSYNC["environment"])
    assert FAVSYNC["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert DATABASE["volumes"] == ["database:/var/lib/postgresql"]  # as the image has it from 18 on
    assert DATABASE["image"] == "postgres:18"
    assert "database" in COMPOSE["volumes"]
    assert all(port.startswith("127.0.0.1:") for port in FAVSYNC["ports"])
    assert "ports" not in DATABASE
    [network] = COMPOSE["networks"]["default"]["ipam"]["config"]
    assert ipaddress.ip_address(network["gateway"]) in ipaddress.ip_network(network["subnet"])
    assert FAVSYNC["environment"]["FAVSYNC_TRUSTED_PROXIES"] == network["gateway"]


def test_the_secrets_that_the_page_makes_are_those_that_the_service_takes(tmp_path: Path) -> None:
    subprocess.run(["/bin/bash", "-euc", runnable("secrets")], cwd=tmp_path, check=True)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    files = {name: tmp_path / secret["file"] for name, secret in COMPOSE["secrets"].items()}
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in files.values())
    given = {
        name: value.replace("/run/secrets", f"{tmp_path}/secrets") for name, value in FAVSYNC["environment"].items()
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FAVSYNC_")}
    shown = subprocess.run(
        [sys.executable, "-m", "favsync", "config"],
        env=clean | given, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stderr == ""
    assert "postgresql://favsync:********@database/favsync" in shown.stdout
    password = files["database-password"].read_text().strip()
    assert files["database-url"].read_text().strip() == f"postgresql://favsync:{password}@database/favsync"
    assert len(password) == 64
    assert len(files["jwt-secret"].read_text().strip()) == 64
