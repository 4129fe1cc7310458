"""Logs with several partitions a side, read in any order and in batches of any size, with the watermarks of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from oracles import Row

from twinstack.streams.operators.seam import BEGINNING_US, END_US, Rows, Watermarks, as_values

KEYS = (None, b"a", b"b", b"c")


def as_rows(side: int, rows: Sequence[Row], **values) -> Rows:
    def column(items):
        return np.array(items, np.int64)

    return Rows(
        side,
        [row.key for row in rows],
        column([row.time for row in rows]),
        column([row.source for row in rows]),
        column([row.offset for row in rows]),
        {"id": as_values([f"{side}:{row.source}:{row.offset}" for row in rows]), **values},
    )


@dataclass
class Feed:
    """`partitions[source] = (side, rows in log order)`; `turns`: which partition is read next and how far."""

    partitions: list[tuple[int, list[Row]]]
    turns: list[tuple[int, int]]
    grace: int
    values: Callable[[list[Row]], dict] = lambda _rows: {}
    read: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.read = [0] * len(self.partitions)

    def side(self, side: int) -> list[Row]:
        return [row for s, rows in self.partitions for row in rows if s == side]

    def arrived(self, side: int) -> list[Row]:
        return [row for (s, rows), n in zip(self.partitions, self.read, strict=True) for row in rows[:n] if s == side]

    def batches(self):
        """(rows, watermarks) of each turn; at the end everything is read and nothing can come any more."""
        rest = [(source, len(rows)) for source, (_, rows) in enumerate(self.partitions)]
        for source, count in [*self.turns, *rest]:
            side, rows = self.partitions[source]
            start = self.read[source]
            part = rows[start : start + count]
            if part:
                self.read[source] += len(part)
                yield as_rows(side, part, **self.values(part)), self.marks()
        yield None, Watermarks((END_US, END_US))

    def marks(self) -> Watermarks:
        marks = [END_US, END_US]
        for (side, rows), n in zip(self.partitions, self.read, strict=True):
            mark = max(row.time for row in rows[:n]) - self.grace if n else BEGINNING_US
            marks[side] = min(marks[side], mark)
        return Watermarks(tuple(marks))


@st.composite
def feeds(draw, *, sides: int = 2, rows_max: int = 24) -> Feed:
    """Ties, gaps, and records up to `grace` behind the greatest time of their partition."""
    grace = draw(st.sampled_from([0, 0, 3, 10]))
    count = draw(st.integers(sides, 8))
    sizes = draw(st.lists(st.integers(0, rows_max // 2), min_size=count, max_size=count))
    partitions = []
    for source in range(count):
        rows, greatest = [], draw(st.integers(0, 5))
        for offset in range(sizes[source]):
            step = draw(st.sampled_from([0, 0, 1, 1, 2, 5, 40]) | st.integers(-grace, 0))
            time = greatest + step
            greatest = max(greatest, time)
            rows.append(Row(draw(st.sampled_from(KEYS)), time, source, offset))
        partitions.append((source % sides, rows))
    turns = draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(1, 6)), max_size=30))
    return Feed(partitions, turns, grace)
