"""The aggregates of GROUP BY, each for many panes at once: columns over numbered slots, one slot a pane.

Adding rows, putting panes together and saving them give the same in every order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import compress
from typing import Any

import numpy as np

from twinstack.query.streamsql.kinds import normal
from twinstack.streams.operators import sketches
from twinstack.streams.operators.parts import Accumulator, Columns, Part, Results
from twinstack.streams.operators.seam import Aggregate, Array, Integers, as_values, objects
from twinstack.streams.operators.sums import Sums


class Count(Columns):
    empty: Mapping[str, Any] = {"n": 0}

    def add(self, part: Part) -> None:
        self.columns["n"][part.slots] += part.counts

    def results(self, slots: Integers, starts: Integers) -> Results:
        return np.add.reduceat(self.columns["n"][slots], starts), 0


class Extreme(Columns):
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


class Edge(Columns):
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


class Pooled(Columns):
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
        self._nbytes = 0

    @property
    def nbytes(self) -> int:
        return self._nbytes

    def clear(self, slots: Integers) -> None:
        self._nbytes -= _lengths(self.columns["state"][slots])
        super().clear(slots)

    def load(self, slots: Integers, saved: Mapping[str, Array]) -> None:
        self._nbytes += _lengths(saved["state"]) - _lengths(self.columns["state"][slots])
        super().load(slots, saved)

    def add(self, part: Part) -> None:
        column, values = self.columns["state"], part.values
        ranges = zip(part.slots.tolist(), part.starts.tolist(), part.ends.tolist(), strict=True)
        for slot, start, end in ranges:
            state, held = self._make(values[start:end]), column[slot]
            made = state if held is None else self._join([held, state])
            self._nbytes += len(made) - len(held or b"")
            column[slot] = made

    def results(self, slots: Integers, starts: Integers) -> Results:
        made = []
        for panes in np.split(self.columns["state"][slots], starts[1:]):
            states = [state for state in panes if state is not None]
            if not states:
                made.append(self._nothing)
            else:
                made.append(self._finish(states[0] if len(states) == 1 else self._join(states)))
        return as_values(made), 0


def _lengths(states: Array) -> int:
    return sum(len(state) for state in states if state is not None)


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
    items = list(map(normal, values.tolist()))
    if kind == "any":
        some = np.fromiter((item is not None for item in items), np.bool_, len(items))
    else:
        types = _KINDS[kind]
        some = np.fromiter((type(item) in types for item in items), np.bool_, len(items))
    chosen = list(compress(items, some.tolist()))
    return some, as_values(chosen) if kind != "any" else objects(chosen)
