"""The functions themselves, on values that are not NULL.

They raise ArithmeticError or ValueError where no value exists (overflow, division by zero, the root of a negative
number) and return None for a NULL that is no arithmetic (a text that is no number).
"""

from __future__ import annotations

import math
import re

from twinstack.core import limits
from twinstack.core.errors import InvalidTimestamp
from twinstack.core.timestamps import US_PER_S, format_us, parse_us
from twinstack.query.streamsql.kinds import INT_MAX, INT_MIN
from twinstack.query.streamsql.like import like_matcher

Number = int | float


def checked_number(value: Number) -> Number:
    """The value, if it is an INT of 64 bits or a finite FLOAT. Errors: OverflowError."""
    if isinstance(value, int):
        if INT_MIN <= value <= INT_MAX:
            return value
    elif math.isfinite(value):
        return value
    raise OverflowError


def divide(a: Number, b: Number) -> float:
    # Both become floats first: a column of integers is divided as floats, and one value must not differ from it.
    return float(a) / float(b)


def modulo(a: Number, b: Number) -> Number:
    return a % b


def power(a: Number, b: Number) -> float:
    return math.pow(a, b)


def square(a: Number) -> float:
    return float(a) * float(a)


def round_half_away(x: float) -> float:
    # A zero keeps the sign of x, as the kernels on arrays have it.
    whole = math.copysign(math.trunc(x), x)
    return whole + math.copysign(1.0, x) if abs(x - whole) >= 0.5 else whole


def round_number(x: Number, digits: int = 0) -> Number:
    """Half away from zero, as SQL has it; a FLOAT stays one."""
    if isinstance(x, int) and digits >= 0:
        return x
    if not -300 <= digits <= 300:
        raise OverflowError
    if digits == 0:
        return round_half_away(float(x))
    # Dividing by a power of ten that is exact gives the float nearest to the decimal; multiplying by 0.01 would not.
    factor = 10.0 ** abs(digits)
    if digits > 0:
        scaled = x * factor
        return round_half_away(scaled) / factor if abs(scaled) < 2**52 else x
    rounded = round_half_away(x / factor) * factor
    return int(rounded) if isinstance(x, int) else rounded


def floor_number(x: Number) -> Number:
    return x if isinstance(x, int) else math.copysign(math.floor(x), x)


def ceil_number(x: Number) -> Number:
    return x if isinstance(x, int) else math.copysign(math.ceil(x), x)


def sign(x: Number) -> int:
    return (x > 0) - (x < 0)


def cast_int(x: object) -> int | None:
    """Towards zero; a text that is no whole number is NULL."""
    if isinstance(x, bool | int):
        return int(x)
    if isinstance(x, float):
        return int(x)
    if isinstance(x, str) and len(x) <= 40 and re.fullmatch(r"\s*[+-]?[0-9]+\s*", x):
        return int(x)
    return None


def cast_float(x: object) -> float | None:
    if isinstance(x, bool | int | float):
        return float(x)
    if isinstance(x, str) and re.fullmatch(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*", x):
        return float(x)
    return None


def cast_string(x: object) -> str | None:
    if isinstance(x, bool):
        return "true" if x else "false"
    if isinstance(x, str):
        return x
    return repr(x) if isinstance(x, int | float) else None


def cast_bool(x: object) -> bool | None:
    if isinstance(x, str):
        return {"true": True, "false": False}.get(x.strip().lower())
    return x != 0 if isinstance(x, bool | int | float) else None


def cast_time(x: str) -> int | None:
    try:
        return parse_us(x)
    except InvalidTimestamp:
        return None


def time_text(us: int) -> str | None:
    try:
        return format_us(us)
    except InvalidTimestamp:
        return None


def _bounded(chars: int) -> None:
    # Nested REPLACE and CONCAT would double a text up to the memory's end.
    if chars > limits.QUERY_STRING_CHARS_MAX:
        raise OverflowError


def concat(*texts: str) -> str:
    _bounded(sum(map(len, texts)))
    return "".join(texts)


def replace(text: str, old: str, new: str) -> str:
    if not old:
        return text
    _bounded(len(text) + text.count(old) * (len(new) - len(old)))
    return text.replace(old, new)


def substring(text: str, start: int, length: int | None = None) -> str:
    """From the character `start`, counted from 1; what lies outside of the text is empty."""
    end = len(text) + 1 if length is None else start + max(0, length)
    return text[max(start, 1) - 1 : max(end, 1) - 1]


def like(text: str, pattern: str, escape: str = "") -> bool | None:
    if len(pattern) > limits.QUERY_LIKE_CHARS_MAX:  # a pattern that came with a record
        return None
    return like_matcher(pattern, escape)(text)


def civil(us: int) -> tuple[int, int, int]:
    """Year, month and day in UTC of an instant, by the proleptic Gregorian calendar for every 64 bit instant.

    Written without branches: it takes an array as well.
    """
    days = us // (86_400 * US_PER_S) + 719_468  # days since 0000-03-01, when eras of 400 years begin
    era, day_of_era = divmod(days, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153  # the month, March being 0
    month = shifted + 3 - 12 * (shifted >= 10)
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


EARTH_RADIUS_M = 6_371_008.8


def distance_m(latitude_a: Number, longitude_a: Number, latitude_b: Number, longitude_b: Number) -> float:
    """The great circle between two places in degrees (haversine). Errors: ValueError for a latitude beyond 90."""
    if not (-90 <= latitude_a <= 90 and -90 <= latitude_b <= 90):
        raise ValueError("latitude")
    a, b = math.radians(latitude_a), math.radians(latitude_b)
    half_a, half_b = (b - a) / 2, math.radians(longitude_b - longitude_a) / 2
    h = math.sin(half_a) ** 2 + math.cos(a) * math.cos(b) * math.sin(half_b) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(h)))
