"""What headers of an answer say."""

import pytest
from yarl import URL

from favsync.client import BadAnswer
from favsync.client.answers import looks_like_html, opaque, retry_after_s
from favsync.client.links import next_url

NOW_S = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("120", 120), (" 7 ", 7), ("9999999999", 86_400),
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10), ("Sunday, 06-Nov-94 08:49:47 GMT", 10), ("Sun Nov  6 08:49:47 1994", 10),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0), ("Wed, 06 Nov 2094 08:49:47 GMT", 86_400),
        (None, None), ("", None), ("-1", None), ("1.5", None), ("soon", None), ("\u0663", None), (20 * "9", None),
        ("Sun, 99 Nov 1994 08:49:47 GMT", None),
    ],
)  # fmt: skip
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert retry_after_s(text, lambda: NOW_S) == seconds


ASKED = URL("https://example.org/api/sync/notes?user=ann&limit=2")


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ([], None),
        (['</x>; rel="prev"'], None),
        (["nonsense", "<", "<>", "<x"], None),
        (['</sync/notes?page=A%2B,;b>; rel="next"'], "https://example.org/sync/notes?page=A%2B,;b"),
        (["<?page=2>; rel=next"], "https://example.org/api/sync/notes?page=2"),
        (['</2>; title="a, b"; REL="last Next", </3>; rel=next'], "https://example.org/2"),
        (["</1>; rel=first, </2>; rel=next"], "https://example.org/2"),
        (["</1>; rel=first", "</2>; rel=next"], "https://example.org/2"),
        (["<https://EXAMPLE.org:443/2>; rel=next"], "https://example.org:443/2"),
    ],
)  # fmt: skip
def test_the_next_page(links: list[str], expected: str | None) -> None:
    found = next_url(links, ASKED)
    assert found == (None if expected is None else URL(expected))


@pytest.mark.parametrize(
    "target",
    [
        "https://example.com/2", "//example.com/2", "http://example.org/2", "https://example.org:444/2",
        "https://x@example.org/2", "ftp://example.org/2", "javascript:1", "https://[::1", 3000 * "x",
    ],
)  # fmt: skip
def test_a_next_page_elsewhere_is_not_read(target: str) -> None:
    with pytest.raises(BadAnswer):
        next_url([f"<{target}>; rel=next"], ASKED)


def test_only_what_can_be_sent_back_is_kept() -> None:
    assert [opaque(one) for one in ('W/"a b"', "AQAA", 4096 * "x")] == ['W/"a b"', "AQAA", 4096 * "x"]
    assert [opaque(one) for one in (None, "", "a\nb", "caf\u00e9", "\udc80", 4097 * "x")] == [None] * 6


def test_a_page_for_people_is_known_by_its_beginning() -> None:
    for body in (b"<!DOCTYPE html><p>", b"\xef\xbb\xbf \n<html lang=en>", b"<!doctype HTML>"):
        assert looks_like_html(body)
    for body in (b"", b"<p>", b'"<html>"', b"[]", b"OK <html>"):
        assert not looks_like_html(body)
