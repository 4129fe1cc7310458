"""What every aggregate is: columns over the slots of panes, fed with parts of batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from twinstack.streams.operators.seam import Array, Integers


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

    @property
    def nbytes(self) -> int: ...

    def clear(self, slots: Integers) -> None: ...

    def save(self, slots: Integers) -> dict[str, Array]: ...

    def load(self, slots: Integers, saved: Mapping[str, Array]) -> None: ...


class Columns:
    """Columns with an empty value each."""

    empty: Mapping[str, Any]

    def __init__(self) -> None:
        self.columns: dict[str, Array] = {
            name: np.empty(0, np.int64 if isinstance(value, int) else np.object_) for name, value in self.empty.items()
        }

    @property
    def nbytes(self) -> int:
        """Beyond a value in each column of each slot."""
        return 0

    def clear(self, slots: Integers) -> None:
        for name, value in self.empty.items():
            self.columns[name][slots] = value

    def save(self, slots: Integers) -> dict[str, Array]:
        return {name: column[slots] for name, column in self.columns.items()}

    def load(self, slots: Integers, saved: Mapping[str, Array]) -> None:
        for name, column in self.columns.items():
            column[slots] = saved[name]
