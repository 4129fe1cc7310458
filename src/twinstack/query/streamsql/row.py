"""The evaluator on one row: the checked tree compiled to closures over a mapping from column to value.

It is the reading of the language: the evaluator on columns must agree with it, value by value and count by count.
AND, OR, CASE and COALESCE are read from left to right and stop as soon as their value is known; an arithmetic NULL
counts when the reading reaches it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from twinstack.query.streamsql.checked import (
    Apply,
    Between,
    Case,
    Checked,
    CheckedQuery,
    Coalesce,
    ColumnRef,
    Compare,
    Const,
    In,
    IsNull,
    Logic,
    Not,
    Term,
)
from twinstack.query.streamsql.functions import FUNCTIONS, Function
from twinstack.query.streamsql.kinds import TIMES, Kinds, kind_of, meet, normal
from twinstack.query.streamsql.like import like_matcher
from twinstack.query.streamsql.scalars import checked_number

Row = Mapping[str, Any]
Evaluate = Callable[[Row], Any]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


class RowCondition:
    """Callable on a row: True, False or None. `arithmetic` counts the NULLs made by arithmetic since the start."""

    def __init__(self, where: Term | None) -> None:
        self.arithmetic = 0
        self._evaluate = compile_term(where, self._count) if where is not None else _passes

    def __call__(self, row: Row) -> bool | None:
        value = self._evaluate(row)
        return value if isinstance(value, bool) else None

    def _count(self) -> None:
        self.arithmetic += 1


def compile_row(checked: CheckedQuery) -> RowCondition:
    """The condition as a function of a row, which maps each of `checked.columns` to a value; a missing one is NULL.

    Times are microseconds since 1970. Never raises for any JSON value.
    """
    return RowCondition(checked.where)


def compile_term(term: Term, count: Callable[[], None]) -> Evaluate:
    """A function of a row that gives the term's value; it calls `count` for each NULL made by arithmetic."""
    return _BUILD[type(term)](term, lambda part: compile_term(part, count), count)


Build = Callable[[Term], Evaluate]


def _passes(_row: Row) -> bool:
    return True


def _const(term: Const, _build: Build, _count: Callable[[], None]) -> Evaluate:
    value = term.value
    return lambda _row: value


def _column(term: ColumnRef, _build: Build, _count: Callable[[], None]) -> Evaluate:
    name = term.name
    return lambda row: normal(row.get(name))


def compare_values(op: str, a: Any, b: Any) -> bool | None:
    """Kinds that do not meet give NULL; integers and floats are compared exactly, as Python does it."""
    kind_a, kind_b = kind_of(a), kind_of(b)
    if kind_a is None or kind_b is None or not meet(kind_a, kind_b):
        return None
    return bool(_COMPARE[op](a, b))


def _compare(term: Compare, build: Build, _count: Callable[[], None]) -> Evaluate:
    left, right, op = build(term.left), build(term.right), term.op
    return lambda row: compare_values(op, left(row), right(row))


def _logic(term: Logic, build: Build, _count: Callable[[], None]) -> Evaluate:
    operands = [build(operand) for operand in term.operands]
    if term.op == "xor":
        return _xor(operands)
    stop = term.op == "or"

    def evaluate(row: Row) -> bool | None:
        known = True
        for operand in operands:
            value = operand(row)
            if not isinstance(value, bool):
                known = False
            elif value == stop:
                return stop
        return not stop if known else None

    return evaluate


def _xor(operands: list[Evaluate]) -> Evaluate:
    def evaluate(row: Row) -> bool | None:
        result: bool | None = False
        for operand in operands:
            value = operand(row)
            result = bool(result != value) if isinstance(value, bool) and result is not None else None
        return result

    return evaluate


def _not(term: Not, build: Build, _count: Callable[[], None]) -> Evaluate:
    operand = build(term.operand)

    def evaluate(row: Row) -> bool | None:
        value = operand(row)
        return not value if isinstance(value, bool) else None

    return evaluate


def _between(term: Between, build: Build, _count: Callable[[], None]) -> Evaluate:
    operand, low, high = build(term.operand), build(term.low), build(term.high)

    def evaluate(row: Row) -> bool | None:
        value = operand(row)
        above, below = compare_values("ge", value, low(row)), compare_values("le", value, high(row))
        if above is False or below is False:
            return False
        return True if above and below else None

    return evaluate


def _in(term: In, build: Build, _count: Callable[[], None]) -> Evaluate:
    operand, items = build(term.operand), [build(item) for item in term.items]

    def evaluate(row: Row) -> bool | None:
        value = operand(row)
        equal = [compare_values("eq", value, item(row)) for item in items]
        return True if True in equal else None if None in equal else False

    return evaluate


def _is_null(term: IsNull, build: Build, _count: Callable[[], None]) -> Evaluate:
    operand = build(term.operand)
    return lambda row: operand(row) is None


def accepts(function: Function, index: int, kinds: Kinds) -> Callable[[Any], bool] | None:
    """The test that an argument's value must pass at run time; None if its kinds leave no doubt."""
    param = function.param(index)
    if kinds == TIMES or not kinds - param:
        return None
    return lambda value: kind_of(value) in param


def prepared(term: Apply) -> tuple[Callable[..., Any], tuple[Term, ...]]:
    """The function and the arguments that are left to compute: a constant pattern of LIKE is compiled once."""
    constants = [arg.value for arg in term.args[1:] if isinstance(arg, Const)]
    if term.function == "like" and len(constants) == len(term.args) - 1:
        return like_matcher(*map(str, constants)), term.args[:1]
    return FUNCTIONS[term.function].run, term.args


def _apply(term: Apply, build: Build, count: Callable[[], None]) -> Evaluate:
    run, left = prepared(term)
    function = FUNCTIONS[term.function]
    args = [(build(arg), accepts(function, i, arg.kinds)) for i, arg in enumerate(left)]
    call = guarded(run, count)

    def evaluate(row: Row) -> Any:
        values = []
        nulls = False
        for arg, test in args:
            value = arg(row)
            nulls = nulls or value is None or (test is not None and not test(value))
            values.append(value)
        return None if nulls else call(*values)

    return evaluate


def guarded(run: Callable[..., Any], count: Callable[[], None]) -> Callable[..., Any]:
    """The function with NULL, counted, in place of an overflow and of a value that does not exist."""

    def call(*values: Any) -> Any:
        try:
            value = run(*values)
            return checked_number(value) if type(value) in (int, float) else value
        except (ArithmeticError, ValueError):
            count()
            return None

    return call


def _case(term: Case, build: Build, _count: Callable[[], None]) -> Evaluate:
    operand = build(term.operand) if term.operand is not None else None
    whens = [(build(test), build(value)) for test, value in term.whens]
    default = build(term.default)

    def evaluate(row: Row) -> Any:
        subject = operand(row) if operand is not None else None
        for test, value in whens:
            outcome = test(row)
            if operand is not None:
                outcome = compare_values("eq", subject, outcome)
            if outcome is True:
                return value(row)
        return default(row)

    return evaluate


def _coalesce(term: Coalesce, build: Build, _count: Callable[[], None]) -> Evaluate:
    args = [build(arg) for arg in term.args]

    def evaluate(row: Row) -> Any:
        for arg in args:
            value = arg(row)
            if value is not None:
                return value
        return None

    return evaluate


_BUILD: dict[type[Checked], Callable[[Any, Build, Callable[[], None]], Evaluate]] = {
    Const: _const,
    ColumnRef: _column,
    Compare: _compare,
    Logic: _logic,
    Not: _not,
    Between: _between,
    In: _in,
    IsNull: _is_null,
    Apply: _apply,
    Case: _case,
    Coalesce: _coalesce,
}
