"""SUM, AVG and STDDEV without rounding until the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from twinstack.query.streamsql.kinds import INT_MAX, INT_MIN
from twinstack.streams.operators.exact import deviation, from_bytes, group_squares, group_sums, ratio, to_bytes
from twinstack.streams.operators.parts import Columns, Part, Results
from twinstack.streams.operators.seam import Array, Integers, as_values, objects


class Sums(Columns):
    """SUM, AVG, STDDEV. `total` counts in units of 2**unit, `squares` in those of 2**(2 * unit); `floats`: how many of
    the values were FLOAT (a sum of INT alone is an INT)."""

    def __init__(self, function: str) -> None:
        self.empty: Mapping[str, Any] = {"n": 0, "floats": 0, "total": None}
        if function == "stddev":
            self.empty = {**self.empty, "squares": None}
        super().__init__()
        self._finish: Callable[[int, int, int, int], Any] = getattr(self, f"_{function}")
        self._squares = function == "stddev"
        self._unit = 0

    def add(self, part: Part) -> None:
        columns, slots = self.columns, part.slots
        columns["n"][slots] += part.counts
        columns["floats"][slots] += _float_counts(part)
        sums = group_sums(part.values, part.starts)
        self._lower(sums.unit)
        self._put("total", slots, sums.to_unit(self._unit))
        if self._squares:
            squares = group_squares(part.values, part.starts)
            self._put("squares", slots, squares.to_unit(2 * self._unit))

    def _put(self, name: str, slots: Integers, more: Array) -> None:
        column = self.columns[name]
        held = column[slots]
        held[held == None] = 0  # noqa: E711  # an element-wise comparison
        column[slots] = held + more

    def _lower(self, unit: int) -> None:
        """The unit is at most this one from now on."""
        if unit >= self._unit:
            return
        for name, by in (("total", self._unit - unit), ("squares", 2 * (self._unit - unit))):
            column = self.columns.get(name)
            if column is not None:
                some = np.flatnonzero(column != None)  # noqa: E711
                column[some] = column[some] << by
        self._unit = unit

    def results(self, slots: Integers, starts: Integers) -> Results:
        totals = {}
        for name in self.empty:
            column = self.columns[name][slots]
            if column.dtype == np.object_:
                column[column == None] = 0  # noqa: E711
            totals[name] = np.add.reduceat(column, starts).tolist()
        squares = totals.get("squares", totals["n"])
        rows = zip(totals["n"], totals["floats"], totals["total"], squares, strict=True)
        made = [self._finish(*row) if row[0] else None for row in rows]
        beyond = sum(value is _BEYOND for value in made)
        return as_values([None if value is _BEYOND else value for value in made]), beyond

    def _sum(self, _n: int, floats: int, total: int, _squares: int) -> Any:
        if floats:
            return _or_beyond(ratio(total, self._unit))
        whole = total >> -self._unit
        return whole if INT_MIN <= whole <= INT_MAX else _BEYOND

    def _avg(self, n: int, _floats: int, total: int, _squares: int) -> Any:
        return _or_beyond(ratio(total, self._unit, n))

    def _stddev(self, n: int, _floats: int, total: int, squares: int) -> Any:
        return None if n < 2 else _or_beyond(deviation(n, total, squares, self._unit))

    def save(self, slots: Integers) -> dict[str, Array]:
        saved = super().save(slots)
        for name in ("total", "squares"):
            if name in saved:
                saved[name] = objects(to_bytes(value or 0) for value in saved[name])
        return {**saved, "unit": np.full(len(slots), self._unit, np.int64)}

    def load(self, slots: Integers, saved: Mapping[str, Array]) -> None:
        units = saved["unit"]
        self._lower(int(units.min(initial=0)))
        self.columns["n"][slots], self.columns["floats"][slots] = saved["n"], saved["floats"]
        for name, times in (("total", 1), ("squares", 2)):
            if name in self.columns:
                shifts = (times * (units - self._unit)).tolist()
                raw = zip(saved[name], shifts, strict=True)
                self.columns[name][slots] = objects(from_bytes(value) << by for value, by in raw)


class _Beyond:
    pass


_BEYOND = _Beyond()


def _or_beyond(value: float | None) -> Any:
    return _BEYOND if value is None else value


def _float_counts(part: Part) -> Integers:
    if part.values.dtype == np.int64:
        return np.zeros(len(part.slots), np.int64)
    if part.values.dtype == np.float64:
        return part.counts
    floats = np.fromiter((isinstance(value, float) for value in part.values), np.int64, len(part.values))
    return np.add.reduceat(floats, part.starts)
