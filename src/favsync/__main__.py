"""`python -m favsync`."""

from favsync.cli import main

main()
