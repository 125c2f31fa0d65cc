"""Patterns that an operator declares: matched by RE2, in time linear in the text, and printed for JSON Schema."""

import re

import re2  # type: ignore[import-untyped]  # it ends here: nothing else imports it

_SPACE = r"\t\n\f\r "  # what \s is to RE2; elsewhere it is more
_SYNTAX = "^$\\.*+?()[]{}|/"
_ESCAPE = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|[dDwWsSbBnrtfv]|[pP](?:[A-Z]|\{[A-Z][a-z]?\})|[^0-9A-Za-z])", re.DOTALL)
_REPETITION = re.compile(r"\{[0-9]+(?:,[0-9]*)?\}")
_CLASS = re.compile(r"\\[dDwWsSpP]")  # an escape that is many characters


class Pattern:
    """A pattern in RE2's syntax. `published`: the same in that of ECMA-262, which JSON Schema has.

    Raises ValueError, a sentence, for what RE2 does not take and for what ECMA-262 has no word for.
    """

    def __init__(self, source: str) -> None:
        options = re2.Options()
        options.log_errors = False
        try:
            self._compiled = re2.compile(source, options)
        except re2.error as error:
            reason = error.args[0]
            said = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
            raise ValueError(f"is not a pattern that RE2 takes: {said}") from None
        self.source = source
        self.published = _published(source)

    def found_in(self, text: str) -> bool:
        """Whether any part of `text`, which UTF-8 can hold, matches."""
        return bool(self._compiled.search(text))


def _published(source: str) -> str:
    """`source`, which RE2 has taken, as ECMA-262 with the flag u has it."""
    parts = []
    at = 0
    while at < len(source):
        if source[at] == "[":
            part, at = _brackets(source, at)
        elif repetition := _REPETITION.match(source, at):
            part, at = repetition[0], repetition.end()
        elif source[at] == "\\":
            escape = _escape(source, at)
            part, at = _one(escape), at + len(escape)
            part = f"[{_SPACE}]" if escape == r"\s" else f"[^{_SPACE}]" if escape == r"\S" else part
        elif source.startswith("(?", at) and not source.startswith("(?:", at):
            raise ValueError("has a group that begins with (?, and JSON Schema knows (?: alone")
        else:
            part = {".": r"[^\n]", "]": r"\]", "{": r"\{", "}": r"\}"}.get(source[at], source[at])
            at += 1
        parts.append(part)
    return "".join(parts)


def _brackets(source: str, at: int) -> tuple[str, int]:
    """The class that begins at `at`, and where it has ended."""
    parts = ["[^" if source.startswith("[^", at) else "["]
    at += len(parts[0])
    first = at
    while source[at] != "]" or at == first:
        member = _member(source, at)
        at += len(member)
        parts.append(_SPACE if member == r"\s" else _one(member, brackets=True))
        if not _CLASS.match(member) and source[at] == "-" and source[at + 1] != "]":
            end = _member(source, at + 1)
            at += 1 + len(end)
            parts.append("-" + _one(end, brackets=True))
    return "".join(parts) + "]", at + 1


def _member(source: str, at: int) -> str:
    if source.startswith("[:", at):
        raise ValueError("has a class such as [:alpha:], which JSON Schema does not know")
    member = _escape(source, at) if source[at] == "\\" else source[at]
    if member == r"\S":
        raise ValueError(r"has \S in brackets, where JSON Schema takes it for something else")
    return member


def _escape(source: str, at: int) -> str:
    match = _ESCAPE.match(source, at)
    if match is None:
        raise ValueError(f"has {source[at : at + 2]}, which JSON Schema does not know")
    return match[0]


def _one(written: str, *, brackets: bool = False) -> str:
    """A character or an escape, escaped where ECMA-262 asks for it, and nowhere else."""
    if written[0] == "\\" and written[1].isalnum():
        return f"\\{written[1]}{{{written[2]}}}" if written[1] in "pP" and len(written) == len(r"\pL") else written
    character = written[-1]
    if brackets and character in "&~":  # two of them mean something to newer readers
        return f"\\x{ord(character):02x}"
    return f"\\{character}" if character in (_SYNTAX + "-" if brackets else _SYNTAX) else character
