"""What was found of a backend, and what follows for whoever is to sync with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Setting = str | int | list[str]


class Mark(StrEnum):
    """OK: as documented. DIFFERS: it can be synced with, and something is to be known. FAILS: it cannot be."""

    OK = "ok"
    DIFFERS = "differs"
    FAILS = "fails"


@dataclass(frozen=True, slots=True)
class Finding:
    """`says`: what was seen, and what it means for syncing. `settings`: of `[[peers]]`, by their names, that fit it.

    `ends`: nothing that comes after it could be tried.
    """

    check: str
    mark: Mark
    says: str
    settings: Mapping[str, Setting] = field(default_factory=dict)
    ends: bool = False


Tell = Callable[[Finding], None]


def ok(check: str, says: str, **settings: Setting) -> Finding:
    return Finding(check, Mark.OK, says, settings)


def differs(check: str, says: str, *, ends: bool = False, **settings: Setting) -> Finding:
    return Finding(check, Mark.DIFFERS, says, settings, ends)


def fails(check: str, says: str, *, ends: bool = False) -> Finding:
    return Finding(check, Mark.FAILS, says, ends=ends)


@dataclass(slots=True)
class Report:
    """`settings`: of `[[peers]]`, all that fit. `named`: those of them that the caller knew, beside the URL.

    `header`: the name of the one that the token was sent in, where that is not a bearer's.
    """

    url: str
    findings: list[Finding] = field(default_factory=list)
    named: Mapping[str, str] = field(default_factory=dict)
    header: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it can be synced with, by these settings."""
        return bool(self.findings) and all(finding.mark is not Mark.FAILS for finding in self.findings)

    @property
    def settings(self) -> dict[str, Setting]:
        found = {name: value for finding in self.findings for name, value in finding.settings.items()}
        return {**self.named, **found}

    def as_json(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "ok": self.ok,
            "settings": self.settings,
            "findings": [
                {
                    "check": finding.check, "mark": str(finding.mark), "says": finding.says,
                    "settings": dict(finding.settings),
                }
                for finding in self.findings
            ],
        }  # fmt: skip
