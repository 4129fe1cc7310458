"""A clock for each key, for keys that each come from one source partition.

A key's clock stands at its greatest event time, less the grace, and goes on with its partition's event time since its
last record: so the windows of a device that fell silent close, and one that comes back with a day's buffer goes on
where it stopped. What the clock has closed stays closed. All of it follows from the order of the partition's records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from twinstack.streams.operators.seam import BEGINNING_US, Array, Integers, Mask
from twinstack.streams.operators.series import UNSAVED

ROOM_MIN = 256


class Clocks:
    """Columns by the code of the key. `greatest`: event time; `high`: the partition's greatest at the key's last
    record; `closed`: no window that ends up to here takes a row any more; `given`: those that end there came out."""

    def __init__(self, grace_us: int, last_end: Callable[[Integers], Integers]) -> None:
        self._grace = grace_us
        self._last_end = last_end
        self.n = 0
        self.greatest = np.empty(0, np.int64)
        self.high = np.empty(0, np.int64)
        self.closed = np.empty(0, np.int64)
        self.given = np.empty(0, np.int64)
        self.source = np.empty(0, np.int64)
        self.chunk = np.empty(0, np.int64)

    def room(self, n: int) -> None:
        """Codes up to n are known from here on."""
        if n > len(self.greatest):
            room = max(2 * len(self.greatest), n, ROOM_MIN)
            for name in ("greatest", "high", "closed", "given"):
                setattr(self, name, _longer(getattr(self, name), room, BEGINNING_US))
            self.source, self.chunk = _longer(self.source, room, 0), _longer(self.chunk, room, UNSAVED)
        self.n = max(self.n, n)

    def late(self, codes: Integers, times: Integers, highs: Integers, sources: Integers, first_end: Integers) -> Mask:
        """Judges rows in the order of arrival and moves the clocks. `first_end`: of the first window of each row."""
        order = np.argsort(codes, kind="stable")
        code, time, high = codes[order], times[order], highs[order]
        head = np.empty(len(code), np.bool_)
        head[:1], head[1:] = True, code[1:] != code[:-1]
        stretch = np.cumsum(head, dtype=np.int64)
        reached = np.maximum(_running_max(stretch, time), self.greatest[code])
        before = np.where(head, self.greatest[code], np.roll(reached, 1))
        known = self.high[code]
        last_high = np.where(head, np.where(known == BEGINNING_US, high, known), np.roll(high, 1))
        clock = before + np.maximum(high - last_high, 0) - self._grace
        closed = np.minimum(clock, self._last_end(before))
        closed = np.maximum(_running_max(stretch, closed), self.closed[code])
        late = np.empty(len(code), np.bool_)
        late[order] = (time < before - self._grace) | (first_end[order] <= closed)
        tail = np.append(head[1:], True)
        touched = code[tail]
        self.greatest[touched], self.high[touched] = reached[tail], high[tail]
        self.closed[touched], self.source[touched] = closed[tail], sources[order][tail]
        self.chunk[touched] = UNSAVED
        return late

    def now(self, highs_us: Mapping[int, int]) -> Integers:
        """Up to where each key's windows may close."""
        n = self.n
        sources = np.unique(self.source[:n])
        highs = np.array([highs_us.get(source, BEGINNING_US) for source in sources.tolist()], np.int64)
        high = highs[np.searchsorted(sources, self.source[:n])]
        clock = self.greatest[:n] + np.maximum(high - self.high[:n], 0) - self._grace
        ends: Integers = np.maximum(self.closed[:n], np.minimum(clock, self._last_end(self.greatest[:n])))
        return ends

    def move(self, closed: Integers, given: Integers) -> None:
        """What was closed and given by a call, of all keys."""
        moved = np.flatnonzero((closed > self.closed[: self.n]) | (given > self.given[: self.n]))
        self.closed[moved], self.given[moved], self.chunk[moved] = closed[moved], given[moved], UNSAVED


def _running_max(stretch: Integers, values: Integers) -> Integers:
    """The greatest value so far within each stretch. By rank, so that nothing overflows."""
    order: Integers = np.argsort(values, kind="stable")
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(values))
    n = len(values)
    running: Integers = np.maximum.accumulate(stretch * n + rank) - stretch * n
    result: Integers = values[order[running]]
    return result


def _longer(column: Array, room: int, empty: int) -> Array:
    made: Array = np.full(room, empty, np.int64)
    made[: len(column)] = column
    return made
