"""Text that every door can carry: UTF-8 on the wire, `text` in PostgreSQL."""


def check_text(value: str) -> None:
    """ValueError for a NUL, which PostgreSQL cannot store, and for a lone surrogate, which UTF-8 cannot encode."""
    if "\0" in value:
        raise ValueError("holds a NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("holds half of a surrogate pair") from None
