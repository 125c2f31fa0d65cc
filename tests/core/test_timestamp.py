"""actionDate: strict in, one form out."""

import contextlib
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from favsync.core import timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
instants = st.integers(timestamp.EARLIEST_US, timestamp.LATEST_US)


def _us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2017-05-02T10:45:12.798Z", datetime(2017, 5, 2, 10, 45, 12, 798_000, UTC)),
        ("2017-05-02t10:45:12.798z", datetime(2017, 5, 2, 10, 45, 12, 798_000, UTC)),
        ("2017-05-02 10:45:12", datetime(2017, 5, 2, 10, 45, 12, 0, UTC)),
        ("2017-05-02T10:45:12.1", datetime(2017, 5, 2, 10, 45, 12, 100_000, UTC)),
        ("2017-05-02T10:45:12.1234569999Z", datetime(2017, 5, 2, 10, 45, 12, 123_456, UTC)),
        ("2017-05-02T10:45:12+02:30", datetime(2017, 5, 2, 8, 15, 12, 0, UTC)),
        ("2017-05-02T10:45:12-23:59", datetime(2017, 5, 3, 10, 44, 12, 0, UTC)),
        ("2017-05-02T10:45:12+23:59", datetime(2017, 5, 1, 10, 46, 12, 0, UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, 999_999, UTC)),
        ("2016-12-31T23:59:60.25Z", datetime(2016, 12, 31, 23, 59, 59, 999_999, UTC)),
        ("2000-02-29T00:00:00Z", datetime(2000, 2, 29, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", EPOCH),
        ("1969-12-31T23:30:00-01:00", datetime(1970, 1, 1, 0, 30, tzinfo=UTC)),
        ("2100-12-31T23:59:59.999999Z", datetime(2100, 12, 31, 23, 59, 59, 999_999, UTC)),
        ("2101-01-01T00:59:59+01:00", datetime(2100, 12, 31, 23, 59, 59, 0, UTC)),
    ],
)
def test_reads(text: str, moment: datetime) -> None:
    assert timestamp.parse(text) == _us(moment)


SHAPE = "is not an RFC 3339 date and time such as 2017-05-02T10:45:12.798Z"
TIME = "is not a time of day"
DAY = "is not a day of the calendar"
ZONE = "has a zone offset that is none"
YEARS = "is outside the years 1970 to 2100"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", SHAPE),
        ("yesterday", SHAPE),
        ("2017-05-02", SHAPE),
        ("2017-W18-2T10:45:12Z", SHAPE),
        ("20170502T104512Z", SHAPE),
        ("2017-05-02T10Z", SHAPE),
        ("2017-05-02T10:45Z", SHAPE),
        ("2017-05-02T10:45:12,5Z", SHAPE),
        ("2017-05-02T10:45:12.Z", SHAPE),
        ("2017-05-02T10:45:12 Z", SHAPE),
        ("2017-05-02T10:45:12+0230", SHAPE),
        ("2017-05-02T10:45:12+02", SHAPE),
        ("2017-05-02T10:45:12+02:30:00", SHAPE),
        ("2017-05-02T10:45:12Z\n", SHAPE),
        (" 2017-05-02T10:45:12Z", SHAPE),
        ("+2017-05-02T10:45:12Z", SHAPE),
        ("٢٠١٧-05-02T10:45:12Z", SHAPE),
        ("2017-05-02T10:45:12.\u0667Z", SHAPE),
        ("1493721912798", SHAPE),
        (f"2017-05-02T10:45:12.{'1' * 45}", SHAPE),
        ("2017-05-02T24:00:00Z", TIME),
        ("2017-05-02T10:60:00Z", TIME),
        ("2017-05-02T10:45:61Z", TIME),
        ("2017-02-29T10:45:12Z", DAY),
        ("2017-13-01T10:45:12Z", DAY),
        ("2017-00-01T10:45:12Z", DAY),
        ("0000-01-01T10:45:12Z", DAY),
        ("2017-05-02T10:45:12+24:00", ZONE),
        ("2017-05-02T10:45:12+23:60", ZONE),
        ("1969-12-31T23:59:59.999999Z", YEARS),
        ("1970-01-01T00:59:59+01:00", YEARS),
        ("2101-01-01T00:00:00Z", YEARS),
        ("9999-12-31T23:59:59-23:59", YEARS),
        ("0001-01-01T00:00:00+23:59", YEARS),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        timestamp.parse(text)


def test_the_longest_text_that_is_read() -> None:
    longest = f"2017-05-02T10:45:12.{'1' * 43}Z"
    assert len(longest) == 64
    assert timestamp.render(timestamp.parse(longest)) == "2017-05-02T10:45:12.111111Z"


@given(instants)
@example(timestamp.EARLIEST_US)
@example(timestamp.LATEST_US)
@example(1_000)
@example(1)
def test_what_is_printed_reads_back_as_the_same_instant(instant_us: int) -> None:
    text = timestamp.render(instant_us)
    assert timestamp.parse(text) == instant_us
    assert len(text) == (24 if instant_us % 1000 == 0 else 27)
    assert _us(datetime.fromisoformat(text)) == instant_us


@given(instants, st.integers(-1439, 1439), st.sampled_from("Tt "))
def test_an_offset_names_the_same_instant(instant_us: int, minutes: int, separator: str) -> None:
    local = (EPOCH + timedelta(microseconds=instant_us)).astimezone(timezone(timedelta(minutes=minutes)))
    assert timestamp.parse(local.isoformat(separator, "microseconds")) == instant_us


@given(
    st.from_regex(r"[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,9})?(Z|[+-][0-2][0-9]:[0-6][0-9])?", fullmatch=True)  # noqa: E501
    | st.text(max_size=80)
)  # fmt: skip
def test_whatever_is_read_is_what_the_standard_library_reads(text: str) -> None:
    with contextlib.suppress(ValueError):
        instant_us = timestamp.parse(text)
        assert timestamp.EARLIEST_US <= instant_us <= timestamp.LATEST_US
        if ":60" not in text:
            plain = re.sub(r"\.(\d{1,6})\d*", lambda match: f".{match[1]:<06}", text.upper())
            moment = datetime.fromisoformat(plain)
            assert _us(moment.replace(tzinfo=moment.tzinfo or UTC)) == instant_us


@given(st.datetimes(), st.integers(-1439, 1439))
@example(datetime(1, 1, 1), 1439)  # noqa: DTZ001
@example(datetime(9999, 12, 31, 23, 59, 59, 999_999), -1439)  # noqa: DTZ001
def test_an_instant_may_be_of_any_year(local: datetime, minutes: int) -> None:
    zone = timezone(timedelta(minutes=minutes)) if minutes else UTC
    written = local.isoformat(timespec="microseconds")
    us = _us(local.replace(tzinfo=UTC))
    assert timestamp.instant(written) == us
    assert timestamp.instant(local.replace(tzinfo=zone).isoformat()) == us - minutes * timestamp.US_PER_MINUTE


def test_the_edges_of_the_years() -> None:
    assert timestamp.within_range(timestamp.EARLIEST_US) == timestamp.EARLIEST_US
    assert timestamp.within_range(timestamp.LATEST_US) == timestamp.LATEST_US
    for outside_us in (timestamp.EARLIEST_US - 1, timestamp.LATEST_US + 1):
        with pytest.raises(ValueError, match=f"^{YEARS}$"):
            timestamp.within_range(outside_us)


def test_each_hour_and_minute_is_printed() -> None:
    for minute in range(24 * 60):
        assert timestamp.render(minute * 60_000_000) == f"1970-01-01T{minute // 60:02d}:{minute % 60:02d}:00.000Z"
