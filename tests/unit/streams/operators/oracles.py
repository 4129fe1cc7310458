"""The operators' meaning by brute force: what comes out of all rows, whatever the order in which they came.

Written from the definition and not from the code: quadratic, no index, no state.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple


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


# --- GROUP BY --------------------------------------------------------------------------------------------------------


def windows_of(time: int, size: int, slide: int) -> list[int]:
    """The starts of all windows that have this time, by looking at each that could."""
    near = range(time // slide - size // slide - 2, time // slide + 2)
    return [number * slide for number in near if number * slide <= time < number * slide + size]


def numbers_of(rows: list[tuple[Row, Any]]) -> list[Any]:
    return [value for _, value in rows if type(value) in (int, float)]


def rounded(exact: Fraction) -> float | None:
    try:
        return exact.numerator / exact.denominator
    except OverflowError:
        return None


def aggregated(function: str, rows: list[tuple[Row, Any]], fraction: float = 0.5) -> Any:
    """`rows`: with their values, all of one window and key."""
    rows = sorted(rows, key=lambda pair: pair[0].order)
    numbers = numbers_of(rows)
    exact = [Fraction(number) for number in numbers]
    present = [value for _, value in rows if value is not None]
    match function:
        case "count":
            return len(present)
        case "first" | "last":
            return None if not present else present[0 if function == "first" else -1]
        case "count_distinct":
            return len({(isinstance(v, bool), isinstance(v, str), v) for v in present})
    if not numbers:
        return None
    match function:
        case "sum" if all(type(number) is int for number in numbers):
            return sum(numbers) if -(2**63) <= sum(numbers) < 2**63 else None
        case "sum":
            return rounded(sum(exact, Fraction()))
        case "avg":
            return rounded(sum(exact, Fraction()) / len(exact))
        case "min":
            return min(numbers, key=lambda number: (number, type(number) is float))
        case "max":
            return max(numbers, key=lambda number: (number, type(number) is int))
        case "stddev":
            if len(exact) < 2:
                return None
            mean = sum(exact, Fraction()) / len(exact)
            variance = rounded(sum(((x - mean) ** 2 for x in exact), Fraction()) / (len(exact) - 1))
            return None if variance is None else math.sqrt(variance)
    values = sorted(map(float, numbers))
    place = fraction * (len(values) - 1)
    low = math.floor(place)
    return values[low] + (values[min(low + 1, len(values) - 1)] - values[low]) * (place - low)
