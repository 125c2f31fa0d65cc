"""A Dockerfile read and carried out without a container engine: in one folder, which stands for / of every stage."""

import json
import os
import re
import shutil
import string
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.deploy.machine import python_for_all

_ROOTED = re.compile(r"(?<![^\s=:])/(?=[a-z])")  # where a word, or a part of a list of paths, begins with /


class Instruction(NamedTuple):
    name: str
    text: str


class Image(NamedTuple):
    """What `build` made. `environment` is all that a process in it would see, paths in it lead below `root`."""

    root: Path
    environment: dict[str, str]
    workdir: Path
    uid: int
    gid: int
    stop_signal: str
    command: list[str]
    healthcheck: list[str]
    labels: dict[str, str]


def instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "")
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines()]


def ignores(patterns: str, path: str) -> bool:
    """Whether a .dockerignore keeps `path` out: the last pattern that fits it, or a folder it is in, decides."""
    ignored = False
    parts = path.split("/")
    parents = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    for pattern in patterns.splitlines():
        if not pattern or pattern.startswith("#"):
            continue
        expression = re.escape(pattern.removeprefix("!")).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(expression, parent) for parent in parents):
            ignored = not pattern.startswith("!")
    return ignored


def context(source: Path, target: Path) -> None:
    """Copies what a build of `source` would be given."""
    patterns = (source / ".dockerignore").read_text()
    for folder, folders, files in os.walk(source):
        folders[:] = [name for name in folders if name not in {".git", ".venv"}]  # large, and tested with `ignores`
        for name in files:
            path = Path(folder, name).relative_to(source)
            if not ignores(patterns, path.as_posix()):
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / path, target / path)


def build(dockerfile: Path, source: Path, scratch: Path) -> Image:
    """Carries out every instruction; AssertionError where one fails or is not known here.

    `source` is the build's context. Every stage has `scratch`/root for its /, and is moved aside when the next begins,
    so that the last has only what it was given, and scripts find their interpreter where they were told it is.
    """
    base = scratch / "base"
    base.mkdir()
    (base / "python").symlink_to(python_for_all())
    stages: dict[str, Path] = {}
    build = _Stage(base, scratch / "root", source, stages)
    for instruction in instructions(dockerfile.read_text()):
        if instruction.name == "FROM":
            if stages:
                build.root.rename(next(reversed(stages.values())))
            build = _Stage(base, scratch / "root", source, stages)
            name = instruction.text.partition(" AS ")[2] or "final"
            stages[name] = scratch / f"stage-{name}"
        else:
            build.carry_out(instruction)
    return build.image()


class _Stage:
    def __init__(self, base: Path, root: Path, source: Path, stages: dict[str, Path]) -> None:
        self.root = root
        self._source = source
        self._stages = stages
        self._arguments: dict[str, str] = {}
        self._environment = {"PATH": f"{base}:/usr/bin:/bin", "HOME": "/"}  # HOME as an engine sets it
        self._workdir = root
        self._last: dict[str, str] = {}
        self._labels: dict[str, str] = {}
        if not root.exists():
            root.mkdir()

    def carry_out(self, instruction: Instruction) -> None:
        name, text = instruction
        if name == "WORKDIR":
            self._workdir /= self._rooted(text)
            self._workdir.mkdir(parents=True, exist_ok=True)
        elif name == "ENV":
            self._environment |= self._pairs(self._rooted(text))
        elif name == "ARG":
            self._arguments |= self._pairs(text)
        elif name == "LABEL":
            self._labels |= self._pairs(text)
        elif name == "COPY":
            self._copy(text.split())
        elif name == "RUN":
            self._run(self._rooted(text))
        else:
            assert name in {"USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "CMD"}, name
            self._last[name] = text

    def image(self) -> Image:
        uid, gid = self._last["USER"].split(":")
        return Image(
            root=self.root,
            environment=self._environment,
            workdir=self._workdir,
            uid=int(uid),
            gid=int(gid),
            stop_signal=self._last["STOPSIGNAL"],
            command=json.loads(self._last["CMD"]),
            healthcheck=json.loads(self._last["HEALTHCHECK"].partition("CMD ")[2]),
            labels=self._labels,
        )

    def _rooted(self, text: str) -> str:
        return _ROOTED.sub(f"{self.root}/", text)

    def _pairs(self, text: str) -> dict[str, str]:
        known = self._arguments | self._environment
        pairs = re.findall(r'(\S+?)=("[^"]*"|\S*)', text)
        return {name: string.Template(value.strip('"')).substitute(known) for name, value in pairs}

    def _copy(self, words: list[str]) -> None:
        start = self._source
        if words[0].startswith("--from="):
            start = self._stages[words.pop(0).removeprefix("--from=")]
        *sources, target = words
        place = self._workdir / self._rooted(target)
        for name in sources:
            source = start / name.lstrip("/")
            if source.is_dir():
                shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
            else:
                assert target.endswith("/")
                shutil.copy2(source, place / source.name)

    def _run(self, command: str) -> None:
        # What pip was told about its index is this machine's, and stands for what it is told on another.
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or "proxy" in name.lower()}
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self._workdir, env=pip | self._environment | {"HOME": os.environ.get("HOME", "/")},
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
