"""The operators' meaning by brute force: what comes out of all rows, whatever the order in which they came.

Written from the definition and not from the code: quadratic, no index, no state.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """One record of a side; its place in the order of a key is (time, source, offset)."""

    key: bytes | None
    time: int
    source: int
    offset: int

    @property
    def order(self) -> tuple[int, int, int]:
        return self.time, self.source, self.offset


Pair = tuple[tuple[int, int, int], tuple[int, int, int]]


def neighbours(rows: Iterable[Row], others: list[Row]) -> set[tuple[Row, Row]]:
    """(row, its previous) and (row, its next) among the others of its key."""
    found = set()
    for row in rows:
        same = sorted((o for o in others if o.key == row.key), key=lambda o: o.order)
        before = [o for o in same if o.time <= row.time]
        after = [o for o in same if o.time >= row.time]
        if before:
            found.add((row, before[-1]))
        if after:
            found.add((row, after[0]))
    return found


Watermarks = tuple[float, float]
FOREVER: Watermarks = (math.inf, math.inf)


def neighbour_join(left: list[Row], right: list[Row], within_us: int, marks: Watermarks = FOREVER) -> Counter[Pair]:
    """What has been given when nothing of a side can come any more before its mark."""
    left, right = ([row for row in side if row.key is not None] for side in (left, right))
    of_left, of_right = neighbours(left, right), neighbours(right, left)
    found: Counter[Pair] = Counter()
    for a, b in of_left | {(a, b) for b, a in of_right}:
        later = max(a.time, b.time)
        sure = ((a, b) in of_left and later < marks[1]) or ((b, a) in of_right and later < marks[0])
        if sure and abs(a.time - b.time) <= within_us:
            found[a.order, b.order] += 1
    return found


def asof_join(left: list[Row], right: list[Row], within_us: int, marks: Watermarks = FOREVER) -> Counter[Pair]:
    pairs: Counter[Pair] = Counter()
    for row in left:
        before = sorted(o.order for o in right if o.key == row.key is not None and o.time <= row.time)
        if before and row.time - before[-1][0] <= within_us and row.time < marks[1]:
            pairs[row.order, before[-1]] += 1
    return pairs
