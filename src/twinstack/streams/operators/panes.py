"""The open panes of GROUP BY: numbered slots over the columns of all aggregates.

A pane is the stretch of time that all windows share or none: as long as the greatest common divisor of size and slide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from twinstack.streams.operators.aggregates import accumulator, wanted
from twinstack.streams.operators.parts import Accumulator, Part
from twinstack.streams.operators.seam import Aggregate, Array, Integers, Mask
from twinstack.streams.operators.series import UNSAVED
from twinstack.streams.operators.table import as_objects

SLOT_BYTES, VALUE_BYTES = 200, 80
ROOM_MIN = 256


class Panes:
    """`code`, `start`, `chunk`, `used` are aligned with the slots; `at` finds the slot of (code, start)."""

    def __init__(self, aggregates: Sequence[Aggregate]) -> None:
        self._aggregates = [(aggregate, accumulator(aggregate)) for aggregate in aggregates]
        self.code = np.empty(0, np.int64)
        self.start = np.empty(0, np.int64)
        self.chunk = np.empty(0, np.int64)
        self.used = np.empty(0, np.bool_)
        self._free: list[int] = []
        self._at = _Slots(self)

    def __len__(self) -> int:
        return len(self._at)

    @property
    def nbytes(self) -> int:
        columns = sum(len(made.columns) for _, made in self._aggregates)
        return len(self) * (SLOT_BYTES + VALUE_BYTES * columns) + sum(made.nbytes for _, made in self._aggregates)

    @property
    def accumulators(self) -> Sequence[tuple[Aggregate, Accumulator]]:
        return self._aggregates

    def at(self, codes: Integers, starts: Integers) -> Integers:
        """The slots of these panes, new ones where there are none."""
        return np.fromiter(map(self._at.__getitem__, zip(codes.tolist(), starts.tolist(), strict=True)), np.int64)

    def take_slot(self, code: int, start: int) -> int:
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self.code[slot], self.start[slot], self.chunk[slot], self.used[slot] = code, start, UNSAVED, True
        return slot

    def _grow(self) -> None:
        old, room = len(self.code), max(2 * len(self.code), ROOM_MIN)
        self.code, self.start, self.chunk, self.used = (
            _longer(column, room) for column in (self.code, self.start, self.chunk, self.used)
        )
        for _, made in self._aggregates:
            made.columns = {name: _longer(column, room) for name, column in made.columns.items()}
        self._free.extend(range(room - 1, old - 1, -1))

    def drop(self, slots: Integers) -> None:
        for pane in zip(self.code[slots].tolist(), self.start[slots].tolist(), strict=True):
            del self._at[pane]
        self.used[slots] = False
        for _, made in self._aggregates:
            made.clear(slots)
        self._free.extend(slots.tolist())

    def recode(self, codes: Integers) -> None:
        """New codes of the keys, in the same order."""
        slots = np.flatnonzero(self.used)
        self.code[slots] = codes[self.code[slots]]
        self._at.clear()
        panes = zip(self.code[slots].tolist(), self.start[slots].tolist(), strict=True)
        self._at.update(zip(panes, slots.tolist(), strict=True))

    def add(
        self,
        panes: tuple[Integers, Integers],
        places: tuple[Integers, Integers, Integers],
        values: Mapping[str, Array],
    ) -> None:
        """Adds rows to their panes (code, start). `places`: time, source, offset of each."""
        order = np.lexsort((*places[::-1], *panes[::-1]))
        codes, starts = (column[order] for column in panes)
        times, sources, offsets = (column[order] for column in places)
        edge = np.empty(len(order), np.bool_)
        edge[0] = True
        edge[1:] = (codes[1:] != codes[:-1]) | (starts[1:] != starts[:-1])
        first = np.flatnonzero(edge)
        slots = self.at(codes[first], starts[first])
        group = np.cumsum(edge) - 1
        for aggregate, made in self._aggregates:
            if aggregate.column is None:
                made.add(Part(slots, first, times, times, sources, offsets))
                continue
            column = values.get(aggregate.column)
            if column is None:
                continue
            some, chosen = wanted(column[order], aggregate.kind)
            if some.all():
                made.add(Part(slots, first, chosen, times, sources, offsets))
            elif len(chosen):
                made.add(_some(slots, group[some], chosen, times[some], sources[some], offsets[some]))
        self.chunk[slots] = UNSAVED

    def save(self, slots: Integers) -> dict[str, Array]:
        return {
            f"{number}.{name}": column
            for number, (_, made) in enumerate(self._aggregates)
            for name, column in made.save(slots).items()
        }

    def load(self, slots: Integers, saved: Mapping[str, Array]) -> None:
        """Errors: KeyError for a column that is missing."""
        for number, (_, made) in enumerate(self._aggregates):
            prefix = f"{number}."
            mine = {name.removeprefix(prefix): c for name, c in saved.items() if name.startswith(prefix)}
            objects = {name for name, column in made.columns.items() if column.dtype == np.object_}
            made.load(slots, {name: as_objects(c) if name in objects else c for name, c in mine.items()})


class _Slots(dict[tuple[int, int], int]):
    def __init__(self, panes: Panes) -> None:
        super().__init__()
        self._panes = panes

    def __missing__(self, pane: tuple[int, int]) -> int:
        slot = self[pane] = self._panes.take_slot(*pane)
        return slot


def _some(
    slots: Integers, group: Integers, values: Array, times: Integers, sources: Integers, offsets: Integers
) -> Part:
    """The part of groups that are not empty."""
    edge: Mask = np.diff(group, prepend=-1) != 0
    starts = np.flatnonzero(edge)
    return Part(slots[group[starts]], starts, values, times, sources, offsets)


def _longer(column: Array, room: int) -> Array:
    made: Array = np.zeros(room, column.dtype) if column.dtype != np.object_ else np.full(room, None, np.object_)
    made[: len(column)] = column
    return made
