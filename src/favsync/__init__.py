"""Two-way synchronisation of favourites and other per-user records."""

__version__ = "0.1.0"
