"""Batches of values to columns: every value decoded by itself, the fast way only for values that are proven plain.

Two JSON texts in one value, half a text, a key that stands twice or NaN in a field that nobody reads: each would let
two readers take two different results from one record. So a value takes the fast way only if all of this holds:

1. it decodes by itself into a Struct whose keys are all required, of fixed types, without unknown ones (shapes.py);
2. it is ASCII without a backslash;
3. it holds exactly the quotation marks of its keys and strings, no more.

2 and 3 are counted over the joined buffer after 1: every value has at least its quotation marks, so the sum is exact
only if each is. A batch that fails is checked value by value, and a value that fails is parsed in full by
`core.observations.decode`, which decides: its object, or poison with a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any, NamedTuple

import msgspec
import numpy as np

from twinstack.core import limits, observations
from twinstack.core.errors import InvalidRecord
from twinstack.streams.shapes import Path, Shape, Signature, signature_of

_QUOTE = 0x22
_PIECE = 256
"""Values joined at a time: the buffers stay in the processor's cache and off the page-fault path."""
_FAILED = object()
# TypeError: a tombstone (None). UnicodeDecodeError and RecursionError come through msgspec as themselves.
_DOES_NOT_FIT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError)

Values = Sequence[bytes | None]


class Poison(NamedTuple):
    """A value that is not one well-formed observation: its place in the batch, and why."""

    place: int
    error: InvalidRecord


class Group(NamedTuple):
    """Rows of one shape, or parsed in full (shape None: the rows are dicts). `indices` None = the whole batch."""

    shape: Shape | None
    indices: list[int] | None
    rows: list[Any]

    def column(self, path: Path) -> list[Any]:
        if self.shape is not None:
            return self.shape.column(path, self.rows)
        return [dig(row, path) for row in self.rows]


class Decoded:
    """The values of one batch. Columns have one item a value, None where the field is missing, null or poison."""

    __slots__ = ("groups", "n", "poison")

    def __init__(self, n: int, groups: list[Group], poison: list[Poison]) -> None:
        self.n = n
        self.groups = groups
        self.poison = poison

    def column(self, path: Path) -> list[Any]:
        """The field at `path` of every value, as Python values."""
        if len(self.groups) == 1 and self.groups[0].indices is None:
            return self.groups[0].column(path)
        column: list[Any] = [None] * self.n
        for group in self.groups:
            for index, item in zip(group.indices or (), group.column(path), strict=True):
                column[index] = item
        return column

    def numeric(self, path: Path) -> bool:
        """Whether every value is known to hold a number at `path`: the column needs no look at its items."""
        return self._all_of("number", path)

    def strings(self, path: Path) -> bool:
        """Whether every value is known to hold a text at `path`."""
        return self._all_of("string", path)

    def _all_of(self, kind: str, path: Path) -> bool:
        return not self.poison and all(g.shape is not None and g.shape.kind(path) == kind for g in self.groups)


def dig(record: Any, path: Path) -> Any:
    """The field at `path` of a decoded record, None where it is missing."""
    for key in path:
        if not isinstance(record, dict):
            return None
        record = record.get(key)
    return record


class Decoder:
    """Decodes batches and learns the shapes of its stream (one a set of attributes), a bounded number of them.

    Not thread-safe: one per task.
    """

    def __init__(self) -> None:
        self._library = _Library()
        self._usual: Shape | None = None

    def decode(self, values: Values) -> Decoded:
        """One pass over `values`; a tombstone (None) is poison like any other value that is no observation."""
        run = _Run(values, self._library)
        usual = self._usual
        if usual is None:
            run.sort_out(range(len(values)))
        else:
            rows, failed = _decode_all(usual, values)
            if not failed and _all_fit_exactly(values, usual):
                return Decoded(len(values), [Group(usual, None, rows)], [])
            run.sort_out(run.keep_plain(usual, rows))
        # A stream without a usual shape goes straight to the sorting: every value that does not fit costs 1 us.
        self._usual = run.most_taken(len(values) * 7 // 8)
        return run.result()


class _Library:
    """The shapes known so far, by signature and by their number of quotation marks."""

    SHAPES_MAX = 64
    SAMPLES = 3
    """A shape is made after this many equal signatures: making a Struct costs as much as 100 full parses."""
    SIGNATURES_MAX = 1_000

    def __init__(self) -> None:
        self._shapes: dict[Signature, Shape] = {}
        self._seen: dict[Signature, int] = {}

    def with_quotes(self, quotes: int) -> list[Shape]:
        return [shape for shape in self._shapes.values() if shape.quotes == quotes]

    def learn(self, record: dict[str, Any]) -> Shape | None:
        """The new shape when this record's signature was seen often enough, else None."""
        signature = signature_of(record)
        if signature is None or signature in self._shapes:
            return None
        seen = self._seen.pop(signature, 0) + 1
        if seen < self.SAMPLES:
            if len(self._seen) >= self.SIGNATURES_MAX:
                self._seen.clear()
            self._seen[signature] = seen
            return None
        if len(self._shapes) >= self.SHAPES_MAX:
            del self._shapes[next(iter(self._shapes))]
        shape = self._shapes[signature] = Shape(signature)
        return shape


class _Run:
    """One batch whose values have several shapes, or are not all plain, or are poison."""

    def __init__(self, values: Values, library: _Library) -> None:
        self._values = values
        self._library = library
        self._taken: dict[Shape, Group] = {}
        self._full = Group(None, [], [])
        self._poison: list[Poison] = []

    def result(self) -> Decoded:
        groups = list(self._taken.values())
        if self._full.rows:
            groups.append(self._full)
        return Decoded(len(self._values), groups, sorted(self._poison, key=lambda p: p.place))

    def most_taken(self, rows_min: int) -> Shape | None:
        shape = max(self._taken, key=lambda s: len(self._taken[s].rows), default=None)
        return shape if shape is not None and len(self._taken[shape].rows) >= rows_min else None

    def keep_plain(self, shape: Shape, rows: list[Any]) -> list[int]:
        """Takes the rows whose value is plain; the indices of all others come back."""
        plain = Group(shape, [], [])
        others: list[int] = []
        for at in range(0, len(rows), _PIECE):
            indices = [i for i, row in enumerate(rows[at : at + _PIECE], at) if row is not _FAILED]
            others.extend(i for i, row in enumerate(rows[at : at + _PIECE], at) if row is _FAILED)
            values = [self._values[i] for i in indices]
            if not _fits_exactly(values, shape):
                fits = [_fits_alone(value, shape) for value in values]  # type: ignore[arg-type]
                others.extend(i for i, fit in zip(indices, fits, strict=True) if not fit)
                indices = [i for i, fit in zip(indices, fits, strict=True) if fit]
            _extend(plain, indices, [rows[i] for i in indices])
        if plain.rows:
            self._taken[shape] = plain
        return others

    def sort_out(self, indices: Sequence[int]) -> None:
        """Takes these values with whatever shape fits, else in full: only shapes with as many quotation marks can."""
        by_quotes: dict[int, list[int]] = {}
        for at in range(0, len(indices), _PIECE):
            piece = indices[at : at + _PIECE]
            plain = _plain([self._values[i] for i in piece])
            for index in piece:
                value = self._values[index]
                if plain or _plain([value]):
                    by_quotes.setdefault(value.count(b'"'), []).append(index)  # type: ignore[union-attr]
                else:
                    self._parse(index)
        for quotes, same in by_quotes.items():
            rest = same
            for shape in self._library.with_quotes(quotes):
                rest = self._take(shape, rest)
            self._sample(quotes, rest)

    def _sample(self, quotes: int, indices: list[int]) -> None:
        """Parses in full until a new shape is learned, which then takes what fits of the rest."""
        position = 0
        while position < len(indices):
            record = self._parse(indices[position])
            position += 1
            shape = self._library.learn(record) if record is not None else None
            if shape is not None and shape.quotes == quotes:
                indices, position = self._take(shape, indices[position:]), 0

    def _take(self, shape: Shape, indices: list[int]) -> list[int]:
        """Takes the values that fit; the indices of the others come back. The caller has proven plainness."""
        if not indices:
            return indices
        rows, failed = _decode_all(shape, [self._values[i] for i in indices])
        group = self._taken.setdefault(shape, Group(shape, [], []))
        if failed:
            fits = [row is not _FAILED for row in rows]
            _extend(group, list(compress(indices, fits)), list(compress(rows, fits)))
        else:
            _extend(group, indices, rows)
        if not group.rows:
            del self._taken[shape]
        return [indices[i] for i in failed]

    def _parse(self, index: int) -> dict[str, Any] | None:
        value = self._values[index]
        try:
            record = observations.decode(b"" if value is None else value)
        except InvalidRecord as error:
            self._poison.append(Poison(index, error))
            return None
        _extend(self._full, [index], [record])
        return record


def _extend(group: Group, indices: list[int], rows: list[Any]) -> None:
    assert group.indices is not None
    group.indices.extend(indices)
    group.rows.extend(rows)


def _decode_all(shape: Shape, values: Values) -> tuple[list[Any], list[int]]:
    """A row for each value, _FAILED where it does not fit, and the places of those."""
    rows: list[Any] = []
    failed: list[int] = []
    rest = map(shape.decode, values)  # type: ignore[arg-type]
    while True:
        try:
            rows.extend(rest)  # keeps what came before the value that raises, and goes on behind it
        except _DOES_NOT_FIT:
            failed.append(len(rows))
            rows.append(_FAILED)
        else:
            return rows, failed


def _plain(values: Values) -> bool:
    """Whether all these values are ASCII without a backslash (and none is a tombstone or beyond the size limit)."""
    if None in values:
        return False
    joined = b"".join(values)  # type: ignore[arg-type]
    return joined.isascii() and b"\\" not in joined and _sizes_fit(len(joined), values)


def _fits_exactly(values: Values, shape: Shape) -> bool:
    """Whether all these values, which `shape` decoded, are plain and hold its quotation marks and no more."""
    joined = b"".join(values)  # type: ignore[arg-type]
    if not joined.isascii() or b"\\" in joined or not _sizes_fit(len(joined), values):
        return False
    # numpy counts a byte that occurs often four times as fast as bytes.count
    quotes = int(np.count_nonzero(np.frombuffer(joined, np.uint8) == _QUOTE))
    return quotes == len(values) * shape.quotes


def _fits_alone(value: bytes, shape: Shape) -> bool:
    return (
        value.isascii()
        and b"\\" not in value
        and value.count(b'"') == shape.quotes
        and len(value) <= limits.DERIVED_RECORD_BYTES_MAX
    )


def _sizes_fit(total: int, values: Values) -> bool:
    bytes_max = limits.DERIVED_RECORD_BYTES_MAX
    return total <= bytes_max or all(value is not None and len(value) <= bytes_max for value in values)


def _all_fit_exactly(values: Values, shape: Shape) -> bool:
    return all(_fits_exactly(values[at : at + _PIECE], shape) for at in range(0, len(values), _PIECE))
