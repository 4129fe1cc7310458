"""What a call settles: the pairs that the watermarks before it did not give and those behind it do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twinstack.core import limits
from twinstack.streams.operators.rows import ranges
from twinstack.streams.operators.seam import FAN_OUT, LEFT, RIGHT, Integers, JoinPlan, Letters, Mask, Pairs
from twinstack.streams.operators.series import Series

SIDES = (LEFT, RIGHT)


class Settling:
    """Of one call. `settled`: per side the watermark up to which pairs were given before; `names`: the key of each
    code."""

    def __init__(
        self, plan: JoinPlan, sides: tuple[Series, Series], settled: Sequence[int], names: Sequence[bytes]
    ) -> None:
        self._asof = plan.kind == "asof"
        self._within_us = plan.within_us
        self._sides = sides
        self._settled = settled
        self._names = names

    def run(self, told: Sequence[int], limit: int, letters: list[Letters]) -> tuple[Pairs, list[int]]:
        """The pairs up to the watermarks `told`, or to lesser ones where they would be more than `limit`; and up to
        which. Rows whose next is settled are marked as `done`."""
        until = list(told)
        found = self._events(until)
        if sum(int(event.count.sum()) for event in found) > limit:
            until = self._shortened(found, until, limit)
            found = self._events(until)
        if not self._asof:
            found.extend(self._next_of_new(side, letters) for side in SIDES)
        places = [self._candidates(event, letters) for event in found]
        left, right = (np.concatenate(column) for column in zip(*places, strict=True))
        return self._pairs(left, right), until

    def _events(self, until: list[int]) -> list[_Event]:
        """What becomes settled between the old watermarks and `until`."""
        found = [self._previous(LEFT, until[RIGHT])]
        if not self._asof:
            found.append(self._previous(RIGHT, until[LEFT]))
            found.extend(self._next(side, until[1 - side]) for side in SIDES)
        return found

    def _previous(self, side: int, until: int) -> _Event:
        """The previous of the rows of `side` whose time the other side's watermark passed, or that came behind it."""
        mine, other = self._sides[side], self._sides[1 - side]
        ready = mine.time < until
        place = np.flatnonzero(ready & (mine.new | (mine.time >= self._settled[1 - side])))
        found = other.last_not_after(mine.key[place], mine.time[place])
        place, found = place[found >= 0], found[found >= 0]
        return _Event(side, mine.time[place], place, found, np.ones(len(place), np.int64))

    def _next_of_new(self, side: int, letters: list[Letters]) -> _Event:
        """The next of the rows of `side` that came when the other side had been settled beyond it."""
        mine, other = self._sides[side], self._sides[1 - side]
        settled = self._settled[1 - side]
        place = np.flatnonzero(mine.new & (mine.time < settled))
        found = other.first_not_before(mine.key[place], mine.time[place])
        ready = (found >= 0) & (other.time.take(found, mode="clip") < settled) if len(other) else found >= 0
        place, found = place[ready], found[ready]
        mine.done[place] = True
        if len(mine) > limits.FAN_OUT_MAX:
            low, high = self._waiting(side, found)
            low = np.maximum(low, mine.first_later(other.key[found], other.time[found] - self._within_us - 1))
            crowded = high - low > limits.FAN_OUT_MAX
            # A letter only when these rows made it a crowd, not for each that comes to it.
            came = np.concatenate([[0], np.cumsum(mine.new)])
            fresh = crowded & (high - low - (came[high] - came[low]) <= limits.FAN_OUT_MAX)
            if fresh.any():
                letters.append(Letters(FAN_OUT, 1 - side, other.block(np.unique(found[fresh]), self._names)))
            few = ~crowded | (place == high - 1)
            place, found = place[few], found[few]
        return _Event(side, mine.time[place], place, found, np.ones(len(place), np.int64))

    def _next(self, side: int, until: int) -> _Event:
        """The rows of `side` whose next is a row of the other side that its own watermark passed now."""
        other = self._sides[1 - side]
        found = np.flatnonzero((other.time >= self._settled[1 - side]) & (other.time < until))
        low, high = self._waiting(side, found)
        some = low < high
        found, low, high = found[some], low[some], high[some]
        return _Event(side, other.time[found], low, found, high - low, is_next=True)

    def _waiting(self, side: int, found: Integers) -> tuple[Integers, Integers]:
        """For places of the other side the places [low, high) of the rows of `side` whose next they are."""
        mine, other = self._sides[side], self._sides[1 - side]
        key, time = other.key[found], other.time[found]
        return mine.first_later(key, other.time_before(found)), mine.first_later(key, time)

    def _shortened(self, found: list[_Event], until: list[int], limit: int) -> list[int]:
        """Watermarks that settle about `limit` pairs more than those that are due anyway, at least one moment's."""
        open_ = [event.time >= self._settled[1 - event.side] for event in found]
        time = np.concatenate([event.time[free] for event, free in zip(found, open_, strict=True)])
        count = np.concatenate([event.count[free] for event, free in zip(found, open_, strict=True)])
        order = np.argsort(time, kind="stable")
        time, count = time[order], np.minimum(count[order], limits.FAN_OUT_MAX)
        over = int(np.searchsorted(np.cumsum(count), limit, "right"))
        if over >= len(time):
            return until
        cut = max(int(time[over]), int(time[0]) + 1)
        return [max(old, min(mark, cut)) for old, mark in zip(self._settled, until, strict=True)]

    def _candidates(self, event: _Event, letters: list[Letters]) -> tuple[Integers, Integers]:
        """Places (left, right) of the event's pairs."""
        place, found = event.place, event.found
        if event.is_next:
            mine, other = self._sides[event.side], self._sides[1 - event.side]
            high = place + event.count
            mine.done[ranges(place, event.count)] = True
            low = np.maximum(place, mine.first_later(other.key[found], event.time - self._within_us - 1))
            crowded = high - low > limits.FAN_OUT_MAX
            if crowded.any():
                block = other.block(found[crowded], self._names)
                letters.append(Letters(FAN_OUT, 1 - event.side, block))
                low = np.where(crowded, high - 1, low)  # of a crowd only the nearest is paired
            count = np.maximum(high - low, 0)
            place, found = ranges(low, count), np.repeat(found, count)
        return (place, found) if event.side == LEFT else (found, place)

    def _pairs(self, left: Integers, right: Integers) -> Pairs:
        """Each pair once, without those too far apart and those that were given before."""
        a, b = self._sides
        near = np.abs(a.time[left] - b.time[right]) <= self._within_us
        left, right = left[near], right[near]
        left, right = _distinct(left, right)
        if not self._asof and len(left):
            fresh = ~self._given(left, right)
            left, right = left[fresh], right[fresh]
        names = self._names
        block = a.block(left, names)
        return Pairs(block, b.block(right, names, block.keys))

    def _given(self, left: Integers, right: Integers) -> Mask:
        """Whether each pair was given with the watermarks before this call."""
        a, b = self._sides
        later = np.maximum(a.time[left], b.time[right])
        right_sure = (later < self._settled[RIGHT]) & _is_neighbour(b, right, a.time[left])
        left_sure = (later < self._settled[LEFT]) & _is_neighbour(a, left, b.time[right])
        given: Mask = (right_sure | left_sure) & ~a.new[left] & ~b.new[right]
        return given


@dataclass(frozen=True, slots=True)
class _Event:
    """Something that is settled now. A previous: row `place` of `side` has `found` of the other side. A next
    (`is_next`): the rows `place` to `place + count` have `found`. `time`: which the watermark had to pass."""

    side: int
    time: Integers
    place: Integers
    found: Integers
    count: Integers
    is_next: bool = False


def _is_neighbour(series: Series, place: Integers, time: Integers) -> Mask:
    """Whether each row at `place` is a neighbour of a row of the other side at `time`."""
    own = series.time[place]
    previous = (own <= time) & (series.time_after(place) > time)
    following = (own >= time) & (series.time_before(place) < time)
    either: Mask = previous | following
    return either


def _distinct(left: Integers, right: Integers) -> tuple[Integers, Integers]:
    """Each pair once, in the order of (left, right)."""
    if not len(left):
        return left, right
    # Sorted, not hashed: numpy's hash of neighbouring integers meets itself.
    width = int(right.max()) + 1
    codes = np.sort(left * width + right)
    codes = codes[np.flatnonzero(np.diff(codes, prepend=-1))]
    return codes // width, codes % width
