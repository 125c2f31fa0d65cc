"""What the machine has: programs, a Python for any account, free ports."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SBIN = f"{os.environ['PATH']}:/usr/sbin:/sbin"  # where Debian has nginx, and an ordinary PATH has not


def program(name: str) -> str:
    """Where a program is; without it the test is skipped, which CI allows only where `.ci/run` says so."""
    found = shutil.which(name, path=SBIN)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def python_for_all() -> Path:
    """An interpreter with venv that any account can run, which one in a home seldom is; AssertionError without."""
    works = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"
    candidates = [Path(sys.executable).resolve(), Path("/usr/local/bin/python3"), Path("/usr/bin/python3")]
    for path in candidates:
        reachable = os.geteuid() or all(folder.stat().st_mode & 0o001 for folder in path.parents if folder.exists())
        if path.exists() and reachable and subprocess.run([path, "-c", works], check=False).returncode == 0:
            return path
    raise AssertionError("no Python 3.11 with venv that any account could run: apt-get install python3-venv")
