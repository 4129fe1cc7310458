"""PREV: the record before this one of the same key, in log order and before WHERE. DELTA and RATE are the evaluator's
`sub` and `div` over what it gives.

State: the last record of each key, as rows of chunks; the newest chunk that has a key counts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from twinstack.core import limits
from twinstack.streams.operators.chunks import Chunks
from twinstack.streams.operators.names import Names
from twinstack.streams.operators.seam import LEFT, Array, Block, Integers, Mask, Previous, Rows
from twinstack.streams.operators.series import UNSAVED
from twinstack.streams.operators.table import Table, as_objects

NONE = -1


class PreviousRecord:
    """One task's PREV, fed with the rows of one side in the order of each key's partition. A row without a key has no
    previous. See `seam.Predecessors`."""

    def __init__(self, name: str = "previous") -> None:
        self._names = Names()
        self._table = Table()
        self._row = np.empty(0, np.int64)
        """By code the number of the key's last record in the table, NONE if there is none."""
        self._chunk = np.empty(0, np.int64)
        self._chunks = Chunks(name)

    @property
    def rows(self) -> int:
        return int(np.count_nonzero(self._row != NONE))

    def process(self, rows: Rows) -> Previous:
        n, codes = len(rows), self._names.codes(rows.keys)
        self._grow()
        order = np.argsort(codes, kind="stable")
        code = codes[order]
        head = np.diff(code, prepend=-2) != 0
        known = self._append(rows)
        before = np.empty(n, np.int64)
        if n:
            first = self._row.take(code, mode="clip") if len(self._row) else np.full(n, NONE)
            before[order] = np.where(head, first, _shifted(known[order]))
            before[codes < 0] = NONE
            last = order[np.append(head[1:], True) & (code >= 0)]
            self._row[codes[last]], self._chunk[codes[last]] = known[last], UNSAVED
        some = before != NONE
        values = self._table.take(np.where(some, before, 0)) if n else {}
        elapsed = rows.times_us - values.pop(_TIME, rows.times_us)
        some &= elapsed > 0
        self._shrink()
        values = {name: _with_nulls(column, some) for name, column in values.items() if not name.startswith("\0")}
        return Previous(some, np.where(some, elapsed, 1), values)

    def _append(self, rows: Rows) -> Integers:
        own = {_TIME: rows.times_us, _SOURCE: rows.sources, _OFFSET: rows.offsets}
        return self._table.append(len(rows), {**rows.values, **own})

    def _grow(self) -> None:
        more = len(self._names.texts) - len(self._row)
        if more > 0:
            more += len(self._row)
            self._row = np.concatenate([self._row, np.full(more, NONE)])
            self._chunk = np.concatenate([self._chunk, np.full(more, UNSAVED)])

    def _shrink(self) -> None:
        """The table keeps what is the last of its key, once half of it is not."""
        used = np.flatnonzero(self._row != NONE)
        if self._table.n > 2 * len(used) + ROWS_MIN:
            self._table.keep(self._row[used])
            self._row[used] = np.arange(len(used))

    def changes(self) -> dict[bytes, bytes | None]:
        used = np.flatnonzero(self._row != NONE)
        chunk = self._chunk[used]
        empty, sparse = self._chunks.worn([chunk])
        changes: dict[bytes, bytes | None] = dict(self._chunks.drop([*empty, *sparse]))
        codes = used[(chunk == UNSAVED) | np.isin(chunk, sparse)]
        values = self._table.take(self._row[codes])
        time, source, offset = (values.pop(name, np.empty(0, np.int64)) for name in (_TIME, _SOURCE, _OFFSET))
        keys = [self._names.texts[code] for code in codes.tolist()]
        for seq, record, parts in self._chunks.add({LEFT: Block(keys, time, source, offset, values)}):
            changes[self._chunks.key(seq)] = record
            self._chunk[codes[parts[LEFT].start : parts[LEFT].stop]] = seq
        return changes

    def restore(self, records: Mapping[bytes, bytes]) -> None:
        for seq, _, block in self._chunks.restore(records):
            codes = self._names.codes(block.keys)
            self._grow()
            self._row[codes] = self._append(
                Rows(LEFT, block.keys, block.times_us, block.sources, block.offsets, block.values)
            )
            self._chunk[codes] = seq
        self._shrink()


ROWS_MIN = 2 * limits.TASK_INPUT_RECORDS_MAX
_TIME, _SOURCE, _OFFSET = "\0time", "\0source", "\0offset"


def _shifted(column: Integers) -> Integers:
    return np.concatenate([column[:1], column[:-1]])


def _with_nulls(column: Array, some: Mask) -> Array:
    if some.all():
        return column
    if column.dtype == np.float64:
        return np.where(some, column, np.nan)
    made = as_objects(column).copy()
    made[~some] = None
    return made
