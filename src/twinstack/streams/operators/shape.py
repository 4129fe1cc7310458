"""Which windows a time belongs to, and which windows close."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twinstack.core import limits
from twinstack.streams.operators.panes import Panes
from twinstack.streams.operators.rows import ranges
from twinstack.streams.operators.seam import Integers


class Shape:
    """Windows `[number * slide, number * slide + size)`.

    Errors: ValueError if a record counts in more windows than `limits.WINDOWS_PER_RECORD_MAX`.
    """

    def __init__(self, size_us: int, slide_us: int) -> None:
        if size_us > slide_us * limits.WINDOWS_PER_RECORD_MAX:
            raise ValueError("a record would count in too many windows")
        self.size_us, self.slide_us = size_us, slide_us
        self.pane_us = math.gcd(size_us, slide_us)

    def pane(self, times: Integers) -> Integers:
        """The start of each time's pane."""
        return times // self.pane_us * self.pane_us

    def first_number(self, pane: Integers) -> Integers:
        return -((self.size_us - self.pane_us - pane) // self.slide_us)

    def first_end(self, pane: Integers) -> Integers:
        """The end of the first window that has the pane."""
        return self.first_number(pane) * self.slide_us + self.size_us

    def last_end(self, time: Integers) -> Integers:
        """The end of the last window that has the time; before `first_end` if none has."""
        return time // self.slide_us * self.slide_us + self.size_us


@dataclass(slots=True)
class Due:
    """Windows that close: number (start / slide) and code of each, in order, and their panes' slots, flat."""

    number: Integers
    code: Integers
    slots: Integers
    starts: Integers
    rest: tuple[Integers, Integers] | None = None
    """Numbers and codes of the windows behind the limit."""


NOTHING = Due(*(np.empty(0, np.int64),) * 4)


def due(
    shape: Shape,
    panes: Panes,
    slots: Integers,
    ends: tuple[Integers, Integers],
    names: Sequence[bytes],
    limit: int,
) -> Due:
    """The windows of the panes in these slots whose ends lie in (after, until]: `ends`, for each slot. At most `limit`
    of them, in the order of (end, key); `names` has the key of each code."""
    after, until = ends
    code, pane = panes.code[slots], panes.start[slots]
    low = np.maximum(shape.first_number(pane), (after - shape.size_us) // shape.slide_us + 1)
    high = np.minimum(pane // shape.slide_us, (until - shape.size_us) // shape.slide_us)
    count = np.maximum(high - low + 1, 0)
    if not count.any():
        return NOTHING
    number, slot = ranges(low, count), np.repeat(slots, count)
    code, pane = np.repeat(code, count), np.repeat(pane, count)
    order = np.lexsort((pane, code, number))
    number, code, slot = number[order], code[order], slot[order]
    head = np.empty(len(order), np.bool_)
    head[0], head[1:] = True, (number[1:] != number[:-1]) | (code[1:] != code[:-1])
    first = np.flatnonzero(head)
    number, code, size = number[first], code[first], np.diff(first, append=len(slot))
    order = _by_end_and_key(number, code, names)
    rest = None
    if len(order) > limit:
        rest = number[order[limit:]], code[order[limit:]]
        order = order[:limit]
    size = size[order]
    return Due(number[order], code[order], slot[ranges(first[order], size)], np.cumsum(size) - size, rest)


def _by_end_and_key(number: Integers, code: Integers, names: Sequence[bytes]) -> Integers:
    windows = list(zip(number.tolist(), map(names.__getitem__, code.tolist()), strict=True))
    return np.array(sorted(range(len(windows)), key=windows.__getitem__), np.int64)
