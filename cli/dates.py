"""Moments as people write them on the command line.

ISO 8601 (`2026-11-25`, `2026-11-25T10:30`, `2026-11-25 10:30:00 +0100`), `@SECONDS` since the
epoch, `now`, `today`, `midnight`, `yesterday` (24 hours ago, as in Git), and ages: `2 weeks ago`,
`1 year 6 months ago`, `3.days.ago`. What names no zone is local time.
"""

from __future__ import annotations

import calendar
import re
from datetime import datetime, timedelta, tzinfo
from typing import Final

from ..store.errors import InvalidInput

SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
MONTHS: Final = {"month": 1, "year": 12}
WORDS: Final = {"a": 1, "an": 1, "one": 1, "last": 1}
AGE: Final = re.compile(r"(\d{1,9}|a|an|one|last) (second|minute|hour|day|week|month|year)s?")
DAY: Final = re.compile(r"\d{4}-?\d\d-?\d\d")
ZONE: Final = re.compile(r" ([+-]\d\d:?\d\d|Z)$")


def parse_moment(text: str, now: float, *, end: bool = False, zone: tzinfo | None = None) -> float:
    """Seconds since the epoch. A day without a time is its first second, or with `end` its last.
    `zone` is that of the user, if not the system's. InvalidInput for what is none of these."""
    words = text.strip().lower()
    try:
        if re.fullmatch(r"@-?\d{1,15}", words):
            return float(words[1:])
        found = _named(words, now, end, zone)
        found = _age(words, now, zone) if found is None else found
        return _iso(words, end, zone) if found is None else found
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidInput(
            f"'{text}' is not a date", hint="write it as 2026-11-25, '2 weeks ago' or yesterday"
        ) from error


def _named(words: str, now: float, end: bool, zone: tzinfo | None) -> float | None:
    match words:
        case "now":
            return now
        case "yesterday":
            return now - SECONDS["day"]
        case "today" | "midnight":
            day = datetime.fromtimestamp(now, zone).strftime("%Y-%m-%d")
            return _iso(day, end and words == "today", zone)
        case _:
            return None


def _age(words: str, now: float, zone: tzinfo | None) -> float | None:
    """`2 weeks ago`, `2.weeks`, `1 year, 2 months ago`."""
    plain = re.sub(r"[\s.,]+", " ", words).removesuffix(" ago")
    found = list(AGE.finditer(plain))
    if not found or " ".join(match[0] for match in found) != plain:
        return None
    seconds = months = 0
    for match in found:
        number = WORDS.get(match[1]) or int(match[1])
        seconds += number * SECONDS.get(match[2], 0)
        months += number * MONTHS.get(match[2], 0)
    return _months_before(now, months, zone) - seconds


def _months_before(now: float, months: int, zone: tzinfo | None) -> float:
    """The same day and time so many months ago, or the last day of a month that is shorter."""
    if not months:
        return now
    moment = datetime.fromtimestamp(now, zone)
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day).timestamp()


def _iso(words: str, end: bool, zone: tzinfo | None) -> float:
    text = ZONE.sub(r"\1", words.upper())
    if DAY.fullmatch(text):
        day = _local(text, zone)
        return _local(text, zone, timedelta(days=1)) - 1 if end else day
    return _local(text, zone)


def _local(text: str, zone: tzinfo | None, later: timedelta = timedelta()) -> float:
    moment = datetime.fromisoformat(text) + later
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
