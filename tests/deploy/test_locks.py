"""The locks of what is deployed are parts of the one that everything is tested with."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ASKED_FOR = {
    "deploy/runtime.lock": PROJECT["project"]["dependencies"],
    "deploy/embedded.lock": PROJECT["project"]["optional-dependencies"]["embedded"],
    "deploy/build.lock": PROJECT["build-system"]["requires"],
}
_PINNED = re.compile(r"^([a-z0-9._-]+)==(\S+)[^\n]*((?:\n    --hash=\S+[^\n]*)+)", re.MULTILINE)


def _pins(path: str) -> dict[str, tuple[str, frozenset[str]]]:
    found = _PINNED.findall((ROOT / path).read_text())
    return {name: (version, frozenset(re.findall(r"sha256:[0-9a-f]{64}", hashes))) for name, version, hashes in found}


@pytest.mark.parametrize("path", ASKED_FOR)
def test_a_lock_agrees_with_the_great_one_and_with_the_project(path: str) -> None:
    pins, great = _pins(path), _pins("requirements.lock")
    assert {name: great.get(name) for name in pins} == pins, "run `make lock UPGRADE=`"
    assert all(hashes for _, hashes in pins.values())
    for requirement in map(Requirement, ASKED_FOR[path]):
        version, _ = pins[canonicalize_name(requirement.name)]
        assert version in requirement.specifier, "run `make lock UPGRADE=`"


@pytest.mark.parametrize("path", ["requirements.lock", *ASKED_FOR])
def test_a_lock_names_no_place(path: str) -> None:
    code = re.sub(r"#.*", "", (ROOT / path).read_text())
    assert not re.findall(r"://|^-|file:| @ ", code, re.MULTILINE)
