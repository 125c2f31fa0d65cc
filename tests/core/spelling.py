"""One JSON value, written in the many ways in which clients write it."""

import json
import random
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_SHORT = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_SPACES = ["", "", "", " ", "\n", "\t", " \r\n  "]


def spell(value: Any, chance: random.Random) -> str:
    """JSON that says `value`: names in any order, any white space, any escapes, numbers in any notation.

    A number that is no integer below 2^53 never looks like one: readers differ in what they make of that.
    """
    match value:
        case None | bool():
            return json.dumps(value)
        case str():
            return '"' + "".join(_character(each, chance) for each in value) + '"'
        case int() | float():
            return _number(value, chance)
        case Mapping():
            members = [(spell(name, chance), spell(member, chance)) for name, member in value.items()]
            chance.shuffle(members)
            return _joined(
                "{", [f"{name}{_space(chance)}:{_space(chance)}{text}" for name, text in members], "}", chance
            )
        case _:
            return _joined("[", [spell(element, chance) for element in value], "]", chance)


def _joined(begin: str, parts: list[str], end: str, chance: random.Random) -> str:
    spaced = [_space(chance) + part + _space(chance) for part in parts] or [_space(chance)]
    return begin + ",".join(spaced) + end


def _space(chance: random.Random) -> str:
    return chance.choice(_SPACES)


def _character(character: str, chance: random.Random) -> str:
    code = character.encode("utf-16-be")
    units = [code[at : at + 2].hex() for at in range(0, len(code), 2)]
    escaped = "".join(f"\\u{unit if chance.random() < 0.5 else unit.upper()}" for unit in units)
    ways = [escaped]
    if character in _SHORT:
        ways.append(_SHORT[character])
    if character >= " " and character not in '"\\':
        ways += [character] * 3
    return chance.choice(ways)


def _number(number: float, chance: random.Random) -> str:
    exact = Decimal(number)
    plain = format(exact, "f")
    if "." not in plain:
        plain += ".0"
    ways = [repr(number), f"{exact:.25e}", f"{exact:.25E}".replace("E+", "E"), plain, plain + "000"]
    if isinstance(number, float):
        ways.append(f"{number:.16e}")
    if exact == int(exact) and abs(number) < 2**53:
        whole = int(exact)
        ways += [str(whole), f"{whole}e0", f"{whole}.00E+0", *([f"{whole}0e-1"] if whole else [])]
    if number == 0:
        ways += ["-0", "0e5", "-0.0", "0.000E-9"]
    return chance.choice(ways)
