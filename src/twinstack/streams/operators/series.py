"""The rows of one side of a join, sorted, with what was found out about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twinstack.streams.operators.seam import BEGINNING_US, END_US, Array, Block, Integers, Mask
from twinstack.streams.operators.search import first_after, first_not_before, stretches
from twinstack.streams.operators.table import Table

UNSAVED = -1
INDEX_BYTES = 40
"""Of one row: key, time, row number, flags here; source, offset and chunk are columns of the table."""
LOOKUP_COST = 64
"""A search costs about as much as counting so many rows."""
_SOURCE, _OFFSET, _CHUNK = "\0source", "\0offset", "\0chunk"


class Series:
    """Rows sorted by (key, time, source, offset): `key` (a code), `time`, `row` (its number in `table`), `new` (came
    with this call) and `done` (its next of the other side is settled) are aligned."""

    def __init__(self) -> None:
        self.table = Table()
        self.table.append(0, dict.fromkeys((_SOURCE, _OFFSET, _CHUNK), np.empty(0, np.int64)))
        self.key = np.empty(0, np.int64)
        self.time = np.empty(0, np.int64)
        self.row = np.empty(0, np.int64)
        self.new = np.empty(0, np.bool_)
        self.done = np.empty(0, np.bool_)
        self._starts: Integers | None = None

    def __len__(self) -> int:
        return len(self.time)

    @property
    def nbytes(self) -> int:
        return len(self) * (INDEX_BYTES + self.table.row_bytes)

    def insert(
        self,
        key: Integers,
        time: Integers,
        source: Integers,
        offset: Integers,
        values: Mapping[str, Array],
        chunk: Integers | int = UNSAVED,
    ) -> None:
        """Rows in any order. They are `new`."""
        n = len(time)
        own = {_SOURCE: source, _OFFSET: offset, _CHUNK: np.broadcast_to(np.asarray(chunk, np.int64), n)}
        row = self.table.append(n, {**values, **own})
        order = np.lexsort((offset, source, time, key))
        key, time, row = key[order], time[order], row[order]
        place = self._places(key, time, source[order], offset[order]) + np.arange(n)
        total = len(self) + n
        old = np.ones(total, np.bool_)
        old[place] = False
        self.key = _merged(self.key, key, old, place)
        self.time = _merged(self.time, time, old, place)
        self.row = _merged(self.row, row, old, place)
        done = np.zeros(total, np.bool_)
        done[old] = self.done
        was_new = np.ones(total, np.bool_)
        was_new[old] = self.new
        self.done, self.new = done, was_new
        self._starts = None

    def _stretches(self, key: Integers) -> tuple[Integers, Integers]:
        """Where the rows of each key begin and end."""
        if self._starts is None and len(key) * LOOKUP_COST < len(self):
            return stretches(self.key, key)
        if self._starts is None:
            self._starts = np.zeros((int(self.key[-1]) + 2 if len(self) else 1), np.int64)
            np.cumsum(np.bincount(self.key), out=self._starts[1:])
        low = self._starts.take(key, mode="clip")
        return low, self._starts.take(key + 1, mode="clip")

    def _places(self, key: Integers, time: Integers, source: Integers, offset: Integers) -> Integers:
        """Before which of the rows here each sorted row belongs."""
        low, high = self._stretches(key)
        first = first_not_before(self.time, time, low, high)
        ties = (first < high) & (self.time.take(first, mode="clip") == time) if len(self) else np.zeros(0, np.bool_)
        if ties.any():
            self._place_ties(first, np.flatnonzero(ties), time, source, offset, high)
        return first

    def _place_ties(
        self, first: Integers, ties: Integers, time: Integers, source: Integers, offset: Integers, high: Integers
    ) -> None:
        low, end = first[ties], first_after(self.time, time[ties], first[ties], high[ties])
        sources, offsets = self.table.column(_SOURCE), self.table.column(_OFFSET)
        wanted_source, wanted_offset = source[ties], offset[ties]
        while (open_ := low < end).any():
            middle = (low + end) >> 1
            row = self.row.take(middle, mode="clip")
            there = sources[row]
            before = (there < wanted_source) | ((there == wanted_source) & (offsets[row] < wanted_offset))
            low = np.where(open_ & before, middle + 1, low)
            end = np.where(open_ & ~before, middle, end)
        first[ties] = low

    def last_not_after(self, key: Integers, time: Integers) -> Integers:
        """The place of the last row of each key that is not later than the time, -1 if there is none."""
        low, high = self._stretches(key)
        after = first_after(self.time, time, low, high)
        return np.where(after > low, after - 1, -1)

    def first_later(self, key: Integers, time: Integers) -> Integers:
        """The place of the first row of each key that is later than the time, or the place behind the key's last."""
        low, high = self._stretches(key)
        return first_after(self.time, time, low, high)

    def first_not_before(self, key: Integers, time: Integers) -> Integers:
        """The place of the first row of each key that is not earlier than the time, -1 if there is none."""
        low, high = self._stretches(key)
        first = first_not_before(self.time, time, low, high)
        return np.where(first < high, first, -1)

    def time_before(self, place: Integers) -> Integers:
        """The time of the row before each place within its key, else BEGINNING_US."""
        before = place - 1
        same = (before >= 0) & (self.key.take(before, mode="clip") == self.key[place])
        return np.where(same, self.time.take(before, mode="clip"), BEGINNING_US)

    def time_after(self, place: Integers) -> Integers:
        """The time of the row behind each place within its key, else END_US."""
        after = place + 1
        same = (after < len(self)) & (self.key.take(after, mode="clip") == self.key[place])
        return np.where(same, self.time.take(after, mode="clip"), END_US)

    def followed(self, before: int) -> Mask:
        """Which rows have a row of their key behind them that is earlier than `before`."""
        made = np.zeros(len(self), np.bool_)
        made[:-1] = (self.key[1:] == self.key[:-1]) & (self.time[1:] < before)
        return made

    def recode(self, codes: Integers) -> None:
        """New codes of the keys, in the same order."""
        self.key = codes[self.key]
        self._starts = None

    def keep(self, alive: Mask) -> None:
        """Drops the other rows; the table follows when half of it is dead."""
        self.key, self.time, self.row = self.key[alive], self.time[alive], self.row[alive]
        self.new, self.done = self.new[alive], self.done[alive]
        self._starts = None
        if 2 * len(self) <= self.table.n:
            # In the order of arrival, in which rows are read together later too.
            order = np.argsort(self.row)
            self.table.keep(self.row[order])
            row = np.empty(len(self), np.int64)
            row[order] = np.arange(len(self))
            self.row = row

    def chunk(self) -> Integers:
        """The state chunk in which each row stands, UNSAVED if in none."""
        return self.table.column(_CHUNK)[self.row]

    def set_chunk(self, place: Integers, chunk: int) -> None:
        self.table.column(_CHUNK)[self.row[place]] = chunk

    def block(self, place: Integers, names: Sequence[bytes], keys: Sequence[bytes | None] | None = None) -> Block:
        """The rows at these places; `names` has the key of each code, unless the keys are known."""
        values: dict[str, Any] = self.table.take(self.row[place])
        source, offset, _ = values.pop(_SOURCE), values.pop(_OFFSET), values.pop(_CHUNK)
        if keys is None:
            keys = list(map(names.__getitem__, self.key[place].tolist()))
        return Block(keys, self.time[place], source, offset, values)


def _merged(old: Array, new: Array, from_old: Mask, place: Integers) -> Array:
    made: Array = np.empty(len(from_old), old.dtype)
    made[from_old] = old
    made[place] = new
    return made
