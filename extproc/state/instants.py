"""Times and durations as providers write them in headers; None for what can't be read."""

from __future__ import annotations

import math
import re
from calendar import timegm
from typing import Final

TEXT_MAX: Final = 64
"""Characters of a header that are looked at; longer ones are no time."""

_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|us|µs|ns|s|m|h|d)")
_DURATION: Final = re.compile(rf"(?:{_PART.pattern})+")
_UNIT_S: Final = {
    "d": 86_400.0,
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}
_RFC_3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_TIME: Final = r"([0-9]{2}:[0-9]{2}:[0-9]{2})"
_HTTP_DATE: Final = re.compile(
    rf"[A-Z][a-z]{{2}}, ([0-9]{{2}}) ([A-Z][a-z]{{2}}) ([0-9]{{4}}) {_TIME} GMT"
)
_RFC_850: Final = re.compile(
    rf"[A-Z][a-z]{{5,8}}, ([0-9]{{2}})-([A-Z][a-z]{{2}})-([0-9]{{2}}) {_TIME} GMT"
)
_ASCTIME: Final = re.compile(
    rf"[A-Z][a-z]{{2}} ([A-Z][a-z]{{2}}) ( [0-9]|[0-9]{{2}}) {_TIME} ([0-9]{{4}})"
)
_YEAR_UNKNOWN: Final = "2000"
_ERA_DAYS: Final = 146_097
_DAYS_FROM_MARCH_0: Final = 719_468
"""Days from the 1st of March in the year 0 to 1970."""

_DAYS_MAX: Final = 2_932_897
"""Days from 1970 to the end of the year 9999."""

_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


def number(text: str | None) -> float | None:
    """A plain number that is not negative: `12`, `0.5`."""
    plain = _NUMBER.fullmatch(text.strip()) if text and len(text) <= TEXT_MAX else None
    if not plain:
        return None
    found = float(plain[0])
    return found if math.isfinite(found) else None


def duration_s(text: str | None) -> float | None:
    """`1s`, `6m0s`, `120ms`, as Go writes them; or a plain number of seconds."""
    seconds = number(text)
    if seconds is not None or text is None or len(text) > TEXT_MAX:
        return seconds
    if not _DURATION.fullmatch(text.strip()):
        return None
    return sum(float(size) * _UNIT_S[unit] for size, unit in _PART.findall(text))


def rfc_3339(text: str | None) -> float | None:
    """`2026-01-01T00:00:00Z` in Unix seconds."""
    found = _RFC_3339.fullmatch(text.strip()) if text and len(text) <= TEXT_MAX else None
    if not found:
        return None
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = found.groups()
    ahead_s = int(hours or 0) * 3600 + int(minutes or 0) * 60
    seconds = _unix(int(year), int(month), int(day), f"{hour}:{minute}:{second}")
    if seconds is None:
        return None
    return seconds + float(fraction or 0) - (ahead_s if sign == "+" else -ahead_s)


def rfc_3339_of(unix_s: float) -> str | None:
    """The other way, in UTC and to the second; None beyond the year 9999."""
    days, seconds = divmod(math.floor(unix_s), 86_400)
    if not 0 <= days < _DAYS_MAX:
        return None
    # The calendar repeats every 400 years, and a year that begins in March ends in its leap day.
    era, day = divmod(days + _DAYS_FROM_MARCH_0, _ERA_DAYS)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    date = f"{day - (153 * month + 2) // 5 + 1:02}"
    year += 400 * era + (month >= 10)
    month = month + 3 if month < 10 else month - 9
    minutes, second = divmod(seconds, 60)
    return f"{year:04}-{month:02}-{date}T{minutes // 60:02}:{minutes % 60:02}:{second:02}Z"


def http_date(text: str | None, now: float) -> float | None:
    """`Thu, 01 Jan 2026 00:00:00 GMT` in Unix seconds, and the two older forms of RFC 9110."""
    said = text.strip() if text and len(text) <= TEXT_MAX else ""
    if found := _HTTP_DATE.fullmatch(said):
        day, month, year, time_of_day = found.groups()
    elif found := _RFC_850.fullmatch(said):
        day, month, short_year, time_of_day = found.groups()
        year = _full_year(int(short_year), now)
    elif found := _ASCTIME.fullmatch(said):
        month, day, time_of_day, year = found.groups()
    else:
        return None
    if month not in _MONTHS:
        return None
    return _unix(int(year), _MONTHS.index(month) + 1, int(day), time_of_day)


def _full_year(short: int, now: float) -> int:
    """One that seems to be more than 50 years ahead is of the century before."""
    this_year = int((rfc_3339_of(now) or _YEAR_UNKNOWN)[:4])
    year = this_year - this_year % 100 + short
    return year - 100 if year > this_year + 50 else year


def _unix(year: int, month: int, day: int, time_of_day: str) -> float | None:
    hour, minute, second = map(int, time_of_day.split(":"))
    if not (year and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60):
        return None
    return float(timegm((year, month, day, hour, minute, min(second, 59))))
