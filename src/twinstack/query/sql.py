"""A checked OData tree to SQLAlchemy: conditions and sort keys, every value a bound parameter.

The caller's `Resolve` says what a path means; this module knows no table. Values are typed, because what the store
keeps as bigint may be a number, an instant or a duration, and JSON may be anything (`Type.ANY`).
Intervals compare by their bounds (OGC 18-088, 9.3.3.5.3). SQL's three-valued logic is OData's: null never matches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from twinstack.core.errors import InvalidInput
from twinstack.query import tree
from twinstack.query.odata.shape import Slot
from twinstack.query.sqlfunctions import CalendarPart, Position
from twinstack.query.tree import Expr

Sql = sa.ColumnElement[Any]
Condition = sa.ColumnElement[bool]

DAY_US, HOUR_US, MINUTE_US, SECOND_US = 86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000
MIN_TIME_US, MAX_TIME_US = -62_135_596_800_000_000, 253_402_300_799_999_999
NOW = "now_us"
"""The parameter that holds the time of the request, in microseconds since 1970 UTC."""


class Type(StrEnum):
    NUMBER = "a number"
    TEXT = "a text"
    BOOL = "true or false"
    TIME = "a time"
    CLOCK = "a time of day"
    DURATION = "a duration"
    ANY = "any JSON value"
    NULL = "null"
    OBJECT = "a JSON object"


@dataclass(frozen=True, slots=True)
class Value:
    """`sql` is the value, or the start of an interval whose end is `end`; null tests look at `sql`.

    Of Type.ANY `sql` is the sort key, and `number`, `text`, `boolean` are the value when it has that type, else null.
    """

    type: Type
    sql: Sql
    end: Sql | None = None
    number: Sql | None = None
    text: Sql | None = None
    boolean: Sql | None = None
    slot: Slot | None = None
    nullable: bool = True
    is_null: Condition | None = None
    """When `sql` can be null although the value is not."""


Resolve = Callable[[tuple[str, ...]], Value]
"""A path's parts to its value. Errors: InvalidInput for a path that leads nowhere."""

_COMPARE: dict[str, Callable[[Sql, Sql], Condition]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}
_PRECEDENCE_OF_PRODUCTS = 8  # SQLAlchemy's, so that it sets parentheses around sums
_MIRROR = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


def condition(expr: Expr, resolve: Resolve) -> Condition:
    """The SQL condition of a filter. Errors: InvalidInput when types do not fit."""
    return _truth(value(expr, resolve))


def value(expr: Expr, resolve: Resolve) -> Value:
    match expr:
        case tree.Literal():
            return _literal(expr)
        case tree.Path(parts=parts):
            return resolve(parts)
        case tree.Unary("not", operand):
            return _bool(sa.not_(condition(operand, resolve)))
        case tree.Unary("-", operand):
            inner = value(operand, resolve)
            if inner.type is Type.DURATION:
                return Value(Type.DURATION, -inner.sql)
            return Value(Type.NUMBER, -_number(inner, "-"))
        case tree.Chain("and", operands):
            return _bool(sa.and_(*(condition(part, resolve) for part in operands)))
        case tree.Chain("or", operands):
            return _bool(sa.or_(*(condition(part, resolve) for part in operands)))
        case tree.Binary(op, left, right) if op in _COMPARE:
            return _bool(compare(op, value(left, resolve), value(right, resolve)))
        case tree.Binary(op, left, right):
            return _arithmetic(op, value(left, resolve), value(right, resolve))
        case tree.In(operand, items):
            subject = value(operand, resolve)
            return _bool(sa.or_(*(compare("eq", subject, value(item, resolve)) for item in items)))
        case tree.Call(name, args):
            return _FUNCTIONS[name](*(value(arg, resolve) for arg in args))
    raise InvalidInput("The expression has a part that $filter does not know.")


def _literal(node: tree.Literal) -> Value:
    if node.kind == "null":
        return Value(Type.NULL, sa.null())
    if node.kind == "bool":
        return Value(Type.BOOL, sa.true() if node.value else sa.false(), nullable=False)
    slot = node.value
    assert isinstance(slot, Slot), "literals are lifted before they become SQL"
    if node.kind == "interval":
        return _time_of(slot, interval=True)
    if node.kind == "geography":
        raise InvalidInput("A geography takes part in geo functions only.")
    type_ = {"string": Type.TEXT, "time": Type.TIME, "clock": Type.CLOCK, "duration": Type.DURATION}.get(node.kind)
    sql_type: sa.types.TypeEngine[Any] = sa.Text() if type_ is Type.TEXT else sa.BigInteger()
    if node.kind == "float":
        sql_type = sa.Double()
    return Value(type_ or Type.NUMBER, sa.bindparam(slot.name, type_=sql_type), slot=slot, nullable=False)


def _time_of(slot: Slot, *, interval: bool) -> Value:
    start = sa.bindparam(f"{slot.name}t", type_=sa.BigInteger())
    end = sa.bindparam(f"{slot.name}e", type_=sa.BigInteger()) if interval else None
    return Value(Type.TIME, start, end, nullable=False)


def _bool(sql: Condition) -> Value:
    return Value(Type.BOOL, sql)


def _truth(given: Value) -> Condition:
    if given.type is Type.BOOL:
        return given.sql
    if given.type is Type.ANY and given.boolean is not None:
        return given.boolean == sa.true()
    if given.type is Type.NULL:
        return sa.false()
    raise InvalidInput(f"A condition is wanted, here stands {given.type}.", fix="Write a comparison: name eq 'x'.")


# --- comparison -----------------------------------------------------------------------------------------------------
def compare(op: str, left: Value, right: Value) -> Condition:
    """`left op right`. Errors: InvalidInput when no value of the one type can be compared with the other."""
    if left.type is Type.NULL:
        left, right, op = right, left, _MIRROR[op]
    if right.type is Type.NULL:
        if op not in ("eq", "ne"):
            return sa.false()
        is_null = left.sql.is_(None) if left.is_null is None else left.is_null
        return is_null if op == "eq" else sa.not_(is_null)
    if left.type is Type.ANY or right.type is Type.ANY:
        return _compare_any(op, left, right)
    left, right = _fit(left, right), _fit(right, left)
    if left.type is not right.type or left.type is Type.OBJECT:
        raise InvalidInput(f"{left.type} cannot be compared with {right.type}.".capitalize())
    if left.type is Type.TIME:
        return _compare_times(op, left, right)
    return _COMPARE[op](left.sql, right.sql)


def _fit(given: Value, other: Value) -> Value:
    """A text literal read as the other side's type: ids may be quoted, and many clients quote times."""
    if given.slot is None or given.type is not Type.TEXT:
        return given
    if other.type is Type.NUMBER and given.slot.also == "number":
        return Value(Type.NUMBER, sa.bindparam(f"{given.slot.name}n"), nullable=False)
    if other.type is Type.TIME and given.slot.also == "time":
        return _time_of(given.slot, interval=True)
    return given


def _compare_any(op: str, left: Value, right: Value) -> Condition:
    if left.type is not Type.ANY:
        left, right, op = right, left, _MIRROR[op]
    ways: list[tuple[Sql | None, Sql | None]]
    if right.type is Type.ANY:
        ways = [(left.number, right.number), (left.text, right.text), (left.boolean, right.boolean)]
    elif right.type is Type.NUMBER:
        ways = [(left.number, right.sql)]
    elif right.type is Type.BOOL:
        ways = [(left.boolean, right.sql)]
    elif right.type is Type.TEXT:
        ways = [(left.text, right.sql)]
        if right.slot is not None and right.slot.also == "number":
            ways.append((left.number, sa.bindparam(f"{right.slot.name}n")))
    else:
        raise InvalidInput(f"A JSON value cannot be compared with {right.type}.")
    return sa.or_(*(_COMPARE[op](a, b) for a, b in ways if a is not None and b is not None))


def _bounds(given: Value) -> tuple[Sql, Sql]:
    return given.sql, given.sql if given.end is None else given.end


def _compare_times(op: str, left: Value, right: Value) -> Condition:
    (a_start, a_end), (b_start, b_end) = _bounds(left), _bounds(right)
    parts: list[Condition]
    match op:
        case "eq":
            parts = [a_start == b_start, a_end == b_end]
        case "ne":
            return sa.or_(a_start != b_start, a_end != b_end)
        case "lt" | "le":
            # The start is the indexed column; it cannot be later than the end.
            parts = [_COMPARE[op](a_start, b_start), _COMPARE[op](a_end, b_start)]
        case _:
            parts = [_COMPARE[op](a_start, b_end), _COMPARE[op](a_start, b_start)]
    if left.end is None and right.end is None:
        return parts[0]
    return sa.and_(*parts)


# --- arithmetic -----------------------------------------------------------------------------------------------------
def _number(given: Value, what: str) -> Sql:
    if given.type is Type.NUMBER:
        return given.sql
    if given.type is Type.ANY and given.number is not None:
        return given.number
    if given.slot is not None and given.slot.also == "number":
        return sa.bindparam(f"{given.slot.name}n")
    raise InvalidInput(f"'{what}' wants a number, here stands {given.type}.")


def _arithmetic(op: str, left: Value, right: Value) -> Value:
    left, right = _fit(left, right), _fit(right, left)
    if left.type is Type.DURATION and right.type is Type.TIME and op == "add":
        left, right = right, left
    if left.type is Type.TIME and right.type is Type.DURATION and op in ("add", "sub"):
        shift = right.sql if op == "add" else -right.sql
        return Value(Type.TIME, left.sql + shift, None if left.end is None else left.end + shift)
    if left.type is right.type is Type.TIME and op == "sub":
        return Value(Type.DURATION, left.sql - right.sql)
    if left.type is right.type is Type.DURATION and op in ("add", "sub"):
        return Value(Type.DURATION, left.sql + right.sql if op == "add" else left.sql - right.sql)
    a, b = _number(left, op), _number(right, op)
    match op:
        case "add":
            return Value(Type.NUMBER, a + b)
        case "sub":
            return Value(Type.NUMBER, a - b)
        case "mul":
            return Value(Type.NUMBER, a * b)
    # A zero divisor gives null, which never matches: no row makes the whole query fail.
    if left.type is Type.ANY or right.type is Type.ANY:
        a = sa.cast(a, sa.Double())
    quotient = _divide(a, sa.func.nullif(b, 0), a.type)
    if op == "div":
        return Value(Type.NUMBER, quotient)
    return Value(Type.NUMBER, a - b * sa.func.trunc(quotient))


def _divide(a: Sql, b: Sql, type_: sa.types.TypeEngine[Any]) -> Sql:
    """The database's own division: SQLAlchemy's `/` would make a float of two integers."""
    return a.op("/", precedence=_PRECEDENCE_OF_PRODUCTS, return_type=type_)(b)


# --- functions ------------------------------------------------------------------------------------------------------
def _text(given: Value, what: str) -> Sql:
    if given.type is Type.TEXT:
        return given.sql
    if given.type is Type.ANY and given.text is not None:
        return given.text
    raise InvalidInput(f"'{what}' wants a text, here stands {given.type}.")


def _instant(given: Value, what: str) -> Sql:
    if given.type is Type.TEXT and given.slot is not None and given.slot.also == "time":
        return sa.bindparam(f"{given.slot.name}t", type_=sa.BigInteger())
    if given.type is not Type.TIME:
        raise InvalidInput(f"'{what}' wants a time, here stands {given.type}.")
    return given.sql


def _contains(text: Value, part: Value) -> Value:
    return _bool(Position(_text(text, "contains"), _text(part, "contains")) > 0)


def _starts(text: Value, part: Value) -> Value:
    whole, begin = _text(text, "startswith"), _text(part, "startswith")
    return _bool(sa.func.substr(whole, 1, sa.func.length(begin)) == begin)


def _ends(text: Value, part: Value) -> Value:
    whole, end = _text(text, "endswith"), _text(part, "endswith")
    start = sa.func.length(whole) - sa.func.length(end) + 1
    return _bool(sa.and_(start >= 1, sa.func.substr(whole, start) == end))


def _indexof(text: Value, part: Value) -> Value:
    return Value(Type.NUMBER, Position(_text(text, "indexof"), _text(part, "indexof")) - 1)


def _substring(text: Value, start: Value, length: Value | None = None) -> Value:
    begin = _at_least_zero(_number(start, "substring")) + 1
    if length is None:
        return Value(Type.TEXT, sa.func.substr(_text(text, "substring"), begin, type_=sa.Text()))
    count = _at_least_zero(_number(length, "substring"))
    return Value(Type.TEXT, sa.func.substr(_text(text, "substring"), begin, count, type_=sa.Text()))


def _at_least_zero(number: Sql) -> Sql:
    return sa.case((number < 0, 0), else_=sa.cast(number, sa.Integer()))


def _text_function(name: str, sql_name: str) -> Callable[[Value], Value]:
    function = getattr(sa.func, sql_name)
    return lambda text: Value(Type.TEXT, function(_text(text, name), type_=sa.Text()))


def _number_function(name: str, sql_name: str) -> Callable[[Value], Value]:
    function = getattr(sa.func, sql_name)
    return lambda number: Value(Type.NUMBER, function(_number(number, name), type_=sa.Double()))


def _modulo(us: Sql, period_us: int) -> Sql:
    """us mod period, never negative: instants before 1970 are negative numbers."""
    return ((us % period_us) + period_us) % period_us


def _calendar(part: str) -> Callable[[Value], Value]:
    return lambda time: Value(Type.NUMBER, CalendarPart(part, _instant(time, part)))


def _of_day(name: str, period_us: int, unit_us: int) -> Callable[[Value], Value]:
    def compute(time: Value) -> Value:
        rest = _modulo(_instant(time, name), period_us)
        return Value(Type.NUMBER, _divide(rest, sa.literal(unit_us), sa.BigInteger()))

    return compute


def _fraction(time: Value) -> Value:
    us = _modulo(_instant(time, "fractionalseconds"), SECOND_US)
    return Value(Type.NUMBER, _divide(sa.cast(us, sa.Double()), sa.literal(float(SECOND_US)), sa.Double()))


def _date(time: Value) -> Value:
    us = _instant(time, "date")
    return Value(Type.TIME, us - _modulo(us, DAY_US))


def _clock(time: Value) -> Value:
    return Value(Type.CLOCK, _modulo(_instant(time, "time"), DAY_US))


def _constant(us: int) -> Callable[[], Value]:
    return lambda: Value(Type.TIME, sa.literal(us, sa.BigInteger()), nullable=False)


def _interval(name: str, relation: Callable[[Sql, Sql, Sql, Sql], Condition]) -> Callable[[Value, Value], Value]:
    def compute(left: Value, right: Value) -> Value:
        left = _fit(left, Value(Type.TIME, sa.null()))
        right = _fit(right, Value(Type.TIME, sa.null()))
        for side in (left, right):
            if side.type is not Type.TIME:
                raise InvalidInput(f"'{name}' wants times or intervals, here stands {side.type}.")
        return _bool(relation(*_bounds(left), *_bounds(right)))

    return compute


_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "contains": _contains,
    "substringof": lambda part, text: _contains(text, part),
    "startswith": _starts,
    "endswith": _ends,
    "indexof": _indexof,
    "length": lambda text: Value(Type.NUMBER, sa.func.length(_text(text, "length"))),
    "substring": _substring,
    "tolower": _text_function("tolower", "lower"),
    "toupper": _text_function("toupper", "upper"),
    "trim": _text_function("trim", "trim"),
    "concat": lambda a, b: Value(Type.TEXT, _text(a, "concat").concat(_text(b, "concat"))),
    "round": _number_function("round", "round"),
    "floor": _number_function("floor", "floor"),
    "ceiling": _number_function("ceiling", "ceil"),
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
    "totaloffsetminutes": lambda time: Value(Type.NUMBER, sa.case((_instant(time, "time").is_(None), None), else_=0)),
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
