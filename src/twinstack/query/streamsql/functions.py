"""Operators and functions as tables: what they take, what they give, and which function of scalars.py makes a value.

Where `Function.run` raises ArithmeticError or ValueError the result is NULL and counted as `arithmetic`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twinstack.core.timestamps import US_PER_S
from twinstack.query.streamsql.kinds import (
    ANY,
    FLOAT,
    INT,
    NULL,
    NUMBER,
    STRINGS,
    TIMES,
    Kinds,
    of,
)
from twinstack.query.streamsql.scalars import (
    cast_bool,
    cast_float,
    cast_int,
    cast_string,
    cast_time,
    ceil_number,
    civil,
    concat,
    distance_m,
    divide,
    floor_number,
    like,
    modulo,
    power,
    replace,
    round_number,
    sign,
    square,
    substring,
    time_text,
)


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


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What an aggregate takes and gives; how it is computed is the engine's."""

    name: str
    params: tuple[Kinds, ...]
    result: Callable[[Sequence[Kinds]], Kinds]
    usage: str
    optional: int = 0

    def param(self, index: int) -> Kinds:
        return self.params[index]

    def takes(self, count: int) -> bool:
        return len(self.params) - self.optional <= count <= len(self.params)


def _always(*kinds: str) -> Callable[[Sequence[Kinds]], Kinds]:
    return lambda _args: of(*kinds)


def _numeric(args: Sequence[Kinds]) -> Kinds:
    """INT of INTs, FLOAT as soon as a FLOAT takes part."""
    numbers = [kinds & NUMBER for kinds in args]
    if not all(numbers):
        return NULL
    result = {FLOAT} if any(FLOAT in kinds for kinds in numbers) else set()
    return frozenset(result | ({INT} if all(INT in kinds for kinds in numbers) else set()))


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

_DISTANCE = Function(
    "distance",
    (NUMBER,) * 4,
    _always(FLOAT),
    distance_m,
    "DISTANCE(a, b) of two sides, or DISTANCE(latitude, longitude, latitude, longitude)",
)

FUNCTIONS: Mapping[str, Function] = {f.name: f for f in (*_OPERATORS, *_NAMED, _LIKE, _DISTANCE)}
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

_VALUES = NUMBER | STRINGS | of("bool") | TIMES
_ORDERED = NUMBER | STRINGS | TIMES
_ALL = ANY | TIMES


def _first(args: Sequence[Kinds]) -> Kinds:
    return args[0]


AGGREGATES: Mapping[str, Aggregate] = {
    a.name: a
    for a in (
        Aggregate("COUNT", (_ALL,), _always(INT), "COUNT(*) or COUNT(value)", optional=1),
        Aggregate("SUM", (NUMBER,), _numeric, "SUM(number)"),
        Aggregate("AVG", (NUMBER,), _always(FLOAT), "AVG(number)"),
        Aggregate("MIN", (_ORDERED,), _first, "MIN(value)"),
        Aggregate("MAX", (_ORDERED,), _first, "MAX(value)"),
        Aggregate("FIRST", (_ALL,), _first, "FIRST(value)"),
        Aggregate("LAST", (_ALL,), _first, "LAST(value)"),
        Aggregate("STDDEV", (NUMBER,), _always(FLOAT), "STDDEV(number)"),
        Aggregate("MEDIAN", (NUMBER,), _always(FLOAT), "MEDIAN(number)"),
        Aggregate("PERCENTILE", (NUMBER, NUMBER), _always(FLOAT), "PERCENTILE(number, 95)"),
        Aggregate("COUNT_DISTINCT", (_VALUES,), _always(INT), "COUNT_DISTINCT(value)"),
    )
}

LATER = frozenset(["WITHIN_AREA", "CONVERT"])
"""Functions of the language that this version does not have."""
