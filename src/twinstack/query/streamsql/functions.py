"""Operators and functions on values that are not NULL: what they take, what they give, and how one value is made.

`Function.run` gets arguments of the kinds in `params` and raises ArithmeticError or ValueError where no value exists
(overflow, division by zero, the root of a negative number): the result is NULL and counted as `arithmetic`. It may
return None for a NULL that is no arithmetic (a text that is no number).
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twinstack.core import limits
from twinstack.core.errors import InvalidTimestamp
from twinstack.core.timestamps import US_PER_S, format_us, parse_us
from twinstack.query.streamsql.kinds import (
    ANY,
    FLOAT,
    INT,
    INT_MAX,
    INT_MIN,
    NULL,
    NUMBER,
    STRINGS,
    TIMES,
    Kinds,
    of,
)
from twinstack.query.streamsql.like import like_matcher

Number = int | float


@dataclass(frozen=True, slots=True)
class Function:
    """`optional` counts the last parameters that may be left out; with `repeats` the last one stands any number of
    times. `usage` is shown in errors."""

    name: str
    params: tuple[Kinds, ...]
    result: Callable[[Sequence[Kinds]], Kinds]
    run: Callable[..., Any]
    usage: str
    optional: int = 0
    repeats: bool = False

    def param(self, index: int) -> Kinds:
        return self.params[min(index, len(self.params) - 1)]

    def takes(self, count: int) -> bool:
        most = math.inf if self.repeats else len(self.params)
        return len(self.params) - self.optional <= count <= most


def _always(*kinds: str) -> Callable[[Sequence[Kinds]], Kinds]:
    return lambda _args: of(*kinds)


def _numeric(args: Sequence[Kinds]) -> Kinds:
    """INT of INTs, FLOAT as soon as a FLOAT takes part."""
    numbers = [kinds & NUMBER for kinds in args]
    if not all(numbers):
        return NULL
    result = {FLOAT} if any(FLOAT in kinds for kinds in numbers) else set()
    return frozenset(result | ({INT} if all(INT in kinds for kinds in numbers) else set()))


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


TIME_PARTS: Mapping[str, Callable[[int], int]] = {
    "year": lambda us: civil(us)[0],
    "month": lambda us: civil(us)[1],
    "day": lambda us: civil(us)[2],
    "hour": lambda us: us // (3600 * US_PER_S) % 24,
    "minute": lambda us: us // (60 * US_PER_S) % 60,
    "second": lambda us: us // US_PER_S % 60,
    "weekday": lambda us: (us // (86_400 * US_PER_S) + 3) % 7 + 1,
}
"""In UTC, of an instant or of an array of them; the week begins on Monday with 1."""


def _time_parts() -> list[Function]:
    return [Function(name, (TIMES,), _always(INT), run, f"{name.upper()}(time)") for name, run in TIME_PARTS.items()]


def _float_functions() -> list[Function]:
    runs: dict[str, Callable[[float], float]] = {
        "sqrt": math.sqrt,
        "exp": math.exp,
        "ln": math.log,
        "log10": math.log10,
        "sin": math.sin,
        "cos": math.cos,
        "tan": math.tan,
        "asin": math.asin,
        "acos": math.acos,
        "atan": math.atan,
        "degrees": math.degrees,
        "radians": math.radians,
    }
    return [Function(name, (NUMBER,), _always(FLOAT), run, f"{name.upper()}(number)") for name, run in runs.items()]


_TWO = (NUMBER, NUMBER)
_TEXTS = (STRINGS, STRINGS)
_BOOL = _always("bool")
_STRING = _always("string")

_OPERATORS = [
    Function("add", _TWO, _numeric, operator.add, "number + number"),
    Function("sub", _TWO, _numeric, operator.sub, "number - number"),
    Function("mul", _TWO, _numeric, operator.mul, "number * number"),
    Function("div", _TWO, _always(FLOAT), divide, "number / number"),
    Function("mod", _TWO, _numeric, modulo, "number % number"),
    Function("pow", _TWO, _always(FLOAT), power, "number ^ number"),
    Function("square", (NUMBER,), _always(FLOAT), square, "number ^ 2"),
    Function("negate", (NUMBER,), _numeric, operator.neg, "-number"),
    Function("plus", (NUMBER,), _numeric, operator.pos, "+number"),
    Function("cast_int", (ANY,), _always(INT), cast_int, "CAST(value AS INT)"),
    Function("cast_float", (ANY,), _always(FLOAT), cast_float, "CAST(value AS FLOAT)"),
    Function("cast_string", (ANY,), _STRING, cast_string, "CAST(value AS STRING)"),
    Function("cast_bool", (ANY,), _BOOL, cast_bool, "CAST(value AS BOOL)"),
    Function("cast_time", (STRINGS,), _always("time"), cast_time, "CAST(text AS TIME)"),
    Function("time_text", (TIMES,), _STRING, time_text, "CAST(time AS STRING)"),
]
_NAMED = [
    Function("abs", (NUMBER,), _numeric, abs, "ABS(number)"),
    Function("sign", (NUMBER,), _always(INT), sign, "SIGN(number)"),
    Function("floor", (NUMBER,), _numeric, floor_number, "FLOOR(number)"),
    Function("ceil", (NUMBER,), _numeric, ceil_number, "CEIL(number)"),
    Function("round", (NUMBER, of(INT)), lambda a: _numeric(a[:1]), round_number, "ROUND(number, digits)", optional=1),
    Function("power", _TWO, _always(FLOAT), power, "POWER(number, number)"),
    Function("atan2", _TWO, _always(FLOAT), math.atan2, "ATAN2(y, x)"),
    Function("least", _TWO, _numeric, min, "LEAST(number, number, ...)", repeats=True),
    Function("greatest", _TWO, _numeric, max, "GREATEST(number, number, ...)", repeats=True),
    Function("lower", (STRINGS,), _STRING, str.lower, "LOWER(text)"),
    Function("upper", (STRINGS,), _STRING, str.upper, "UPPER(text)"),
    Function("trim", (STRINGS,), _STRING, str.strip, "TRIM(text)"),
    Function("length", (STRINGS,), _always(INT), len, "LENGTH(text)"),
    Function("concat", (STRINGS,), _STRING, concat, "CONCAT(text, text, ...)", repeats=True),
    Function("replace", (*_TEXTS, STRINGS), _STRING, replace, "REPLACE(text, old, new)"),
    Function(
        "substring",
        (STRINGS, of(INT), of(INT)),
        _STRING,
        substring,
        "SUBSTRING(text, start, length)",
        optional=1,
    ),
    Function("starts_with", _TEXTS, _BOOL, str.startswith, "STARTS_WITH(text, begin)"),
    Function("ends_with", _TEXTS, _BOOL, str.endswith, "ENDS_WITH(text, end)"),
    Function("contains", _TEXTS, _BOOL, operator.contains, "CONTAINS(text, part)"),
    *_float_functions(),
    *_time_parts(),
]
_LIKE = Function("like", (STRINGS, STRINGS, STRINGS), _BOOL, like, "text LIKE pattern", optional=1)

FUNCTIONS: Mapping[str, Function] = {f.name: f for f in (*_OPERATORS, *_NAMED, _LIKE)}
"""Everything an `Apply` can name."""

CALLABLE: Mapping[str, str] = {
    **{f.name.upper(): f.name for f in _NAMED},
    "CEILING": "ceil",
    "POW": "power",
    "MOD": "mod",
    "SUBSTR": "substring",
    "LEN": "length",
}
"""What a query may call, by its name in upper case."""

LATER = frozenset(
    [
        "COUNT",
        "SUM",
        "AVG",
        "MIN",
        "MAX",
        "FIRST",
        "LAST",
        "STDDEV",
        "MEDIAN",
        "PERCENTILE",
        "COUNT_DISTINCT",
        "DISTANCE",
        "WITHIN_AREA",
        "CONVERT",
        "PREV",
        "DELTA",
        "RATE",
    ]
)
"""Functions of the language that this version does not have."""
