"""A table of columns that grows at its end, read by row numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from twinstack.streams.operators.seam import Array, Integers, objects

OBJECT_BYTES = 80
"""About what a pointer and the object behind it take."""
ROOM_MIN = 1024


class Table:
    """Columns of one length. A column keeps float64 or int64 as long as all its values are of that type; then it holds
    objects. A column that a batch does not have is NULL there."""

    def __init__(self) -> None:
        self.n = 0
        self._room = 0
        self._columns: dict[str, Array] = {}

    def append(self, n: int, values: Mapping[str, Array]) -> Integers:
        """Adds n rows; their numbers."""
        end = self.n + n
        if end > self._room:
            self._room = max(2 * self._room, end, ROOM_MIN)
            self._columns = {name: _resized(column, self.n, self._room) for name, column in self._columns.items()}
        for name, new in values.items():
            column = self._columns.get(name)
            if column is None:
                column = np.empty(self._room, new.dtype if self.n == 0 else np.object_)
            elif column.dtype != new.dtype and self.n == 0:
                column = np.empty(self._room, new.dtype)
            if column.dtype != new.dtype:
                column = as_objects(column)
            column[self.n : end] = new if column.dtype == new.dtype else as_objects(new)
            self._columns[name] = column
        for name in self._columns.keys() - values.keys():
            column = as_objects(self._columns[name])
            column[self.n : end] = None
            self._columns[name] = column
        self.n = end
        return np.arange(end - n, end)

    def take(self, rows: Integers) -> dict[str, Array]:
        return {name: column[rows] for name, column in self._columns.items()}

    def column(self, name: str) -> Array:
        return self._columns[name][: self.n]

    def keep(self, rows: Integers) -> None:
        """Only these rows stay; they get the numbers 0, 1, ... in the order given."""
        self._columns = {name: column[rows] for name, column in self._columns.items()}
        self.n = self._room = len(rows)

    @property
    def row_bytes(self) -> int:
        return sum(OBJECT_BYTES if column.dtype == np.object_ else 8 for column in self._columns.values())


def as_objects(column: Array) -> Array:
    """The column as Python's own values, None for NULL."""
    if column.dtype == np.object_:
        return column
    made = column.astype(np.object_)
    if column.dtype == np.float64:
        made[np.isnan(column)] = None
    return made


def concatenated(columns: list[Array]) -> Array:
    """One column of several, of their type if they agree."""
    if len({column.dtype for column in columns}) > 1:
        return objects(item for column in columns for item in as_objects(column))
    return np.concatenate(columns)


def _resized(column: Array, n: int, room: int) -> Array:
    made: np.ndarray[Any, Any] = np.empty(room, column.dtype)
    made[:n] = column[:n]
    return made
