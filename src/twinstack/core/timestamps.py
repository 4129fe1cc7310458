"""Instants: microseconds since 1970 UTC inside, ISO 8601 with any offset and precision outside.

Accepted: ISO 8601 with or without a fraction (1 to 9 digits) and with any offset (none = UTC), `Z`, intervals
`start/end`; epoch integers by their number of digits: 10 s, 13 ms, 16 us, 19 ns; epoch seconds as a float.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from functools import lru_cache

from twinstack.core.errors import InvalidTimestamp

US_PER_S = 1_000_000
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)?)?\s*(Z|z|[+-]\d\d(?::?\d\d)?)?"
)
_UNIT_US_BY_DIGITS = {10: (US_PER_S, 1), 13: (1_000, 1), 16: (1, 1), 19: (1, 1_000)}
_FIX = (
    "Use ISO 8601 such as 2026-11-24T12:00:00.5+01:00, an epoch of 10 (s), 13 (ms), 16 (us) or 19 (ns) digits, "
    "or float seconds."
)


def parse_us(value: str | int | float) -> int:
    """The instant in microseconds since 1970 UTC (ns are rounded). Errors: InvalidTimestamp."""
    if isinstance(value, bool):
        raise _bad(value)
    if isinstance(value, int):
        return _epoch_us(value, len(str(abs(value))))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _bad(value)
        return round(value * US_PER_S)
    if isinstance(value, str):
        text = value.strip()
        if match := _ISO.fullmatch(text):
            return _iso_us(text, match)
        if re.fullmatch(r"-?\d+", text):
            return _epoch_us(int(text), len(text.lstrip("-")))
        if re.fullmatch(r"-?\d+\.\d+", text):
            return round(float(text) * US_PER_S)
    raise _bad(value)


def _epoch_us(value: int, digits: int) -> int:
    try:
        factor, divisor = _UNIT_US_BY_DIGITS[digits]
    except KeyError:
        raise _bad(value) from None
    if divisor == 1:
        return value * factor
    return (value + divisor // 2) // divisor


def _iso_us(text: str, match: re.Match[str]) -> int:
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    leap = second == "60"  # POSIX time has no leap second: it reads as the first instant of the next minute
    try:
        moment = datetime(
            int(year),
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            59 if leap else int(second or 0),
            tzinfo=UTC,
        )
    except ValueError:
        raise _bad(text) from None
    us = (moment - _EPOCH).days * 86_400 * US_PER_S + (moment - _EPOCH).seconds * US_PER_S
    if leap:
        us += US_PER_S
    if fraction:
        us += (int(fraction.ljust(12, "0")) + 500_000) // 1_000_000
    if offset and offset not in "Zz":
        sign = -1 if offset[0] == "+" else 1
        digits = offset[1:].replace(":", "")
        hours, minutes = int(digits[:2]), int(digits[2:] or 0)
        if hours > 23 or minutes > 59:
            raise _bad(text)
        us += sign * (hours * 3600 + minutes * 60) * US_PER_S
    return us


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_interval_us(text: str) -> tuple[int, int | None]:
    """`(start, end)` of an instant (end None) or of an interval `start/end`. Errors: InvalidTimestamp."""
    start, slash, end = text.partition("/")
    if not slash:
        return parse_us(start), None
    start_us, end_us = parse_us(start), parse_us(end)
    if end_us < start_us:
        raise InvalidTimestamp(f"The interval '{text}' ends before it begins.", fix="Write start/end.", value=text)
    return start_us, end_us


def format_us(us: int) -> str:
    """ISO 8601 in UTC with `Z` and as many fraction digits as needed."""
    seconds, fraction = divmod(us, US_PER_S)
    days, rest = divmod(seconds, 86_400)
    try:
        date = _date(days)
    except (ValueError, OverflowError):
        raise InvalidTimestamp(f"{us} us is outside the years 1 to 9999.", fix=_FIX, value=us) from None
    minute, second = divmod(rest, 60)
    text = date + _MINUTES[minute] + _SECONDS[second]
    return f"{text}.{fraction:06d}".rstrip("0") + "Z" if fraction else text + "Z"


# Answers hold times by the hundred: tables make one in half the time of a format.
_MINUTES = tuple(f"T{minute // 60:02d}:{minute % 60:02d}:" for minute in range(1440))
_SECONDS = tuple(f"{second:02d}" for second in range(60))
_EPOCH_ORDINAL = datetime(1970, 1, 1).toordinal()


@lru_cache(maxsize=1024)
def _date(days: int) -> str:
    """`2026-11-24`; kept, because neighbouring Observations are of one day."""
    date = datetime.fromordinal(_EPOCH_ORDINAL + days)
    return f"{date.year:04d}-{date.month:02d}-{date.day:02d}"


def format_interval_us(start_us: int, end_us: int | None) -> str:
    return format_us(start_us) if end_us is None else f"{format_us(start_us)}/{format_us(end_us)}"


def _bad(value: object) -> InvalidTimestamp:
    return InvalidTimestamp(f"{value!r} is not a timestamp.", fix=_FIX, value=str(value)[:80])
