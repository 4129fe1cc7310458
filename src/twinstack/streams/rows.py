"""Some rows of a batch's columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from twinstack.query.streamsql import Column, Columns


def take(columns: Columns, indices: Sequence[int]) -> Columns:
    """The rows at `indices`, in their order."""
    if len(indices) == columns.n:
        return columns
    places = np.asarray(indices, np.intp)
    return Columns(len(indices), {name: _taken(column, places, indices) for name, column in columns.columns.items()})


def _taken(column: Column, places: np.ndarray[tuple[int], np.dtype[np.intp]], indices: Sequence[int]) -> Column:
    if column.codes is not None:
        return replace(column, codes=column.codes[places])
    valid = None if column.valid is None else column.valid[places]
    if isinstance(column.values, np.ndarray):
        return replace(column, values=column.values[places], valid=valid)
    values = column.values
    return replace(column, values=[values[i] for i in indices], valid=valid)
