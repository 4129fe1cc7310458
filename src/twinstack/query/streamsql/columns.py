"""The evaluator on columns: the checked tree compiled to functions over a batch of rows.

It agrees with row.py value by value and counts the same arithmetic NULLs: an operand that the reading of a row would
not reach (`result <> 0 AND 1 / result > 2`) is computed, but its NULLs are not counted there. What reads only columns
that share one dictionary is computed once for each entry of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from twinstack.query.streamsql.batch import Batch, Dictionary, Evaluate
from twinstack.query.streamsql.calls import by_kernel, by_rows
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
    columns_of,
    walk,
)
from twinstack.query.streamsql.functions import FUNCTIONS
from twinstack.query.streamsql.kernels import KERNELS
from twinstack.query.streamsql.kinds import STRING, TIMES
from twinstack.query.streamsql.logic import Kleene, bools, compare_vectors
from twinstack.query.streamsql.row import prepared
from twinstack.query.streamsql.vectors import (
    Array,
    Column,
    Columns,
    Mask,
    Merge,
    Vector,
    both,
    constant_kind,
    expand,
    known,
    scalar,
    to_items,
    truth,
)

Condition = Callable[[Columns], tuple[Mask, int]]


def compile_columns(checked: CheckedQuery) -> Condition:
    """A function of a batch that gives the rows where WHERE is TRUE and the number of arithmetic NULLs.

    Never raises for columns that hold what they say they hold. It keeps no state: threads may share it.
    """
    return compile_condition(checked.where)


Values = Callable[[Columns], tuple[list[list[Any]], int]]


def compile_values(terms: Sequence[Term]) -> Values:
    """A function of a batch that gives the values of each term, None for NULL, and the number of arithmetic NULLs.

    Never raises for columns that hold what they say they hold; keeps no state.
    """
    evaluates = [compile_term(term) for term in terms]

    def values(columns: Columns) -> tuple[list[list[Any]], int]:
        batch = Batch(columns)
        with np.errstate(all="ignore"):
            made = [list(to_items(evaluate(batch, None), batch.n)) for evaluate in evaluates]
        return made, batch.arithmetic

    return values


def compile_condition(where: Term | None) -> Condition:
    """As compile_columns, of any condition."""
    evaluate = compile_term(where) if where is not None else None

    def condition(columns: Columns) -> tuple[Mask, int]:
        if evaluate is None:
            return np.ones(columns.n, np.bool_), 0
        batch = Batch(columns)
        with np.errstate(all="ignore"):
            values, valid = truth(evaluate(batch, None))
        passed = values if valid is None else values & valid
        return (passed if passed.shape == (columns.n,) else np.full(columns.n, bool(passed))), batch.arithmetic

    return condition


def compile_term(term: Term) -> Evaluate:
    evaluate = _BUILD[type(term)](term)
    names = tuple(columns_of(term))
    if isinstance(term, Const | ColumnRef) or not names:
        return evaluate
    return _once_per_entry(evaluate, names)


def _counts(term: Term) -> bool:
    return any(isinstance(part, Apply) for part in walk(term))


def _once_per_entry(evaluate: Evaluate, names: tuple[str, ...]) -> Evaluate:
    """Computes on the dictionary when all columns have the same codes."""

    def on_dictionary(batch: Batch, rows: Mask | None) -> Vector:
        columns = [batch.columns.get(name) for name in names]
        first = columns[0]
        codes = first.codes if first is not None else None
        if first is None or codes is None or len(first.values) >= batch.n:
            return evaluate(batch, rows)
        if any(column is None or column.codes is not codes for column in columns):
            return evaluate(batch, rows)
        entries = {n: Column(c.values, None, c.kind) for n, c in zip(names, columns, strict=True) if c is not None}
        return expand(evaluate(Dictionary(Columns(len(first.values), entries), batch, codes, rows), None), codes)

    return on_dictionary


def _const(term: Const) -> Evaluate:
    vector = scalar(term.value, constant_kind(term.value, term.kinds == TIMES))
    return lambda _batch, _rows: vector


def _column(term: ColumnRef) -> Evaluate:
    name = term.name
    return lambda batch, _rows: batch.vector(name)


def _compare(term: Compare) -> Evaluate:
    left, right, op = compile_term(term.left), compile_term(term.right), term.op
    return lambda batch, rows: compare_vectors(op, left(batch, rows), right(batch, rows))


def _logic(term: Logic) -> Evaluate:
    operands = [(compile_term(operand), _counts(operand)) for operand in term.operands]
    if term.op == "xor":
        return _xor([operand for operand, _ in operands])

    def evaluate(batch: Batch, rows: Mask | None) -> Vector:
        outcome = Kleene(batch.n, is_or=term.op == "or")
        for operand, counts in operands:
            outcome.add(operand(batch, outcome.reached(rows) if counts else None))
        return outcome.vector()

    return evaluate


def _xor(operands: list[Evaluate]) -> Evaluate:
    def evaluate(batch: Batch, rows: Mask | None) -> Vector:
        result: Array = np.zeros((), np.bool_)
        sure: Mask | None = None
        for operand in operands:
            values, valid = truth(operand(batch, rows))
            result = result ^ values
            sure = both(sure, valid)
        return bools(result, None if sure is None else np.broadcast_to(sure, batch.n))

    return evaluate


def _not(term: Not) -> Evaluate:
    operand = compile_term(term.operand)

    def evaluate(batch: Batch, rows: Mask | None) -> Vector:
        values, valid = truth(operand(batch, rows))
        return bools(~values, None if valid is None else np.broadcast_to(valid, batch.n))

    return evaluate


def _between(term: Between) -> Evaluate:
    operand, low, high = compile_term(term.operand), compile_term(term.low), compile_term(term.high)

    def evaluate(batch: Batch, rows: Mask | None) -> Vector:
        value = operand(batch, rows)
        outcome = Kleene(batch.n, is_or=False)
        outcome.add(compare_vectors("ge", value, low(batch, rows)))
        outcome.add(compare_vectors("le", value, high(batch, rows)))
        return outcome.vector()

    return evaluate


def _in(term: In) -> Evaluate:
    operand = compile_term(term.operand)
    if all(isinstance(item, Const) and isinstance(item.value, str) and item.kinds != TIMES for item in term.items):
        return _in_texts(operand, frozenset(item.value for item in term.items if isinstance(item, Const)))
    items = [compile_term(item) for item in term.items]

    def evaluate(batch: Batch, rows: Mask | None) -> Vector:
        value = operand(batch, rows)
        outcome = Kleene(batch.n, is_or=True)
        for item in items:
            outcome.add(compare_vectors("eq", value, item(batch, rows)))
        return outcome.vector()

    return evaluate


def _in_texts(operand: Evaluate, texts: frozenset[Any]) -> Evaluate:
    def evaluate(batch: Batch, rows: Mask | None) -> Vector:
        part = operand(batch, rows).get(STRING)
        if part is None:
            return {}
        values = np.atleast_1d(part.values)
        found = np.fromiter(map(texts.__contains__, values.tolist()), np.bool_, len(values))
        return bools(found if part.values.ndim else found.reshape(()), part.valid)

    return evaluate


def _is_null(term: IsNull) -> Evaluate:
    operand = compile_term(term.operand)
    return lambda batch, rows: bools(~known(operand(batch, rows), batch.n), None)


def _apply(term: Apply) -> Evaluate:
    function = FUNCTIONS[term.function]
    run, left = prepared(term)
    args = [(compile_term(arg), function.param(index)) for index, arg in enumerate(left)]
    kernel = KERNELS.get((function.name, len(args)))

    def evaluate(batch: Batch, rows: Mask | None) -> Vector:
        vectors = [{kind: part for kind, part in arg(batch, rows).items() if kind in param} for arg, param in args]
        if not all(vectors):
            return {}
        if kernel is None:
            return by_rows(run, term.kinds, batch, vectors, rows)
        return by_kernel(kernel, batch, vectors, rows)

    return evaluate


def _case(term: Case) -> Evaluate:
    operand = compile_term(term.operand) if term.operand is not None else None
    whens = [(compile_term(test), compile_term(value)) for test, value in term.whens]
    default = compile_term(term.default)

    def evaluate(batch: Batch, rows: Mask | None) -> Vector:
        subject = operand(batch, rows) if operand is not None else None
        merge = Merge(batch.n)
        left = np.ones(batch.n, np.bool_) if rows is None else rows
        for test, value in whens:
            outcome = test(batch, left)
            if subject is not None:
                outcome = compare_vectors("eq", subject, outcome)
            values, valid = truth(outcome)
            chosen = left & (values if valid is None else values & valid)
            merge.add(value(batch, chosen), chosen)
            left = left & ~chosen
        merge.add(default(batch, left), left)
        return merge.vector()

    return evaluate


def _coalesce(term: Coalesce) -> Evaluate:
    args = [compile_term(arg) for arg in term.args]

    def evaluate(batch: Batch, rows: Mask | None) -> Vector:
        merge = Merge(batch.n)
        left = np.ones(batch.n, np.bool_) if rows is None else rows
        for arg in args:
            vector = arg(batch, left)
            merge.add(vector, left)
            left = left & ~known(vector, batch.n)
        return merge.vector()

    return evaluate


_BUILD: dict[type[Checked], Callable[[Any], Evaluate]] = {
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
