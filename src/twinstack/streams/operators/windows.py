"""GROUP BY keys and TUMBLE or HOP: a pure function of the rows, closed by watermarks.

A window `[start, end)` of a key is given when its clock has reached the end, if it has at least one row: with
`clock='side'` the side's watermark, with `clock='key'` the key's own clock (clocks.py). A row counts in all of its
windows or, when it is late, in none. Windows that are due at once are given in the order of (end, key); where a call's
limit cuts them, the next goes on behind.

State: each pane that changed in a transaction is a row of a chunk, the whole of it; the newest chunk that has it
counts. Clocks of keys are rows of the same chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twinstack.core import limits
from twinstack.streams.operators.chunks import Chunks
from twinstack.streams.operators.clocks import Clocks
from twinstack.streams.operators.names import Names
from twinstack.streams.operators.packing import damaged, pack, unpack
from twinstack.streams.operators.panes import Panes
from twinstack.streams.operators.rows import joined, letters_on_arrival, selected
from twinstack.streams.operators.seam import (
    BEGINNING_US,
    END_US,
    LATE,
    LEFT,
    RIGHT,
    UNPAIRED,
    Array,
    Block,
    Integers,
    Letters,
    Mask,
    Rows,
    Step,
    Watermarks,
    WindowPlan,
    Windows,
)
from twinstack.streams.operators.series import UNSAVED
from twinstack.streams.operators.shape import NOTHING, Due, Shape, due

EVICT_TO = 15 / 16
_PANES, _CLOCKS = LEFT, RIGHT
"""Sections of a chunk."""


class GroupBy:
    """One task's GROUP BY. See `seam.Stateful` for the calls; the rows' `side` is 0.

    Errors: ValueError for a plan with more windows a record than `limits.WINDOWS_PER_RECORD_MAX`.
    """

    def __init__(self, plan: WindowPlan) -> None:
        self._plan = plan
        self._shape = Shape(plan.size_us, plan.slide_us)
        self._names = Names()
        self._panes = Panes(plan.aggregates)
        self._clocks = Clocks(plan.grace_us, self._shape.last_end) if plan.clock == "key" else None
        self._told = BEGINNING_US
        self._cut: tuple[int, bytes] = (BEGINNING_US, b"")
        """Windows before this (end, key) have been given (with `clock='side'`)."""
        self._through: Mask | None = None
        """In the middle of one end: by code whether the key is before the cut."""
        self._gone = BEGINNING_US
        """Panes before this have left at the bound."""
        self._next_end = END_US
        """No window closes before."""
        self._chunks = Chunks(plan.name)
        self._saved_facts: bytes | None = None

    @property
    def watermarks_us(self) -> tuple[int, ...]:
        return (self._told,)

    @property
    def settled_us(self) -> int:
        return self._cut[0] if self._clocks is None else BEGINNING_US

    @property
    def rows(self) -> int:
        return len(self._panes)

    @property
    def nbytes(self) -> int:
        return self._panes.nbytes + self._names.nbytes

    # --- rows and watermarks in, windows out -------------------------------------------------------------------------

    def process(
        self, rows: Sequence[Rows], watermarks: Watermarks, limit: int = limits.TASK_OUTPUT_RECORDS_MAX
    ) -> Step[Windows]:
        letters: list[Letters] = []
        taken = [self._admitted(number, part, letters) for number, part in enumerate(rows) if len(part)]
        self._add([(codes, block) for codes, block, _ in taken if len(codes)])
        null_keys = sum(nulls for _, _, nulls in taken)
        self._told = max(self._told, watermarks.sides[0])
        windows, more, arithmetic = self._close(watermarks, limit)
        self._bound(letters)
        return Step(windows, letters, null_keys=null_keys, arithmetic=arithmetic, more=more)

    def _admitted(self, number: int, rows: Rows, letters: list[Letters]) -> tuple[Integers, Block, int]:
        """The codes and rows that count, and how many had no key."""
        codes, panes = self._names.codes(rows.keys), self._shape.pane(rows.times_us)
        first_end = self._shape.first_end(panes)
        good = codes >= 0
        nulls = len(rows) - int(np.count_nonzero(good))
        late = self._late(codes, rows, first_end)
        gone = good & ~late & (panes < self._gone)
        for reason, which in ((LATE, late), (UNPAIRED, gone)):
            if which.any():
                letters.append(letters_on_arrival(reason, number, rows, np.flatnonzero(which)))
        # Between windows that slide further than they are long a row may belong to none.
        good &= ~(late | gone) & (first_end <= self._shape.last_end(panes))
        if good.all():
            return codes, Block(rows.keys, rows.times_us, rows.sources, rows.offsets, rows.values), nulls
        return codes[good], selected(rows, good), nulls

    def _add(self, parts: Sequence[tuple[Integers, Block]]) -> None:
        if parts:
            block = joined([block for _, block in parts])
            codes, panes = np.concatenate([codes for codes, _ in parts]), self._shape.pane(block.times_us)
            self._panes.add((codes, panes), (block.times_us, block.sources, block.offsets), block.values)
            self._next_end = min(self._next_end, int(self._shape.first_end(panes).min()))

    def _late(self, codes: Integers, rows: Rows, first_end: Integers) -> Any:
        good = codes >= 0
        if self._clocks is None:
            return good & (rows.times_us < self._told)
        assert rows.highs_us is not None, "clock='key' needs Rows.highs_us"
        self._clocks.room(len(self._names.texts))
        late = np.zeros(len(rows), np.bool_)
        picked = (codes, rows.times_us, rows.highs_us, rows.sources, first_end)
        if good.any():
            late[good] = self._clocks.late(*(column[good] for column in picked))
        return late

    def _close(self, watermarks: Watermarks, limit: int) -> tuple[Windows, bool, int]:
        if self._clocks is None:
            if self._told < self._next_end:
                self._cut = max(self._cut, (self._told + 1, b""))
                return self._windows(NOTHING)[0], False, 0
            clock = None
        else:
            clock = self._clocks.now(watermarks.highs_us)
        slots = np.flatnonzero(self._panes.used)
        closing = self._due(slots, clock, limit)
        windows, arithmetic = self._windows(closing)
        self._through = None
        if clock is None:
            if closing.rest is None:
                self._cut = max(self._cut, (self._told + 1, b""))
            else:
                self._cut = int(windows.ends_us[-1]), windows.keys[-1] + b"\0"
        else:
            self._move_clocks(clock, closing.rest)
        self._drop(slots)
        return windows, closing.rest is not None, arithmetic

    def _given_until(self, code: Integers) -> Integers:
        """Up to which end the windows of each key came out."""
        if self._clocks is not None:
            return self._clocks.given[code]
        end, key = self._cut
        if not key:
            return np.full(len(code), end - 1)
        names = self._names.texts
        if self._through is None or len(self._through) < len(names):
            self._through = np.fromiter((name < key for name in names), np.bool_, len(names))
        return np.where(self._through[code], end, end - 1)

    def _due(self, slots: Integers, clock: Integers | None, limit: int) -> Due:
        code = self._panes.code[slots]
        until = np.full(len(slots), self._told) if clock is None else clock[code]
        after = np.maximum(self._given_until(code), self._gone + self._plan.size_us - 1)
        return due(self._shape, self._panes, slots, (after, until), self._names.texts, limit)

    def _windows(self, closing: Due) -> tuple[Windows, int]:
        plan, names, arithmetic = self._plan, self._names.texts, 0
        values: dict[str, Array] = {}
        for aggregate, made in self._panes.accumulators if len(closing.starts) else ():
            values[aggregate.name], beyond = made.results(closing.slots, closing.starts)
            arithmetic += beyond
        starts = closing.number * plan.slide_us
        return Windows([names[c] for c in closing.code.tolist()], starts, starts + plan.size_us, values), arithmetic

    def _move_clocks(self, clock: Integers, rest: tuple[Integers, Integers] | None) -> None:
        clocks = self._clocks
        assert clocks is not None
        given = clock.copy()
        if rest is not None:
            number, code = rest
            np.minimum.at(given, code, number * self._plan.slide_us + self._plan.size_us - 1)
        clocks.move(clock, given)

    def _drop(self, slots: Integers) -> None:
        """Panes of which no window is open leave."""
        pane = self._panes.start[slots]
        over = self._shape.last_end(pane) <= self._given_until(self._panes.code[slots])
        self._panes.drop(slots[over])
        after = np.maximum(self._given_until(self._panes.code[slots[~over]]) + 1, self._shape.first_end(pane[~over]))
        self._next_end = int(after.min(initial=END_US))

    def _bound(self, letters: list[Letters]) -> None:
        allowed, held = self._plan.panes_max, self._panes.nbytes
        if held > self._plan.bytes_max:
            allowed = min(allowed, len(self._panes) * self._plan.bytes_max // held)
        if len(self._panes) > allowed:
            self._evict(int(allowed * EVICT_TO), letters)

    def _evict(self, allowed: int, letters: list[Letters]) -> None:
        """The oldest panes leave, and no window that had one of them is given."""
        slots = np.flatnonzero(self._panes.used)
        starts = self._panes.start[slots]
        leaving = len(slots) - allowed
        self._gone = int(np.partition(starts, leaving - 1)[leaving - 1]) + 1
        old = slots[starts < self._gone]
        letters.append(Letters(UNPAIRED, LEFT, self._block(old)))
        self._panes.drop(old)

    def _block(self, slots: Integers) -> Block:
        keys = [self._names.texts[code] for code in self._panes.code[slots].tolist()]
        nothing = np.zeros(len(slots), np.int64)
        return Block(keys, self._panes.start[slots], nothing, nothing, self._panes.save(slots))

    # --- state -------------------------------------------------------------------------------------------------------

    @property
    def _facts_key(self) -> bytes:
        return f"k/{self._plan.name}/watermark".encode()

    def changes(self) -> dict[bytes, bytes | None]:
        slots = np.flatnonzero(self._panes.used)
        clocks = self._clocks
        clock_chunk = clocks.chunk[: clocks.n] if clocks is not None else np.empty(0, np.int64)
        pane_chunk = self._panes.chunk[slots]
        empty, sparse = self._chunks.worn([pane_chunk, clock_chunk])
        changes: dict[bytes, bytes | None] = dict(self._chunks.drop([*empty, *sparse]))
        unsaved = slots[(pane_chunk == UNSAVED) | np.isin(pane_chunk, sparse)]
        blocks = {_PANES: self._block(unsaved)}
        codes = np.flatnonzero((clock_chunk == UNSAVED) | np.isin(clock_chunk, sparse))
        if clocks is not None:
            blocks[_CLOCKS] = self._clock_block(clocks, codes)
        for seq, record, parts in self._chunks.add(blocks):
            changes[self._chunks.key(seq)] = record
            for section, part in parts.items():
                if section == _PANES:
                    self._panes.chunk[unsaved[part.start : part.stop]] = seq
                elif clocks is not None:
                    clocks.chunk[codes[part.start : part.stop]] = seq
        facts = pack([self._told, *self._cut, self._gone])
        if facts != self._saved_facts:
            self._saved_facts = changes[self._facts_key] = facts
        if clocks is None:
            recoded = self._names.keep([self._panes.code[slots]])
            if recoded is not None:
                self._panes.recode(recoded)
                self._through = None
        return changes

    def _clock_block(self, clocks: Clocks, codes: Integers) -> Block:
        keys = [self._names.texts[code] for code in codes.tolist()]
        ends = {"closed": clocks.closed[codes], "given": clocks.given[codes]}
        return Block(keys, clocks.greatest[codes], clocks.source[codes], clocks.high[codes], ends)

    def restore(self, records: Mapping[bytes, bytes]) -> None:
        facts = records.get(self._facts_key)
        if facts is not None:
            self._told, end, key, self._gone = unpack(self._facts_key, facts, _facts)
            self._cut, self._saved_facts = (end, key), facts
        for seq, section, block in self._chunks.restore(records):
            codes = self._names.codes(block.keys)
            if section == _PANES:
                slots = self._panes.at(codes, block.times_us)
                self._load(seq, slots, block)
                self._panes.chunk[slots] = seq
            elif self._clocks is not None:
                self._load_clocks(self._clocks, seq, codes, block)
        slots = np.flatnonzero(self._panes.used)
        self._panes.drop(slots[self._panes.start[slots] < self._gone])
        if self._clocks is not None:
            self._clocks.room(len(self._names.texts))
        self._drop(np.flatnonzero(self._panes.used))

    def _load_clocks(self, clocks: Clocks, seq: int, codes: Integers, block: Block) -> None:
        clocks.room(len(self._names.texts))
        clocks.greatest[codes], clocks.high[codes] = block.times_us, block.offsets
        clocks.source[codes], clocks.chunk[codes] = block.sources, seq
        try:
            clocks.closed[codes], clocks.given[codes] = block.values["closed"], block.values["given"]
        except (KeyError, ValueError, TypeError) as error:
            raise damaged(self._chunks.key(seq), error) from error

    def _load(self, seq: int, slots: Integers, block: Block) -> None:
        try:
            self._panes.load(slots, block.values)
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise damaged(self._chunks.key(seq), error) from error


def _facts(content: Any) -> tuple[int, int, bytes, int]:
    told, end, key, gone = content
    if not all(isinstance(mark, int) for mark in (told, end, gone)) or not isinstance(key, bytes):
        raise ValueError("a watermark is an integer")
    return told, end, key, gone
