"""The parser of event streams, held against the HTML standard, and against itself in other chunks."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from favsync.client.sse import Message, Parser, TooLarge

PIECES = [
    b"data: a", b"data:b", b"data:  c", b"data", b"data:", b": comment", b":", b"id: 7", b"id", b"id: \0", b"id:x:y",
    b"event: other", b"event", b"retry: 50", b"retry: 5x", b"retry:", b"unknown: 1", b" data: not a field", b"Data: x",
    "data: \u00e9\U0001f600\u2028".encode(), b"data: \xff\xc3", b"\xef\xbb\xbf", b"\xef\xbb\xbfdata: marked",
    b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r",
]  # fmt: skip
streams = st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=30).map(b"".join)


def parsed(parser: Parser, *chunks: bytes) -> list[Message]:
    return [message for chunk in chunks for message in parser.feed(chunk)]


def by_the_standard(stream: bytes) -> tuple[list[Message], int | None]:
    """Section 9.2.6 word for word, of a stream that is there as a whole."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]  # what no break ends is no line
    data, kind, last_id, retry_ms, messages = "", "", "", None, []
    for line in lines:
        if line == "":
            if data:
                messages.append(Message(kind or "message", data.removesuffix("\n"), last_id))
            data, kind = "", ""
            continue
        name, colon, value = line.partition(":")
        value = value.removeprefix(" ") if colon else ""
        if name == "event":
            kind = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and "\0" not in value:
            last_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            retry_ms = int(value)
    return messages, retry_ms


@given(streams, st.lists(st.integers(0, 200), max_size=20))
def test_however_it_is_cut_it_is_what_the_standard_says(stream: bytes, cuts: list[int]) -> None:
    ends = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    chunks = [stream[begin:end] for begin, end in zip(ends, [*ends[1:], None], strict=True)]
    parser = Parser()
    assert (parsed(parser, *chunks), parser.retry_ms) == by_the_standard(stream)


@given(streams)
def test_byte_by_byte_too(stream: bytes) -> None:
    parser = Parser()
    single = [stream[at : at + 1] for at in range(len(stream))]
    assert (parsed(parser, *single), parser.retry_ms) == by_the_standard(stream)


@given(streams, st.lists(st.integers(0, 200), max_size=20), st.integers(0, 20), st.integers(0, 20))
def test_what_is_too_large_is_so_wherever_it_is_cut(stream: bytes, cuts: list[int], line: int, data: int) -> None:
    def outcome(*chunks: bytes) -> tuple[list[Message], bool]:
        parser, messages = Parser(line, data), []
        try:
            for chunk in chunks:
                for message in parser.feed(chunk):
                    messages.append(message)  # noqa: PERF402 -- those before the error are wanted
        except TooLarge:
            return messages, True
        return messages, False

    ends = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    assert outcome(*(stream[a:b] for a, b in itertools.pairwise(ends))) == outcome(stream)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([b"data: a\n\n"], [("message", "a", "")]),
        ([b"data: a\r", b"\n\r", b"\n"], [("message", "a", "")]),
        ([b"data: a\r", b"\r"], [("message", "a", "")]),
        ([b"data: a\ndata: b\ndata\n\n"], [("message", "a\nb\n", "")]),
        ([b"data\n\n"], [("message", "", "")]),
        ([b"data:  a\n\n"], [("message", " a", "")]),
        ([b"\xef", b"\xbb", b"\xbfdata: a\n\n"], [("message", "a", "")]),
        ([b"\n\xef\xbb\xbfdata: a\n\n"], []),
        ([b": hello\n\n:\n\n"], []),
        ([b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n"],
         [("message", "a", "1"), ("message", "b", "1"), ("message", "c", "")]),
        ([b"id: 1\n\ndata: a\n\n"], [("message", "a", "1")]),
        ([b"id: 1\0\ndata: a\n\n"], [("message", "a", "")]),
        ([b"event: x\ndata: a\n\ndata: b\n\n"], [("x", "a", ""), ("message", "b", "")]),
        ([b"event: x\n\ndata: b\n\n"], [("message", "b", "")]),
        ([b"data: unfinished\n"], []),
        ([b"data: \xf0\x9f", b"\x98\x80\n\n"], [("message", "\U0001f600", "")]),
    ],
)  # fmt: skip
def test_as_the_standard_has_it(chunks: list[bytes], expected: list[tuple[str, str, str]]) -> None:
    assert parsed(Parser(), *chunks) == [Message(*one) for one in expected]


def test_its_bounds_are_exact() -> None:
    assert parsed(Parser(7, 1), b"data: a\n\n")
    with pytest.raises(TooLarge, match="line"):
        parsed(Parser(6, 9), b"data: a")
    assert parsed(Parser(99, 3), b"data: a\ndata: b\n\n")
    with pytest.raises(TooLarge, match="data"):
        parsed(Parser(99, 2), b"data: a\ndata: b\n\n")
    assert len(parsed(Parser(99, 2), b"data: a\n\n" * 9)) == 9, "of one event, not of all"


def test_a_pause_that_is_asked_for_is_bounded() -> None:
    parser = Parser()
    assert parser.retry_ms is None
    parsed(parser, b"retry: 1500\n")
    assert parser.retry_ms == 1500
    parsed(parser, b"retry: 999999999999\nretry: -1\nretry: 9999999999999999\n")
    assert parser.retry_ms == 3_600_000
