"""The program, as `favsync` and as `python -m favsync`."""

import sys
from typing import NoReturn

INTERRUPTED = 130


def main() -> NoReturn:
    """Runs it. A Ctrl-C while it is still being imported ends it as quietly as a later one."""
    try:
        from favsync import cli  # noqa: PLC0415 -- which takes a few tenths of a second
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    cli.main()


if __name__ == "__main__":
    main()
