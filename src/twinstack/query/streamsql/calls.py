"""Functions on vectors: by a kernel where there is one, else by the row's own function on each row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from twinstack.query.streamsql.batch import Batch
from twinstack.query.streamsql.kernels import Result
from twinstack.query.streamsql.kinds import FLOAT, TIME, TIMES, Kinds
from twinstack.query.streamsql.row import guarded
from twinstack.query.streamsql.vectors import Array, Column, Mask, Merge, Part, Vector, both, from_items, read, to_items


def by_kernel(kernel: Callable[..., Result], batch: Batch, vectors: list[Vector], rows: Mask | None) -> Vector:
    """The kernel on each combination of kinds that occurs in the arguments."""
    pieces: list[tuple[str, Part]] = []
    for parts in _combinations(vectors):
        valid = _all_valid(parts)
        kind, values, bad = kernel(*(part.values for part in parts))
        if bad is not None and bad.any():
            batch.count(bad if valid is None else bad & valid, rows)
            valid = both(valid, np.broadcast_to(~bad, batch.n))
        pieces.append((kind, Part(values, valid)))
    return _merged(pieces, batch.n)


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


def _all_valid(parts: Sequence[Part]) -> Mask | None:
    valid: Mask | None = None
    for part in parts:
        valid = both(valid, part.valid)
    return valid


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
