"""A checked OData tree to SQLAlchemy: conditions and sort keys, every value a bound parameter.

The caller's `Resolve` says what a path means; this module knows no table. Values are typed, because what the store
keeps as bigint may be a number, an instant or a duration, and JSON may be anything (`Type.ANY`).
Intervals compare by their bounds (OGC 18-088, 9.3.3.5.3). SQL's three-valued logic is OData's: null never matches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from twinstack.core.errors import InvalidInput
from twinstack.query import tree
from twinstack.query.odata.shape import Slot
from twinstack.query.sqlcalls import FUNCTIONS
from twinstack.query.sqlgeo import GEO_FUNCTIONS, Shape
from twinstack.query.sqlvalues import (
    NOW,
    Condition,
    Sql,
    Type,
    Value,
    bounds,
    divide,
    fit,
    number_of,
    time_of,
    truth_value,
    unknown,
)
from twinstack.query.tree import Expr

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
            return truth_value(sa.not_(condition(operand, resolve)))
        case tree.Unary("-", operand):
            inner = value(operand, resolve)
            if inner.type is Type.DURATION:
                return Value(Type.DURATION, -inner.sql)
            return Value(Type.NUMBER, -number_of(inner, "-"))
        case tree.Chain("and", operands):
            return truth_value(sa.and_(*(condition(part, resolve) for part in operands)))
        case tree.Chain("or", operands):
            return truth_value(sa.or_(*(condition(part, resolve) for part in operands)))
        case tree.Binary(op, left, right) if op in _COMPARE:
            return truth_value(compare(op, value(left, resolve), value(right, resolve)))
        case tree.Binary(op, left, right):
            return _arithmetic(op, value(left, resolve), value(right, resolve))
        case tree.In(operand, items):
            subject = value(operand, resolve)
            return truth_value(sa.or_(*(compare("eq", subject, value(item, resolve)) for item in items)))
        case tree.Call(name, args):
            functions = GEO_FUNCTIONS if name in GEO_FUNCTIONS else FUNCTIONS
            return functions[name](*(value(arg, resolve) for arg in args))
    raise InvalidInput("The expression has a part that $filter does not know.")


def _literal(node: tree.Literal) -> Value:
    if node.kind == "null":
        return Value(Type.NULL, sa.null())
    if node.kind == "bool":
        return Value(Type.BOOL, sa.literal(bool(node.value), sa.Boolean()), nullable=False)
    slot = node.value
    assert isinstance(slot, Slot), "literals are lifted before they become SQL"
    if node.kind == "interval":
        return time_of(slot, interval=True)
    if node.kind == "geography":
        shape = Shape(sa.bindparam(slot.name, type_=sa.Text()), wkt=True)
        sides: list[Sql] = [sa.bindparam(f"{slot.name}{side}", type_=sa.Double()) for side in "wsen"]
        return Value(Type.GEO, shape, shape=shape, box=tuple(sides), slot=slot, nullable=False)
    type_ = {"string": Type.TEXT, "time": Type.TIME, "clock": Type.CLOCK, "duration": Type.DURATION}.get(node.kind)
    sql_type: sa.types.TypeEngine[Any] = sa.Text() if type_ is Type.TEXT else sa.BigInteger()
    if node.kind == "float":
        sql_type = sa.Double()
    return Value(type_ or Type.NUMBER, sa.bindparam(slot.name, type_=sql_type), slot=slot, nullable=False)


def _truth(given: Value) -> Condition:
    if given.type is Type.BOOL:
        return given.sql
    if given.type is Type.ANY and given.boolean is not None:
        return given.boolean == sa.true()
    if given.type is Type.NULL:
        return unknown()
    raise InvalidInput(f"A condition is wanted, here stands {given.type}.", fix="Write a comparison: name eq 'x'.")


# --- comparison -----------------------------------------------------------------------------------------------------
def compare(op: str, left: Value, right: Value) -> Condition:
    """`left op right`. Errors: InvalidInput when no value of the one type can be compared with the other."""
    if left.type is Type.NULL:
        left, right, op = right, left, _MIRROR[op]
    if right.type is Type.NULL:
        if op not in ("eq", "ne"):
            return unknown()
        is_null = _is_null(left)
        return is_null if op == "eq" else sa.not_(is_null)
    if left.type is Type.ANY or right.type is Type.ANY:
        return _compare_any(op, left, right)
    left, right = fit(left, right), fit(right, left)
    if left.type is not right.type:
        raise InvalidInput(f"{left.type} cannot be compared with {right.type}.".capitalize())
    if left.type is Type.TIME:
        return _compare_times(op, left, right)
    if left.type is Type.GEO:
        raise InvalidInput("Geometries are compared by functions.", fix="Write st_equals(a, b) or geo.distance(a, b).")
    return _COMPARE[op](left.sql, right.sql)


def _is_null(given: Value) -> Condition:
    return given.sql.is_(None) if given.is_null is None else given.is_null


def _compare_any(op: str, left: Value, right: Value) -> Condition:
    if op in ("eq", "ne"):
        # Values of different types differ; null equals nothing and differs from nothing.
        present = [sa.not_(_is_null(side)) for side in (left, right) if side.nullable]
        equal = sa.func.coalesce(*_ways("eq", left, right), sa.false())
        return sa.case((sa.and_(sa.true(), *present), equal if op == "eq" else sa.not_(equal)), else_=None)
    # A value has one type: at most one way is not null.
    first, *others = _ways(op, left, right)
    return sa.func.coalesce(first, *others, type_=sa.Boolean()) if others else first


def _ways(op: str, left: Value, right: Value) -> list[Condition]:
    """The comparison for each type that both sides may have."""
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
    return [_COMPARE[op](a, b) for a, b in ways if a is not None and b is not None]


def _compare_times(op: str, left: Value, right: Value) -> Condition:
    (a_start, a_end), (b_start, b_end) = bounds(left), bounds(right)
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
def _arithmetic(op: str, left: Value, right: Value) -> Value:
    left, right = fit(left, right), fit(right, left)
    if left.type is Type.DURATION and right.type is Type.TIME and op == "add":
        left, right = right, left
    if left.type is Type.TIME and right.type is Type.DURATION and op in ("add", "sub"):
        shift = right.sql if op == "add" else -right.sql
        return Value(Type.TIME, left.sql + shift, None if left.end is None else left.end + shift)
    if left.type is right.type is Type.TIME and op == "sub":
        return Value(Type.DURATION, left.sql - right.sql)
    if left.type is right.type is Type.DURATION and op in ("add", "sub"):
        return Value(Type.DURATION, left.sql + right.sql if op == "add" else left.sql - right.sql)
    a, b = number_of(left, op), number_of(right, op)
    match op:
        case "add":
            return Value(Type.NUMBER, a + b)
        case "sub":
            return Value(Type.NUMBER, a - b)
        case "mul":
            return Value(Type.NUMBER, a * b)
    # A zero divisor gives null, which never matches: no row makes the whole query fail.
    quotient = divide(a, sa.func.nullif(b, 0), a.type)
    if op == "div":
        return Value(Type.NUMBER, quotient)
    return Value(Type.NUMBER, a - b * sa.func.trunc(quotient))


__all__ = ["NOW", "Condition", "Resolve", "Sql", "Type", "Value", "compare", "condition", "value"]
