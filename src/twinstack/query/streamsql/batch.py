"""One batch while it is evaluated: vectors read once, arithmetic NULLs counted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from twinstack.query.streamsql.vectors import Array, Columns, Mask, Vector, read


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
