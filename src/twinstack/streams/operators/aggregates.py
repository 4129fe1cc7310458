"""The aggregates of GROUP BY, each for many panes at once: columns over numbered slots, one slot a pane.

Adding rows, putting panes together and saving them give the same in every order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from twinstack.query.streamsql.kinds import INT_MAX, INT_MIN
from twinstack.streams.operators import sketches
from twinstack.streams.operators.exact import (
    deviation,
    from_bytes,
    group_squares,
    group_sums,
    ratio,
    to_bytes,
)
from twinstack.streams.operators.seam import Aggregate, Array, Integers, as_values, objects


@dataclass(frozen=True, slots=True)
class Part:
    """Rows with a value, grouped by slot and within a slot in the order of (time, source, offset); group i begins at
    starts[i] and belongs to slots[i], each slot once."""

    slots: Integers
    starts: Integers
    values: Array
    times: Integers
    sources: Integers
    offsets: Integers

    @property
    def ends(self) -> Integers:
        return np.append(self.starts[1:], len(self.values))

    @property
    def counts(self) -> Integers:
        return self.ends - self.starts


Results = tuple[Array, int]
"""A value for each window, and how many are NULL because they lie beyond what a number can be."""


class Accumulator(Protocol):
    """`columns` are all of its state."""

    columns: dict[str, Array]

    def add(self, part: Part) -> None: ...

    def results(self, slots: Integers, starts: Integers) -> Results:
        """Of windows that each have the panes slots[starts[i]:starts[i + 1]], at least one."""
        ...

    def save(self, slots: Integers) -> dict[str, Array]: ...

    def load(self, slots: Integers, saved: Mapping[str, Array]) -> None: ...


class _Columns:
    """Columns with an empty value each."""

    empty: Mapping[str, Any]

    def __init__(self) -> None:
        self.columns: dict[str, Array] = {
            name: np.empty(0, np.int64 if isinstance(value, int) else np.object_) for name, value in self.empty.items()
        }

    def save(self, slots: Integers) -> dict[str, Array]:
        return {name: column[slots] for name, column in self.columns.items()}

    def load(self, slots: Integers, saved: Mapping[str, Array]) -> None:
        for name, column in self.columns.items():
            column[slots] = saved[name]


class Count(_Columns):
    empty: Mapping[str, Any] = {"n": 0}

    def add(self, part: Part) -> None:
        self.columns["n"][part.slots] += part.counts

    def results(self, slots: Integers, starts: Integers) -> Results:
        return np.add.reduceat(self.columns["n"][slots], starts), 0


class Sums(_Columns):
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


class Extreme(_Columns):
    """MIN, MAX. Of an INT and an equal FLOAT the INT is given, 0.0 for -0.0: no order shows."""

    empty: Mapping[str, Any] = {"value": None}

    def __init__(self, function: str) -> None:
        super().__init__()
        self._reduce = np.minimum if function == "min" else np.maximum
        self._least = min if function == "min" else max

    def add(self, part: Part) -> None:
        if part.values.dtype == np.object_:
            ends = part.ends.tolist()
            best = [self._of(part.values[a:b]) for a, b in zip(part.starts.tolist(), ends, strict=True)]
        else:
            best = (self._reduce.reduceat(part.values, part.starts) + part.values.dtype.type(0)).tolist()
        column = self.columns["value"]
        held = column[part.slots].tolist()
        pairs = zip(held, best, strict=True)
        column[part.slots] = objects(new if old is None else self._better(old, new) for old, new in pairs)

    def _of(self, values: Any) -> Any:
        best = None
        for value in values:
            if value is not None:
                plain = value + 0.0 if isinstance(value, float) else value
                best = plain if best is None else self._better(best, plain)
        return best

    def _better(self, a: Any, b: Any) -> Any:
        if a == b:
            return a if isinstance(a, int) else b
        return self._least(a, b)

    def results(self, slots: Integers, starts: Integers) -> Results:
        held = self.columns["value"][slots]
        if len(starts) == len(slots):
            return as_values(held.tolist()), 0
        return as_values([self._of(panes) for panes in np.split(held, starts[1:])]), 0


class Edge(_Columns):
    """FIRST, LAST: the value of the first or last row that has one, by (time, source, offset)."""

    empty: Mapping[str, Any] = {"time": 0, "source": 0, "offset": 0, "value": None}

    def __init__(self, function: str) -> None:
        super().__init__()
        self._last = function == "last"

    def add(self, part: Part) -> None:
        place = part.ends - 1 if self._last else part.starts
        came = (part.times[place], part.sources[place], part.offsets[place])
        columns, slots = self.columns, part.slots
        held = tuple(columns[name][slots] for name in ("time", "source", "offset"))
        less = _less(held, came) if self._last else _less(came, held)
        better = less | (columns["value"][slots] == None)  # noqa: E711
        slots, place = slots[better], place[better]
        for name, column in zip(("time", "source", "offset"), came, strict=True):
            columns[name][slots] = column[better]
        columns["value"][slots] = objects(part.values[place].tolist())

    def results(self, slots: Integers, starts: Integers) -> Results:
        columns = {name: column[slots] for name, column in self.columns.items()}
        window = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(slots)))
        some = np.flatnonzero(columns["value"] != None)  # noqa: E711
        order = np.lexsort((columns["offset"][some], columns["source"][some], columns["time"][some], window[some]))
        some = some[order] if self._last else some[order[::-1]]
        made = np.full(len(starts), None, np.object_)
        made[window[some]] = columns["value"][some]  # of several the one that is written last stays
        return as_values(made.tolist()), 0


def _less(a: tuple[Array, ...], b: tuple[Array, ...]) -> Array:
    """Which rows of three columns come before those of three others."""
    (x1, x2, x3), (y1, y2, y3) = a, b
    result: Array = (x1 < y1) | ((x1 == y1) & ((x2 < y2) | ((x2 == y2) & (x3 < y3))))
    return result


class Pooled(_Columns):
    """MEDIAN, PERCENTILE, COUNT_DISTINCT: a state of bytes in each slot."""

    empty: Mapping[str, Any] = {"state": None}

    def __init__(
        self,
        make: Callable[[Any], bytes],
        join: Callable[[list[bytes]], bytes],
        finish: Callable[[bytes], Any],
        nothing: Any,
    ) -> None:
        super().__init__()
        self._make, self._join, self._finish, self._nothing = make, join, finish, nothing

    def add(self, part: Part) -> None:
        column, values = self.columns["state"], part.values
        ranges = zip(part.slots.tolist(), part.starts.tolist(), part.ends.tolist(), strict=True)
        for slot, start, end in ranges:
            state, held = self._make(values[start:end]), column[slot]
            column[slot] = state if held is None else self._join([held, state])

    def results(self, slots: Integers, starts: Integers) -> Results:
        made = []
        for panes in np.split(self.columns["state"][slots], starts[1:]):
            states = [state for state in panes if state is not None]
            if not states:
                made.append(self._nothing)
            else:
                made.append(self._finish(states[0] if len(states) == 1 else self._join(states)))
        return as_values(made), 0


def accumulator(aggregate: Aggregate) -> Accumulator:
    """Errors: ValueError for a function that is not an aggregate."""
    function = aggregate.function
    if function == "count":
        return Count()
    if function in ("sum", "avg", "stddev"):
        return Sums(function)
    if function in ("min", "max"):
        return Extreme(function)
    if function in ("first", "last"):
        return Edge(function)
    if function in ("median", "percentile"):
        fraction = 0.5 if function == "median" else aggregate.fraction
        return Pooled(_floats, sketches.join_values, lambda state: sketches.quantile(state, fraction), None)
    if function == "count_distinct":
        return Pooled(_digests, sketches.join_distinct, sketches.count_distinct, 0)
    raise ValueError(f"no aggregate {function!r}")


def _floats(values: Array) -> bytes:
    return sketches.value_state(values.astype(np.float64))


def _digests(values: Array) -> bytes:
    return sketches.distinct_state(map(sketches.digest, values.tolist()))


_KINDS: Mapping[str, tuple[type, ...]] = {
    "number": (int, float),
    "string": (str,),
    "time": (int,),
    "bool": (bool,),
}


def wanted(values: Array, kind: str) -> tuple[Array, Array]:
    """Which values of a column count for an aggregate of this kind, and these values."""
    if values.dtype == np.float64:
        some = np.isfinite(values) if kind in ("number", "any") else np.zeros(len(values), np.bool_)
        return some, values[some]
    if values.dtype == np.int64:
        some = np.full(len(values), kind in ("number", "time", "any"))
        return some, values[some]
    items = values.tolist()
    if kind == "any":
        some = np.fromiter((item is not None for item in items), np.bool_, len(items))
    else:
        types = _KINDS[kind]
        some = np.fromiter((type(item) in types and item == item for item in items), np.bool_, len(items))
    chosen = values[some]
    return some, as_values(chosen.tolist()) if kind != "any" else chosen
