"""Regular expressions for ranges of numbers and dates that are written as text: what `minimum` cannot say of them.

They say which texts of the right shape lie in the range; the shape itself is told apart.
"""

import re
from datetime import date, timedelta

MONTHS_AND_DAYS = (
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_MULTIPLE_OF_4 = "(?:0[48]|[2468][048]|[13579][26])"
_DAY = f"(?:{_YEAR}-{MONTHS_AND_DAYS}|(?:[0-9]{{2}}{_MULTIPLE_OF_4}|{_MULTIPLE_OF_4}00)-02-29)"
HOUR = "(?:[01][0-9]|2[0-3])"

# A day of the calendar, years 0001 to 9999.
DAY = f"^{_DAY}$"
# What `timestamp.instant` takes, of up to 64 characters.
MOMENT = f"^{_DAY}[Tt ]{HOUR}:[0-5][0-9]:(?:[0-5][0-9]|60)(?:\\.[0-9]+)?(?:[Zz]|[+-]{HOUR}:[0-5][0-9])?$"
_ZONES = timedelta(days=2)  # so far apart two dates may be of which neither is the earlier


def number_from(low: str) -> str:
    """The decimals from `low` on, which is one: `-?digits(.digits)?`."""
    return _number(low, up=True)


def number_to(high: str) -> str:
    """The decimals up to `high`."""
    return _number(high, up=False)


def day_from(low: str) -> str:
    """The days from `low` on, and whatever begins with one of them."""
    return f"^(?:{'|'.join([*_beside(low, up=True), low])})"


def day_to(high: str) -> str:
    return f"^(?:{'|'.join([*_beside(high, up=False), high])})"


def moment_from(low: str) -> list[str]:
    """The days on which, in some zone, it may be `low` or later: none where that says nothing."""
    try:
        return [day_from((date.fromisoformat(low[:10]) - _ZONES).isoformat())]
    except OverflowError:
        return []


def moment_to(high: str) -> list[str]:
    try:
        return [day_to((date.fromisoformat(high[:10]) + _ZONES).isoformat())]
    except OverflowError:
        return []


def _number(bound: str, *, up: bool) -> str:
    whole, _, fraction = bound.removeprefix("-").partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    if whole == "0" and not fraction:
        zero, some = "0+(?:\\.0+)?", "[0-9.]+"
        return f"^(?:{some}|-{zero})$" if up else f"^(?:-{some}|{zero})$"
    negative = bound.startswith("-")
    beyond = _magnitude(whole, fraction, up=up is not negative)
    if up is not negative:  # on one side of zero: 3 or more, -3 or less
        return f"^{'-' if negative else ''}0*(?:{beyond})$"
    return f"^(?:-0*(?:{beyond})|[0-9.]+)$" if negative else f"^(?:-[0-9.]+|0*(?:{beyond}))$"


def _magnitude(whole: str, fraction: str, *, up: bool) -> str:
    """Numbers without sign and leading zeros that are as great as whole.fraction or greater; or smaller."""
    any_fraction = "(?:\\.[0-9]+)?"
    wholes = [_padded(beside, len(whole)) for beside in _beside(whole, up=up)]
    if up:
        wholes.append(f"[1-9][0-9]{{{len(whole)},}}")
        fractions = (
            [f"\\.(?:{'|'.join([*_beside(fraction, up=True), fraction])})[0-9]*"] if fraction else [any_fraction]
        )
    else:
        if len(whole) > 1:
            wholes.append(f"[0-9]{{1,{len(whole) - 1}}}")
        shorter = [fraction[:length] for length in range(1, len(fraction))]
        less = [f"{beside}[0-9]*" for beside in _beside(fraction, up=False)]
        fractions = [f"(?:\\.(?:{'|'.join([*less, *shorter, f'{fraction}0*'])}))?" if fraction else "(?:\\.0+)?"]
    some = f"(?:{'|'.join(wholes)}){any_fraction}|" if wholes else ""
    return some + "|".join(f"{whole}{end}" for end in fractions)


def _padded(prefix: str, length: int) -> str:
    missing = length - len(re.sub(r"\[.*\]", "d", prefix))
    return prefix + (f"[0-9]{{{missing}}}" if missing else "")


def _beside(text: str, *, up: bool) -> list[str]:
    """What texts begin with that sort after `text` (or before it), place by place, where digits stand."""
    found = []
    for place, digit in enumerate(text):
        if digit.isdigit() and digit != ("9" if up else "0"):
            digits = f"[{int(digit) + 1}-9]" if up else f"[0-{int(digit) - 1}]"
            found.append(text[:place] + digits)
    return found
