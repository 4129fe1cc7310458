"""The functions of `$filter` as SQL: texts, numbers, dates and intervals (OGC 18-088, 9.3.3.5.2)."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from twinstack.core.errors import InvalidInput
from twinstack.query.sqlfunctions import CalendarPart, Position
from twinstack.query.sqltexts import Lower, Round, Trim, Upper
from twinstack.query.sqlvalues import (
    DAY_US,
    HOUR_US,
    MAX_TIME_US,
    MIN_TIME_US,
    MINUTE_US,
    NOW,
    SECOND_US,
    Condition,
    Sql,
    Type,
    Value,
    bounds,
    divide,
    fit,
    instant_of,
    number_of,
    text_of,
    truth_value,
)

_CHARS_MAX = 2**30
"""More than any text has, and within the integers of every database."""


def _contains(text: Value, part: Value) -> Value:
    return truth_value(Position(text_of(text, "contains"), text_of(part, "contains")) > 0)


def _starts(text: Value, part: Value) -> Value:
    whole, begin = text_of(text, "startswith"), text_of(part, "startswith")
    return truth_value(sa.func.substr(whole, 1, sa.func.length(begin)) == begin)


def _ends(text: Value, part: Value) -> Value:
    whole, end = text_of(text, "endswith"), text_of(part, "endswith")
    start = sa.func.length(whole) - sa.func.length(end) + 1
    return truth_value(sa.and_(start >= 1, sa.func.substr(whole, start) == end))


def _indexof(text: Value, part: Value) -> Value:
    return Value(Type.NUMBER, Position(text_of(text, "indexof"), text_of(part, "indexof")) - 1)


def _substring(text: Value, start: Value, length: Value | None = None) -> Value:
    begin = _at_least_zero(number_of(start, "substring")) + 1
    if length is None:
        return Value(Type.TEXT, sa.func.substr(text_of(text, "substring"), begin, type_=sa.Text()))
    count = _at_least_zero(number_of(length, "substring"))
    return Value(Type.TEXT, sa.func.substr(text_of(text, "substring"), begin, count, type_=sa.Text()))


def _at_least_zero(number: Sql) -> Sql:
    return sa.case((number < 0, 0), (number > _CHARS_MAX, _CHARS_MAX), else_=sa.cast(number, sa.Integer()))


def _text_function(name: str, function: Callable[[Sql], Sql]) -> Callable[[Value], Value]:
    return lambda text: Value(Type.TEXT, function(text_of(text, name)))


def _ceiling(number: Value) -> Value:
    return Value(Type.NUMBER, sa.func.ceil(sa.cast(number_of(number, "ceiling"), sa.Double()), type_=sa.Double()))


def _floor(number: Value) -> Value:
    # By ceil: SQLAlchemy puts a function of its own in the place of SQLite's floor, and that one fails at null.
    negated: Sql = -sa.cast(number_of(number, "floor"), sa.Double())
    return Value(Type.NUMBER, -sa.func.ceil(negated, type_=sa.Double()))


def modulo(us: Sql, period_us: Sql | int) -> Sql:
    """us mod period, never negative: instants before 1970 are negative numbers."""
    return ((us % period_us) + period_us) % period_us


def _calendar(part: str) -> Callable[[Value], Value]:
    def compute(time: Value) -> Value:
        us = instant_of(time, part)
        # Arithmetic leads beyond the years 1 to 9999, where databases have no calendar or another one.
        return Value(Type.NUMBER, sa.case((us.between(MIN_TIME_US, MAX_TIME_US), CalendarPart(part, us)), else_=None))

    return compute


def _of_day(name: str, period_us: int, unit_us: int) -> Callable[[Value], Value]:
    def compute(time: Value) -> Value:
        rest = modulo(instant_of(time, name), period_us)
        return Value(Type.NUMBER, divide(rest, sa.literal(unit_us), sa.BigInteger()))

    return compute


def _fraction(time: Value) -> Value:
    us = modulo(instant_of(time, "fractionalseconds"), SECOND_US)
    return Value(Type.NUMBER, divide(sa.cast(us, sa.Double()), sa.literal(float(SECOND_US)), sa.Double()))


def _date(time: Value) -> Value:
    us = instant_of(time, "date")
    return Value(Type.TIME, us - modulo(us, DAY_US))


def _clock(time: Value) -> Value:
    return Value(Type.CLOCK, modulo(instant_of(time, "time"), DAY_US))


def _total_seconds(duration: Value) -> Value:
    if duration.type not in (Type.DURATION, Type.NULL):
        raise InvalidInput(f"'totalseconds' wants a duration, here stands {duration.type}.")
    return Value(Type.NUMBER, divide(sa.cast(duration.sql, sa.Double()), sa.literal(float(SECOND_US)), sa.Double()))


def _constant(us: int) -> Callable[[], Value]:
    return lambda: Value(Type.TIME, sa.literal(us, sa.BigInteger()), nullable=False)


def _interval(name: str, relation: Callable[[Sql, Sql, Sql, Sql], Condition]) -> Callable[[Value, Value], Value]:
    def compute(left: Value, right: Value) -> Value:
        left = fit(left, Value(Type.TIME, sa.null()))
        right = fit(right, Value(Type.TIME, sa.null()))
        for side in (left, right):
            if side.type not in (Type.TIME, Type.NULL):
                raise InvalidInput(f"'{name}' wants times or intervals, here stands {side.type}.")
        return truth_value(relation(*bounds(left), *bounds(right)))

    return compute


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "contains": _contains,
    "substringof": lambda part, text: _contains(text, part),
    "startswith": _starts,
    "endswith": _ends,
    "indexof": _indexof,
    "length": lambda text: Value(Type.NUMBER, sa.func.length(text_of(text, "length"))),
    "substring": _substring,
    "tolower": _text_function("tolower", Lower),
    "toupper": _text_function("toupper", Upper),
    "trim": _text_function("trim", Trim),
    "concat": lambda a, b: Value(Type.TEXT, text_of(a, "concat").concat(text_of(b, "concat"))),
    "round": lambda number: Value(Type.NUMBER, Round(number_of(number, "round"))),
    "floor": _floor,
    "ceiling": _ceiling,
    "year": _calendar("year"),
    "month": _calendar("month"),
    "day": _calendar("day"),
    "hour": _of_day("hour", DAY_US, HOUR_US),
    "minute": _of_day("minute", HOUR_US, MINUTE_US),
    "second": _of_day("second", MINUTE_US, SECOND_US),
    "fractionalseconds": _fraction,
    "date": _date,
    "time": _clock,
    # Instants are kept and answered in UTC.
    "totaloffsetminutes": lambda time: Value(Type.NUMBER, sa.case((instant_of(time, "time").is_(None), None), else_=0)),
    "totalseconds": _total_seconds,
    "now": lambda: Value(Type.TIME, sa.bindparam(NOW, type_=sa.BigInteger()), nullable=False),
    "mindatetime": _constant(MIN_TIME_US),
    "maxdatetime": _constant(MAX_TIME_US),
    "before": _interval("before", lambda a, a_end, b, b_end: sa.and_(a < b, a_end < b)),
    "after": _interval("after", lambda a, a_end, b, b_end: a > b_end),
    "meets": _interval("meets", lambda a, a_end, b, b_end: sa.or_(a_end == b, b_end == a)),
    "during": _interval("during", lambda a, a_end, b, b_end: sa.and_(a >= b, a <= b_end, a_end <= b_end)),
    # Two intervals that only meet do not overlap; an instant lies in the interval that it begins.
    "overlaps": _interval("overlaps", lambda a, a_end, b, b_end: sa.or_(sa.and_(a < b_end, b < a_end), a == b)),
    "starts": _interval("starts", lambda a, a_end, b, b_end: sa.and_(a == b, a_end <= b_end)),
    "finishes": _interval("finishes", lambda a, a_end, b, b_end: sa.and_(a_end == b_end, a >= b)),
}
