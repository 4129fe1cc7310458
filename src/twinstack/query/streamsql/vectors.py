"""Columns of a batch, and the vectors that expressions over them have.

A `Column` is what the engine hands in. A vector is what the evaluator works on: for each kind that occurs one `Part`,
an array over all rows with the mask of the rows that have this kind. The masks of a vector's parts are disjoint; a row
in none of them is NULL. So a `result` that is a number in one row and a text in the next needs no object per value, and
an ordinary column is a vector of one part without a mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from twinstack.query.streamsql.kinds import BOOL, FLOAT, INT, OBJECT, STRING, TIME, kind_of, normal

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

DTYPES: Mapping[str, Any] = {
    BOOL: np.bool_,
    INT: np.int64,
    FLOAT: np.float64,
    TIME: np.int64,
    STRING: np.object_,
    OBJECT: np.object_,
}
_KIND_BY_CODE = (None, BOOL, INT, FLOAT, STRING, OBJECT)


class _Codes(dict[type, int]):
    def __missing__(self, _kind: type) -> int:
        return 5


_code_of = _Codes({type(None): 0, bool: 1, int: 2, float: 3, str: 4}).__getitem__


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a batch.

    `values`: an array or list of n values; with `codes` (n integers) it is the dictionary that they index; as in any
    array -1 is its last entry.
    `valid`: False where the value is NULL, None if it never is; NULL may also be None among the values of a list, an
    object array or a dictionary. With `codes` there is no `valid`. `kind`: int, float, string, bool, time (int64
    microseconds since 1970 UTC), object, or any (JSON values of mixed kinds).

    Columns of one Datastream (`name`, `unit`) should share one array of codes: what reads only them is then computed
    once for each entry of the dictionary.
    """

    values: Array | Sequence[Any]
    valid: Mask | None = None
    kind: str = "any"
    codes: Array | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """A batch of `n` rows; a column that is missing is NULL in each row."""

    n: int
    columns: Mapping[str, Column]


class Part(NamedTuple):
    """Values of one kind: an array over the rows or, of a constant, a zero-dimensional one; `valid` None is 'all'."""

    values: Array
    valid: Mask | None


Vector = dict[str, Part]


def both(a: Mask | None, b: Mask | None) -> Mask | None:
    """The conjunction of two masks, None standing for 'all'."""
    if a is None:
        return b
    return a if b is None else a & b


def scalar(value: Any, kind: str | None) -> Vector:
    """The vector of a constant."""
    if kind is None:
        return {}
    values = np.empty((), DTYPES[kind])
    values[()] = value
    return {kind: Part(values, None)}


def read(column: Column) -> Vector:
    """The vector of a column; its codes, if it has them, are looked up."""
    if column.codes is not None:
        return expand(read(Column(column.values, None, column.kind)), column.codes)
    values = column.values
    if column.kind in (FLOAT, INT, TIME, BOOL) and not _holds_objects(values):
        return _typed(np.asarray(values), column.kind, column.valid)
    items = values.tolist() if isinstance(values, np.ndarray) else values
    if column.kind == TIME:
        known = np.fromiter((item is not None for item in items), np.bool_, len(items))
        times = np.array([0 if item is None else item for item in items], np.int64)
        return {TIME: Part(times, both(known, column.valid))}
    return restrict(from_items(items), column.valid)


def _holds_objects(values: Array | Sequence[Any]) -> bool:
    """True if the values are Python's own, among which None and integers beyond 64 bits are possible."""
    return not isinstance(values, np.ndarray) or values.dtype.kind not in "bif"


def _typed(values: Array, kind: str, valid: Mask | None) -> Vector:
    # The array's own type decides: a column said to be float may hold integers, and stays exact.
    if kind != TIME:
        kind = {"b": BOOL, "i": INT, "f": FLOAT}[values.dtype.kind]
    values = values.astype(DTYPES[kind], copy=False)
    if kind == FLOAT:
        finite = np.isfinite(values)
        if not finite.all():
            valid = both(valid, finite)
    return {kind: Part(values, valid)}


def from_items(items: Sequence[Any]) -> Vector:
    """The vector of Python values, each of its own kind."""
    types = list(map(type, items))
    distinct = set(types)
    if len(distinct) == 1:
        single = _of_one_type(items, next(iter(distinct)))
        if single is not None:
            return single
    codes = np.fromiter(map(_code_of, types), np.int8, len(types))
    vector: Vector = {}
    for code in range(1, 6):
        mask = codes == code
        if mask.any():
            kind = _KIND_BY_CODE[code]
            assert kind is not None
            chosen = list(compress(items, mask.tolist()))
            try:
                part = _part(chosen, kind, mask)
            except OverflowError:  # integers beyond 64 bits are floats, beyond a float NULL
                return from_items(list(map(normal, items)))
            vector[kind] = part
    return vector


def _part(chosen: list[Any], kind: str, mask: Mask) -> Part:
    """The values of one kind, at the rows of the mask. Errors: OverflowError for an integer beyond 64 bits."""
    if kind == OBJECT:  # nothing reads what an object holds
        return Part(np.full(len(mask), None, np.object_), None if mask.all() else mask)
    values = np.zeros(len(mask), DTYPES[kind])
    dense = np.empty(len(chosen), DTYPES[kind])
    dense[:] = chosen
    values[mask] = dense
    if kind == FLOAT:
        mask = mask & np.isfinite(values)
    return Part(values, None if mask.all() else mask)


def _of_one_type(items: Sequence[Any], kind: type) -> Vector | None:
    """The quick way for the usual batch; None if it is not usual."""
    if kind is float:
        return _typed(np.array(items, np.float64), FLOAT, None)
    if kind is str:
        values = np.empty(len(items), np.object_)
        values[:] = items
        return {STRING: Part(values, None)}
    if kind is bool:
        return {BOOL: Part(np.array(items, np.bool_), None)}
    if kind is int:
        try:
            return {INT: Part(np.array(items, np.int64), None)}
        except OverflowError:
            return None
    return None


def to_items(vector: Vector, n: int) -> Iterable[Any]:
    """The values as Python's own, None for NULL. TIME gives its microseconds."""
    items = np.full(n, None, np.object_)
    for values, valid in vector.values():
        if valid is None:
            items[:] = values if values.dtype == np.object_ else values.astype(np.object_)
        else:
            items[valid] = (values if values.ndim == 0 else values[valid]).astype(np.object_)
    return items.tolist()


def restrict(vector: Vector, mask: Mask | None) -> Vector:
    """The vector with NULL outside of the mask."""
    if mask is None:
        return vector
    return {kind: Part(values, both(valid, mask)) for kind, (values, valid) in vector.items()}


def expand(vector: Vector, codes: Array) -> Vector:
    """A vector over a dictionary, as one over the rows whose codes point into it."""
    return {
        kind: Part(values if values.ndim == 0 else values[codes], None if valid is None else valid[codes])
        for kind, (values, valid) in vector.items()
    }


def known(vector: Vector, n: int) -> Mask:
    """The rows that are not NULL."""
    result = np.zeros(n, np.bool_)
    for _, valid in vector.values():
        if valid is None:
            return np.ones(n, np.bool_)
        result |= valid
    return result


class Merge:
    """A vector put together from pieces, each for other rows."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._values: dict[str, Array] = {}
        self._valid: dict[str, Mask] = {}

    def add(self, vector: Vector, rows: Mask) -> None:
        """The rows of a vector over all rows."""
        for kind, (values, valid) in vector.items():
            chosen = rows if valid is None else rows & valid
            self._make(kind)
            self._values[kind][chosen] = values if values.ndim == 0 else values[chosen]
            self._valid[kind] |= chosen

    def scatter(self, kind: str, part: Part, rows: Array) -> None:
        """A part over some rows only, whose numbers are `rows`."""
        if part.valid is not None:
            rows, part = rows[part.valid], Part(part.values[part.valid], None)
        self._make(kind)
        self._values[kind][rows] = part.values
        self._valid[kind][rows] = True

    def _make(self, kind: str) -> None:
        if kind not in self._values:
            self._values[kind] = np.zeros(self._n, DTYPES[kind])
            self._valid[kind] = np.zeros(self._n, np.bool_)

    def vector(self) -> Vector:
        return {kind: Part(values, self._valid[kind]) for kind, values in self._values.items()}


def truth(vector: Vector) -> tuple[Array, Mask | None]:
    """Values and validity of a vector as a condition: what is no truth value is NULL; a NULL's value is False."""
    part = vector.get(BOOL)
    if part is None:
        return np.zeros((), np.bool_), np.zeros((), np.bool_)
    values, valid = part
    return (values, None) if valid is None else (values & valid, valid)


def constant_kind(value: Any, is_time: bool) -> str | None:
    return TIME if is_time and value is not None else kind_of(value)
