"""The canonical form against the language that defines it: what a device writes in JavaScript has the same bytes."""

import random
import struct
import subprocess
from collections.abc import Mapping

from favsync.core import fields
from tests.core.spelling import spell
from tests.core.strategies import EDGE_NUMBERS, EDGE_TEXTS
from tests.e2e.device_program import NODE

# RFC 8785, section 3.2: names in the order of JavaScript, and all else as JSON.stringify has it.
PROGRAM = r"""
const write = (value) =>
  value === null || typeof value !== "object" ? JSON.stringify(value)
  : Array.isArray(value) ? "[" + value.map(write).join(",") + "]"
  : "{" + Object.keys(value).sort().map((name) => JSON.stringify(name) + ":" + write(value[name])).join(",") + "}";
const contents = require("node:fs").readFileSync(0, "utf8").split("\0");
process.stdout.write(contents.map((content) => write(JSON.parse(content))).join("\0"));
"""


def _any_number(chance: random.Random) -> float:
    """Of any exponent, but for what has no canonical form."""
    while True:
        number: float = struct.unpack(">d", chance.randbytes(8))[0]
        if fields.is_exact(number):
            return number


def test_javascript_writes_the_same() -> None:
    chance = random.Random(8785)
    contents: list[Mapping[str, object]] = [{"numbers": EDGE_NUMBERS, "texts": EDGE_TEXTS}]
    for _ in range(200):
        names = EDGE_TEXTS + [chr(code) for code in chance.choices(range(1, 0xD800), k=9)]
        names += [chr(code) for code in chance.choices(range(0xE000, 0x110000), k=9)]
        chance.shuffle(names)
        near = [chance.choice([10.0, 2.0]) ** chance.randrange(-30, 16) * chance.random() for _ in range(20)]
        contents.append({name: [_any_number(chance) for _ in range(5)] for name in names} | {"near": near})
    sent = "\0".join(spell(content, chance) for content in contents)
    done = subprocess.run([NODE, "--eval", PROGRAM], input=sent.encode(), capture_output=True, timeout=60, check=True)
    assert done.stdout.split(b"\0") == [fields.canonical(content) for content in contents]
