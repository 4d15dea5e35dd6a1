"""Moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering.cli.dates import parse_moment
from treering.store.errors import InvalidInput

NOW = datetime(2024, 3, 31, 15, 30, 20, tzinfo=UTC)


def read(text: str, *, end: bool = False) -> str:
    found = parse_moment(text, NOW.timestamp(), end=end, zone=UTC)
    return datetime.fromtimestamp(found, UTC).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-02-03", "2024-02-03 00:00:00"),
        ("20240203", "2024-02-03 00:00:00"),
        ("2024-02-03T10:20", "2024-02-03 10:20:00"),
        ("2024-02-03 10:20:30", "2024-02-03 10:20:30"),
        ("2024-02-03t10:20:30z", "2024-02-03 10:20:30"),
        ("2024-02-03 10:20:30 +0200", "2024-02-03 08:20:30"),
        ("2024-02-03T10:20:30-05:30", "2024-02-03 15:50:30"),
        ("@1706955630", "2024-02-03 10:20:30"),
        ("now", "2024-03-31 15:30:20"),
        ("yesterday", "2024-03-30 15:30:20"),
        (" Today ", "2024-03-31 00:00:00"),
        ("midnight", "2024-03-31 00:00:00"),
        ("2 weeks ago", "2024-03-17 15:30:20"),
        ("2.weeks.ago", "2024-03-17 15:30:20"),
        ("90 seconds ago", "2024-03-31 15:28:50"),
        ("1 minute ago", "2024-03-31 15:29:20"),
        ("36 Hours", "2024-03-30 03:30:20"),
        ("an hour ago", "2024-03-31 14:30:20"),
        ("last week", "2024-03-24 15:30:20"),
        ("1 month ago", "2024-02-29 15:30:20"),
        ("13 months ago", "2023-02-28 15:30:20"),
        ("1 year, 1 day ago", "2023-03-30 15:30:20"),
    ],
)
def test_moments(text: str, moment: str) -> None:
    assert read(text) == moment


def test_a_day_ends_with_its_last_second() -> None:
    assert read("2024-02-28", end=True) == "2024-02-28 23:59:59"
    assert read("today", end=True) == "2024-03-31 23:59:59"
    assert read("2024-02-28 10:00", end=True) == "2024-02-28 10:00:00"
    assert read("midnight", end=True) == "2024-03-31 00:00:00"


def test_the_clock_of_the_user_counts() -> None:
    """In Berlin that day had 23 hours."""
    berlin = ZoneInfo("Europe/Berlin")
    start, end = (
        parse_moment("today", NOW.timestamp(), end=last, zone=berlin) for last in (False, True)
    )
    assert datetime.fromtimestamp(start, UTC) == datetime(2024, 3, 30, 23, tzinfo=UTC)
    assert end - start == 23 * 3600 - 1


NO_DATES = """soon|2024-13-01|2024-02-30|10:20|ago|2 fortnights ago|2 weeks later|weeks ago|@|
@99999999999999999999|999999999 years ago|-1 day ago|2024-02-03 x|2024-02-03 25:00||"""


@pytest.mark.parametrize("text", NO_DATES.split("|"))
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a date"):
        read(text)


@given(st.text(max_size=30) | st.from_regex(r"[\d@.: +-]*(day|month|year)?s? ?(ago)?"))
def test_any_text_is_a_date_or_refused(text: str) -> None:
    try:
        parse_moment(text, NOW.timestamp())
    except InvalidInput:
        pass


@given(st.datetimes(datetime(1970, 1, 2), datetime(2900, 1, 1)), st.integers(-14, 14))
def test_what_python_writes_is_read(moment: datetime, hours: int) -> None:
    whole = moment.replace(microsecond=0, tzinfo=timezone(timedelta(hours=hours)))
    assert parse_moment(whole.isoformat(" "), 0) == whole.timestamp()
    assert parse_moment(whole.strftime("%Y-%m-%d %H:%M:%S %z"), 0) == whole.timestamp()
