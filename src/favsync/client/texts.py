"""What others wrote, as far as a log or a terminal may have it."""

LENGTH_MAX = 500


def printable(text: str) -> str:
    """The beginning of it, on one line, and without what a terminal takes for a command."""
    return "".join(one if one.isprintable() else " " for one in text[:LENGTH_MAX])
