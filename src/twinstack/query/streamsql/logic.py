"""Comparison of vectors, and Kleene's logic on their outcomes."""

from __future__ import annotations

import numpy as np

from twinstack.query.streamsql.kernels import compare
from twinstack.query.streamsql.kinds import BOOL, meet
from twinstack.query.streamsql.vectors import Array, Mask, Part, Vector, both, truth


def bools(values: Array, valid: Mask | None) -> Vector:
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
                return bools(outcome, None)
            outcome = outcome & rows
            values = outcome if values is None else values | outcome
            valid = rows if valid is None else valid | rows
    return bools(values, valid) if values is not None else {}


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
            return bools(~self._open if self._is_or else self._open, None)
        values = ~self._open if self._is_or else self._open & self._sure
        return bools(values, np.broadcast_to(self._sure | ~self._open, self._n))
