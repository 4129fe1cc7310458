"""NEIGHBOUR JOIN and ASOF JOIN: a pure function of two sides' rows, settled by watermarks.

For each row of a key: its previous is the last row of the other side that is not later, its next the first that is not
earlier (of several equal times the last, the first). A pair of a NEIGHBOUR JOIN is one of these for at least one of its
two rows; a pair of an ASOF JOIN is a left row and its previous.

Whether b is a neighbour of a is sure as soon as nothing of b's side can come any more up to the later of the two times:
when the watermark of b's side is strictly greater. So with the watermarks (A, B), the pair has been given

    if b is a neighbour of a and later(a, b) < B, or a is a neighbour of b and later(a, b) < A,

and a call gives those for which this has become true: what was given before need not be remembered with the rows, it
follows from the rows and the watermarks up to which they were settled. These two numbers and the rows are all of the
state.

A row leaves when nothing can need it any more: all times are less than min(A, B) from here on, its own next is settled,
and a row of its own side comes after it, itself less than min(A, B), which is a better previous for all that can come;
or it is more than WITHIN behind. That the successor is strictly less keeps the rule above true for the rows that
remain: the next of a row may leave before the row does, but one behind it stays, which is settled too. For the same
reason a row that has left and comes back from a saved chunk does no harm and leaves again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twinstack.core import limits
from twinstack.streams.operators.chunks import Chunks
from twinstack.streams.operators.names import Names
from twinstack.streams.operators.packing import pack, unpack
from twinstack.streams.operators.rows import joined, letters_on_arrival, selected
from twinstack.streams.operators.seam import (
    BEGINNING_US,
    LATE,
    LEFT,
    RIGHT,
    UNPAIRED,
    Block,
    Integers,
    JoinPlan,
    Letters,
    Pairs,
    Rows,
    Step,
    Watermarks,
)
from twinstack.streams.operators.series import UNSAVED, Series
from twinstack.streams.operators.settling import SIDES, Settling

GARBAGE_ROWS_MIN = 4_096
"""Fewer dead rows than that, or than a half, are left until the transaction ends."""
EVICT_TO = 15 / 16
"""At the bound a sixteenth leaves at once, so that not each row has to."""


class Join:
    """One task's join. See `seam.Stateful` for the calls."""

    def __init__(self, plan: JoinPlan) -> None:
        if plan.kind not in ("neighbour", "asof"):
            raise ValueError(f"no join {plan.kind!r}")
        self._plan = plan
        self._asof = plan.kind == "asof"
        self._sides = (Series(), Series())
        self._names = Names()
        self._told = [BEGINNING_US, BEGINNING_US]
        self._settled = [BEGINNING_US, BEGINNING_US]
        self._cut = BEGINNING_US
        """Rows before this time have left at the bound, and those that come there now find no neighbours."""
        self._chunks = Chunks(plan.name)
        self._saved_facts: bytes | None = None
        self._kept = 0

    @property
    def watermarks_us(self) -> tuple[int, ...]:
        return tuple(self._told)

    @property
    def settled_us(self) -> int:
        return min(self._settled)

    @property
    def rows(self) -> int:
        return sum(map(len, self._sides))

    @property
    def nbytes(self) -> int:
        return sum(side.nbytes for side in self._sides) + self._names.nbytes

    # --- rows and watermarks in, pairs out -------------------------------------------------------------------------

    def process(
        self, rows: Sequence[Rows], watermarks: Watermarks, limit: int = limits.TASK_OUTPUT_RECORDS_MAX
    ) -> Step[Pairs]:
        letters: list[Letters] = []
        null_keys = 0
        for side in SIDES:
            mine = [(number, part) for number, part in enumerate(rows) if part.side == side and len(part)]
            kept = [self._admitted(number, part, letters) for number, part in mine]
            null_keys += sum(nulls for _, _, nulls in kept)
            self._insert(self._sides[side], [(codes, block) for codes, block, _ in kept if len(codes)])
        self._told = [max(told, mark) for told, mark in zip(self._told, watermarks.sides, strict=True)]
        pairs, more = self._settle(limit, letters)
        self._bound(letters)
        return Step(pairs, letters, null_keys=null_keys, more=more)

    def _admitted(self, number: int, rows: Rows, letters: list[Letters]) -> tuple[Integers, Block, int]:
        """The codes and rows that take part, and how many had no key."""
        codes = self._names.codes(rows.keys)
        good = codes >= 0
        nulls = len(rows) - int(np.count_nonzero(good))
        late = good & (rows.times_us < self._told[rows.side])
        orphaned = good & ~late & (rows.times_us < self._cut)
        for reason, which in ((LATE, late), (UNPAIRED, orphaned)):
            if which.any():
                letters.append(letters_on_arrival(reason, number, rows, np.flatnonzero(which)))
        good &= ~(late | orphaned)
        if good.all():
            return codes, Block(rows.keys, rows.times_us, rows.sources, rows.offsets, rows.values), nulls
        return codes[good], selected(rows, good), nulls

    def _insert(self, side: Series, parts: Sequence[tuple[Integers, Block]], chunk: Integers | int = UNSAVED) -> None:
        """All at once: each insertion moves what is there."""
        if parts:
            block = joined([block for _, block in parts])
            codes = np.concatenate([codes for codes, _ in parts])
            side.insert(codes, block.times_us, block.sources, block.offsets, block.values, chunk)

    def _settle(self, limit: int, letters: list[Letters]) -> tuple[Pairs, bool]:
        pairs, until = Settling(self._plan, self._sides, self._settled, self._names.texts).run(
            self._told, limit, letters
        )
        self._settled = until
        for side in self._sides:
            side.new[:] = False
        return pairs, until != self._told

    # --- what leaves ---------------------------------------------------------------------------------------------

    def _bound(self, letters: list[Letters]) -> None:
        plan = self._plan
        if self.rows > 2 * self._kept + GARBAGE_ROWS_MIN or self.rows > plan.rows_max or self.nbytes > plan.bytes_max:
            self._collect()
        allowed = plan.rows_max
        if self.nbytes > plan.bytes_max:
            allowed = min(allowed, self.rows * plan.bytes_max // self.nbytes)
        if self.rows > allowed:
            self._evict(int(allowed * EVICT_TO), letters)

    def _evict(self, allowed: int, letters: list[Letters]) -> None:
        """The oldest rows of both sides leave."""
        times = np.concatenate([side.time for side in self._sides])
        leaving = len(times) - allowed
        cut = int(np.partition(times, leaving - 1)[leaving - 1]) + 1
        for number, side in enumerate(self._sides):
            old = side.time < cut
            if old.any():
                letters.append(Letters(UNPAIRED, number, side.block(np.flatnonzero(old), self._names.texts)))
                side.keep(~old)
        self._cut = max(self._cut, cut)
        self._kept = self.rows

    def _collect(self) -> None:
        """Drops the rows that nothing can need any more."""
        passed = min(self._settled)
        for number, side in enumerate(self._sides):
            if not len(side):
                continue
            if self._asof and number == LEFT:
                dead = side.time < self._settled[RIGHT]
            else:
                done = side.done if not self._asof else np.ones(len(side), np.bool_)
                dead = (done & side.followed(passed) & (side.time < passed)) | (
                    side.time < passed - self._plan.within_us
                )
            if dead.any():
                side.keep(~dead)
        recoded = self._names.keep([side.key for side in self._sides])
        if recoded is not None:
            for side in self._sides:
                side.recode(recoded)
        self._kept = self.rows

    # --- state -----------------------------------------------------------------------------------------------------

    @property
    def _facts_key(self) -> bytes:
        return f"k/{self._plan.name}/watermarks".encode()

    def changes(self) -> dict[bytes, bytes | None]:
        self._collect()
        changes: dict[bytes, bytes | None] = {}
        chunks = [side.chunk() for side in self._sides]
        empty, sparse = self._chunks.worn(chunks)
        changes.update(self._chunks.drop([*empty, *sparse]))
        blocks: dict[int, Block] = {}
        places: dict[int, Integers] = {}
        for number, side in enumerate(self._sides):
            chunk = chunks[number]
            unsaved = np.flatnonzero((chunk == UNSAVED) | np.isin(chunk, sparse) if sparse else chunk == UNSAVED)
            if len(unsaved):
                # In the order of arrival: what came together often leaves together, and with it whole chunks.
                places[number] = unsaved[np.argsort(side.row[unsaved])]
                blocks[number] = side.block(places[number], self._names.texts)
        for seq, record, rows in self._chunks.add(blocks):
            changes[self._chunks.key(seq)] = record
            for number, part in rows.items():
                self._sides[number].set_chunk(places[number][part.start : part.stop], seq)
        facts = pack([self._told, self._settled, self._cut])
        if facts != self._saved_facts:
            self._saved_facts = changes[self._facts_key] = facts
        return changes

    def restore(self, records: Mapping[bytes, bytes]) -> None:
        facts = records.get(self._facts_key)
        if facts is not None:
            self._told, self._settled, self._cut = unpack(self._facts_key, facts, _facts)
            self._saved_facts = facts
        parts: tuple[list[tuple[Integers, Block]], ...] = ([], [])
        chunks: tuple[list[Integers], ...] = ([], [])
        for seq, number, whole in self._chunks.restore(records):
            block = selected(whole, whole.times_us >= self._cut)
            parts[number].append((self._names.codes(block.keys), block))
            chunks[number].append(np.full(len(block), seq, np.int64))
        for side, saved, seqs in zip(self._sides, parts, chunks, strict=True):
            self._insert(side, saved, np.concatenate(seqs) if seqs else UNSAVED)
        for number, side in enumerate(self._sides):
            other = self._sides[1 - number]
            found = other.first_not_before(side.key, side.time)
            some = found >= 0
            side.done[some] = other.time[found[some]] < self._settled[1 - number]
            side.new[:] = False
        self._collect()


def _facts(content: Any) -> tuple[list[int], list[int], int]:
    told, settled, cut = content
    if len(told) != 2 or len(settled) != 2 or not all(isinstance(mark, int) for mark in (*told, *settled, cut)):
        raise ValueError("watermarks are two integers each")
    return told, settled, cut
