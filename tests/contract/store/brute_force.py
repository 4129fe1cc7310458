"""`$filter` by plain Python, row by row: what SQL has to agree with. None is null, in OData's three-valued logic.

Instants are pairs (start, end) in microseconds. A value of JSON is wrapped in `Any_`: its type is known at
run time only.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from twinstack.core.timestamps import parse_us
from twinstack.query import tree

COMPARE = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = 86_400_000_000


@dataclass(frozen=True)
class Any_:
    value: Any


@dataclass(frozen=True)
class Duration:
    us: int


def evaluate(expr: Any, row: dict[str, Any]) -> Any:
    match expr:
        case tree.Literal(value=value, kind=kind):
            return _literal(value, kind)
        case tree.Path(parts=parts):
            return _path(parts, row)
        case tree.Unary("not", operand):
            inner = truth(evaluate(operand, row))
            return None if inner is None else not inner
        case tree.Unary("-", operand):
            inner = evaluate(operand, row)
            if isinstance(inner, Duration):
                return Duration(-inner.us)
            return None if (n := number(inner)) is None else -n
        case tree.Chain(op, operands):
            return _chain(op, [truth(evaluate(part, row)) for part in operands])
        case tree.Binary(op, left, right) if op in COMPARE:
            return compare(op, left, right, row)
        case tree.Binary(op, left, right):
            return arithmetic(op, evaluate(left, row), evaluate(right, row))
        case tree.In(operand, items):
            return _chain("or", [compare("eq", operand, item, row) for item in items])
        case tree.Call(name, args):
            return call(name, [evaluate(arg, row) for arg in args])
    raise AssertionError(expr)


def _literal(value: Any, kind: str) -> Any:
    match kind:
        case "time":
            return (value, value)
        case "interval":
            return value
        case "duration":
            return Duration(value)
    return value


def _path(parts: tuple[str, ...], row: dict[str, Any]) -> Any:
    value: Any = row
    for part in parts:
        if isinstance(value, Any_):
            inner = value.value
            if isinstance(inner, list) and part.isdigit():
                value = Any_(inner[int(part)] if int(part) < len(inner) else None)
            else:
                value = Any_(inner.get(part) if isinstance(inner, dict) else None)
        else:
            value = None if value is None else value[part]
    return value


def truth(value: Any) -> bool | None:
    if isinstance(value, Any_):
        return value.value if isinstance(value.value, bool) else None
    return value


def _chain(op: str, parts: list[bool | None]) -> bool | None:
    decided = op == "or"
    if decided in parts:
        return decided
    return None if None in parts else not decided


def plain(value: Any) -> Any:
    return value.value if isinstance(value, Any_) else value


def number(value: Any) -> Any:
    """Numbers of JSON compute as doubles."""
    if isinstance(value, Any_):
        inner = value.value
        return float(inner) if isinstance(inner, int | float) and not isinstance(inner, bool) else None
    return value


def text(value: Any) -> str | None:
    inner = plain(value)
    return inner if isinstance(inner, str) else None


def compare(op: str, left: Any, right: Any, row: dict[str, Any]) -> bool | None:
    a, b = evaluate(left, row), evaluate(right, row)
    null = [isinstance(side, tree.Literal) and side.kind == "null" for side in (left, right)]
    if any(null):
        if op not in ("eq", "ne"):
            return None
        other = plain(a) if null[1] else plain(b)
        return (other is None) == (op == "eq")
    if plain(a) is None or plain(b) is None:
        return None
    if isinstance(a, Any_) or isinstance(b, Any_):
        return _compare_any(op, a, b, left, right)
    if isinstance(a, Duration):
        return COMPARE[op](a.us, b.us)
    if isinstance(a, str) != isinstance(b, str):  # ids may be quoted
        a, b = float(a), float(b)
    if isinstance(a, tuple):
        return _compare_times(op, a, b)
    return COMPARE[op](a, b)


def _kind(value: Any) -> str:
    value = plain(value)
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else "other"


def _compare_any(op: str, a: Any, b: Any, left: Any, right: Any) -> bool | None:
    ways = []
    pairs = [(a, b)]
    for side, is_left in ((left, True), (right, False)):
        # A text literal that is a number is compared with numbers as one.
        if isinstance(side, tree.Literal) and side.kind == "string" and _as_number(side.value) is not None:
            pairs.append((_as_number(side.value), b) if is_left else (a, _as_number(side.value)))
    for x, y in pairs:
        if _kind(x) == _kind(y) != "other":
            ways.append((plain(x), plain(y)))
    if op in ("eq", "ne"):
        return any(x == y for x, y in ways) == (op == "eq")
    return _chain("or", [COMPARE[op](x, y) for x, y in ways]) if ways else None


def _as_number(value: str) -> float | None:
    try:
        return float(value) if value.strip() == value and value else None
    except ValueError:
        return None


def _compare_times(op: str, a: tuple[int, int], b: tuple[int, int]) -> bool:
    match op:
        case "eq":
            return a == b
        case "ne":
            return a != b
        case "lt":
            return a[1] < b[0]
        case "le":
            return a[1] <= b[0]
        case "gt":
            return a[0] > b[1]
    return a[0] >= b[1]


def arithmetic(op: str, a: Any, b: Any) -> Any:
    if isinstance(b, Duration) or isinstance(a, Duration):
        if plain(a) is None or plain(b) is None:
            return None
        if isinstance(a, Duration) and isinstance(b, tuple):
            a, b = b, a
        sign = 1 if op == "add" else -1
        if isinstance(a, tuple):
            return (a[0] + sign * b.us, a[1] + sign * b.us)
        return Duration(a.us + sign * b.us)
    if isinstance(a, tuple) or isinstance(b, tuple):
        return None if a is None or b is None else Duration(a[0] - b[0])
    a, b = number(a), number(b)
    if a is None or b is None:
        return None
    match op:
        case "add":
            return a + b
        case "sub":
            return a - b
        case "mul":
            return a * b
    if b == 0:
        return None
    whole = isinstance(a, int) and isinstance(b, int)
    quotient = (abs(a) // abs(b)) * (1 if (a < 0) == (b < 0) else -1) if whole else a / b
    return quotient if op == "div" else a - b * math.trunc(quotient)


def _round(x: Any) -> float:
    return float(math.floor(abs(x) + 0.5)) * (1 if x >= 0 else -1)


def _moment(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


_NUMBERS = {"round": _round, "floor": lambda x: float(math.floor(x)), "ceiling": lambda x: float(math.ceil(x))}
_DATES = {
    "year": lambda us: _moment(us).year,
    "month": lambda us: _moment(us).month,
    "day": lambda us: _moment(us).day,
    "hour": lambda us: _moment(us).hour,
    "minute": lambda us: _moment(us).minute,
    "second": lambda us: _moment(us).second,
    "fractionalseconds": lambda us: us % 1_000_000 / 1e6,
    "totaloffsetminutes": lambda us: 0,
    "date": lambda us: (us - us % DAY, us - us % DAY),
    "time": lambda us: us % DAY,
}
_TEXTS = {
    "length": len,
    "tolower": str.lower,
    "toupper": str.upper,
    "trim": lambda x: x.strip(" \t\n\r\f\v"),
    "contains": lambda x, y: y in x,
    "substringof": lambda x, y: x in y,
    "startswith": str.startswith,
    "endswith": str.endswith,
    "indexof": str.find,
    "concat": lambda x, y: x + y,
}
_INTERVALS = {
    "before": lambda a, b: a[1] < b[0],
    "after": lambda a, b: a[0] > b[1],
    "meets": lambda a, b: a[1] == b[0] or b[1] == a[0],
    "during": lambda a, b: b[0] <= a[0] and a[1] <= b[1],
    "overlaps": lambda a, b: (a[0] < b[1] and b[0] < a[1]) or a[0] == b[0],
    "starts": lambda a, b: a[0] == b[0] and a[1] <= b[1],
    "finishes": lambda a, b: a[1] == b[1] and a[0] >= b[0],
}


def call(name: str, args: list[Any]) -> Any:
    if name == "substring":
        whole, begin, *length = text(args[0]), *(number(arg) for arg in args[1:])
        if whole is None or begin is None or None in length:
            return None
        begin = max(0, int(begin))
        return whole[begin:] if not length else whole[begin : begin + max(0, int(length[0]))]
    if name in _TEXTS:
        texts = [text(arg) for arg in args]
        return None if None in texts else _TEXTS[name](*texts)
    if name in _NUMBERS:
        n = number(args[0])
        return None if n is None else _NUMBERS[name](n)
    if any(arg is None for arg in args):
        return None
    if name in _DATES:
        return _DATES[name](args[0][0])
    if name == "totalseconds":
        return args[0].us / 1e6
    return _INTERVALS[name](*args)


def instant(value: str | None) -> tuple[int, int] | None:
    """The pair of an ISO instant or interval."""
    if value is None:
        return None
    start, _, end = value.partition("/")
    return parse_us(start), parse_us(end or start)
