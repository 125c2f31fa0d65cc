"""Small worlds, so that ties and meetings are common; and what may stand in `fields`, its edges often."""

from hypothesis import strategies as st

from favsync.core.record import Version

digests = st.sampled_from([b"", b"\x00", b"\x00\x00", b"\x01", b"\x7f", b"\x80", b"\xff"])
versions = st.builds(Version, action_us=st.integers(0, 3), deleted=st.booleans(), digest=digests)

EDGE_NUMBERS = [
    0, -0.0, 1, 1.0, -1, 100, 1e2, 0.1, 1e-7, 1e-6, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308,
    1e21, -1e21, 1.0000000000000001e21, 2**53 - 1, float(2**53 - 1), 1 - 2**53, 333333333.33333329, 0.30000000000000004,
]  # fmt: skip
EDGE_TEXTS = [
    "", "\ufffd", "\ufeff", "\U0001f600", "\U0010ffff", "e\u0301", "\u00e9", "\u05d0\u0628\u202e", "\u2028\u2029",
    '"\\/', "\b\t\n\f\r", "\x01\x1f\x7f\x80", "\ud7ff\ue000\uffff", "\u20ac$", "</script>", "1e2", "null",
]  # fmt: skip

texts = st.sampled_from(EDGE_TEXTS) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8
)
numbers = (
    st.sampled_from(EDGE_NUMBERS)
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False).filter(
        lambda number: abs(number) < 2**53 or abs(number) >= 1e21,
    )
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
objects = st.dictionaries(texts, values, max_size=5)
