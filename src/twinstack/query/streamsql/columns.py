"""The evaluator on columns: the checked tree compiled to functions over a batch of rows.

It agrees with row.py value by value and counts the same arithmetic NULLs: an operand that the reading of a row would
not reach (`result <> 0 AND 1 / result > 2`) is computed, but its NULLs are not counted there. What reads only columns
that share one dictionary is computed once for each entry of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np

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
from twinstack.query.streamsql.kernels import KERNELS, compare
from twinstack.query.streamsql.kinds import BOOL, FLOAT, STRING, TIME, TIMES, Kinds, meet
from twinstack.query.streamsql.row import guarded, prepared
from twinstack.query.streamsql.vectors import (
    Array,
    Column,
    Columns,
    Mask,
    Merge,
    Part,
    Vector,
    both,
    constant_kind,
    expand,
    from_items,
    known,
    read,
    scalar,
    to_items,
    truth,
)


class Batch:
    """One batch while it is evaluated: its vectors so far, and the count of arithmetic NULLs."""

    def __init__(self, columns: Columns) -> None:
        self.n = columns.n
        self.columns = columns.columns
        self.arithmetic = 0
        self._read: dict[str, Vector] = {}

    def vector(self, name: str) -> Vector:
        if name not in self._read:
            column = self.columns.get(name)
            self._read[name] = read(column) if column is not None else {}
        return self._read[name]

    def count(self, bad: Array, rows: Mask | None) -> None:
        counted = bad if rows is None else bad & rows
        self.arithmetic += int(np.count_nonzero(np.broadcast_to(counted, self.n)))


class Dictionary(Batch):
    """The entries of a dictionary as a batch: what fails in an entry is counted for each row that points to it."""

    def __init__(self, columns: Columns, parent: Batch, codes: Array, rows: Mask | None) -> None:
        super().__init__(columns)
        self._parent = parent
        self._codes = codes
        self._rows = rows

    def count(self, bad: Array, rows: Mask | None) -> None:
        counted = np.broadcast_to(bad if rows is None else bad & rows, self.n)
        self._parent.count(counted[self._codes], self._rows)


Evaluate = Callable[[Batch, Mask | None], Vector]
"""The vector of a term. The mask has the rows whose reading reaches the term, None for all: only they are counted."""

Condition = Callable[[Columns], tuple[Mask, int]]


def compile_columns(checked: CheckedQuery) -> Condition:
    """A function of a batch that gives the rows where WHERE is TRUE and the number of arithmetic NULLs.

    Never raises for columns that hold what they say they hold. It keeps no state: threads may share it.
    """
    evaluate = compile_term(checked.where) if checked.where is not None else None

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


def _bools(values: Array, valid: Mask | None) -> Vector:
    return {BOOL: Part(values, valid)}


def compare_vectors(op: str, left: Vector, right: Vector) -> Vector:
    """Each kind of one side with each kind of the other that it meets; the rest is NULL."""
    values: Array | None = None
    valid: Mask | None = None
    for kind_a, (a, valid_a) in left.items():
        for kind_b, (b, valid_b) in right.items():
            if not meet(kind_a, kind_b):
                continue
            rows = both(valid_a, valid_b)
            outcome = compare(op, (kind_a, kind_b), a, b, rows)
            if rows is None:  # no other kind has a row
                return _bools(outcome, None)
            outcome = outcome & rows
            values = outcome if values is None else values | outcome
            valid = rows if valid is None else valid | rows
    return _bools(values, valid) if values is not None else {}


def _compare(term: Compare) -> Evaluate:
    left, right, op = compile_term(term.left), compile_term(term.right), term.op
    return lambda batch, rows: compare_vectors(op, left(batch, rows), right(batch, rows))


class Kleene:
    """AND of vectors; OR is the same with TRUE and FALSE exchanged (De Morgan)."""

    def __init__(self, n: int, *, is_or: bool) -> None:
        self._n = n
        self._is_or = is_or
        self._open: Array = np.ones((), np.bool_)  # rows that no operand has decided
        self._sure: Array = np.ones((), np.bool_)  # rows where no operand was NULL

    def reached(self, rows: Mask | None) -> Mask | None:
        """Of the rows, those whose reading goes on to the next operand."""
        return both(rows, np.broadcast_to(self._open, self._n))

    def add(self, operand: Vector) -> None:
        values, valid = truth(operand)
        deciding = values if self._is_or else ~values
        if valid is not None:
            deciding = deciding & valid
            self._sure = self._sure & valid
        self._open = self._open & ~deciding

    def vector(self) -> Vector:
        if self._sure.ndim == 0 and self._sure:
            return _bools(~self._open if self._is_or else self._open, None)
        values = ~self._open if self._is_or else self._open & self._sure
        return _bools(values, np.broadcast_to(self._sure | ~self._open, self._n))


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
        return _bools(result, None if sure is None else np.broadcast_to(sure, batch.n))

    return evaluate


def _not(term: Not) -> Evaluate:
    operand = compile_term(term.operand)

    def evaluate(batch: Batch, rows: Mask | None) -> Vector:
        values, valid = truth(operand(batch, rows))
        return _bools(~values, None if valid is None else np.broadcast_to(valid, batch.n))

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
        return _bools(found if part.values.ndim else found.reshape(()), part.valid)

    return evaluate


def _is_null(term: IsNull) -> Evaluate:
    operand = compile_term(term.operand)
    return lambda batch, rows: _bools(~known(operand(batch, rows), batch.n), None)


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
        pieces: list[tuple[str, Part]] = []
        for parts in _combinations(vectors):
            valid = _all_valid(parts)
            kind, values, bad = kernel(*(part.values for part in parts))
            if bad is not None and bad.any():
                batch.count(bad if valid is None else bad & valid, rows)
                valid = both(valid, np.broadcast_to(~bad, batch.n))
            pieces.append((kind, Part(values, valid)))
        return _merged(pieces, batch.n)

    return evaluate


def _all_valid(parts: Sequence[Part]) -> Mask | None:
    valid: Mask | None = None
    for part in parts:
        valid = both(valid, part.valid)
    return valid


def _combinations(vectors: list[Vector]) -> list[tuple[Part, ...]]:
    combinations: list[tuple[Part, ...]] = [()]
    for vector in vectors:
        combinations = [(*before, part) for before in combinations for part in vector.values()]
    return combinations


def _merged(pieces: list[tuple[str, Part]], n: int) -> Vector:
    if len(pieces) == 1:
        return dict(pieces)
    merge = Merge(n)
    for kind, part in pieces:
        merge.add({kind: part}, np.ones(n, np.bool_))
    return merge.vector()


def by_rows(run: Callable[..., Any], kinds: Kinds, batch: Batch, vectors: list[Vector], rows: Mask | None) -> Vector:
    """The row's own function on each row: slower, and the same to the last bit."""
    quick = _mapped(run, kinds, batch.n, vectors)
    if quick is not None:
        return quick
    items: list[Any] = []
    failed: list[int] = []
    call = guarded(run, lambda: failed.append(len(items)))
    for values in zip(*(to_items(vector, batch.n) for vector in vectors), strict=True):
        items.append(None if None in values else call(*values))
    if failed:
        bad = np.zeros(batch.n, np.bool_)
        bad[failed] = True
        batch.count(bad, rows)
    return _results(items, kinds)


def _mapped(run: Callable[..., Any], kinds: Kinds, n: int, vectors: list[Vector]) -> Vector | None:
    """The usual case in one `map`: arguments of one kind each, and no row without a value; else None."""
    if any(len(vector) > 1 for vector in vectors):
        return None
    parts = [part for vector in vectors for part in vector.values()]
    valid = _all_valid(parts)
    lists = [_items(values, valid, n) for values, _ in parts]
    try:
        results = _results(list(map(run, *lists)), kinds)
    except (ArithmeticError, ValueError):
        return None
    # An overflow shows as a FLOAT that is not finite, or that should have been an INT.
    overflow = results.get(FLOAT)
    if overflow is not None and (FLOAT not in kinds or overflow.valid is not None):
        return None
    if valid is None:
        return results
    rows = np.flatnonzero(valid)
    merge = Merge(n)
    for kind, part in results.items():
        merge.scatter(kind, part, rows)
    return merge.vector()


def _items(values: Array, valid: Mask | None, n: int) -> Iterable[Any]:
    if values.ndim == 0:
        return repeat(values.tolist(), n if valid is None else int(np.count_nonzero(valid)))
    items: list[Any] = (values if valid is None else values[valid]).tolist()
    return items


def _results(items: list[Any], kinds: Kinds) -> Vector:
    return read(Column(items, None, TIME)) if kinds == TIMES else from_items(items)


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
