"""Small worlds, so that ties and meetings are common."""

from hypothesis import strategies as st

from favsync.core.record import Version

digests = st.sampled_from([b"", b"\x00", b"\x00\x00", b"\x01", b"\x7f", b"\x80", b"\xff"])
versions = st.builds(Version, action_us=st.integers(0, 3), deleted=st.booleans(), digest=digests)
