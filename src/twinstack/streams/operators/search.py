"""Binary search in many sorted stretches of one array at once."""

from __future__ import annotations

import numpy as np

from twinstack.streams.operators.seam import Integers


def stretches(groups: Integers, wanted: Integers) -> tuple[Integers, Integers]:
    """Where the stretch of each wanted group begins and ends in the sorted `groups`."""
    if len(groups) and groups[0] == groups[-1]:  # one long series is an ordinary case
        return np.where(wanted > groups[0], len(groups), 0), np.where(wanted >= groups[0], len(groups), 0)
    return np.searchsorted(groups, wanted, "left"), np.searchsorted(groups, wanted, "right")


def first_not_before(times: Integers, wanted: Integers, low: Integers, high: Integers) -> Integers:
    """In each stretch [low, high) the first place whose time is at least the wanted one, else high."""
    return _search(times, wanted, low, high, after=False)


def first_after(times: Integers, wanted: Integers, low: Integers, high: Integers) -> Integers:
    """In each stretch [low, high) the first place whose time is greater than the wanted one, else high."""
    return _search(times, wanted, low, high, after=True)


def _search(times: Integers, wanted: Integers, low: Integers, high: Integers, *, after: bool) -> Integers:
    if not len(times) or not len(wanted):
        return low.copy()
    if (low == low[0]).all() and (high == high[0]).all():
        start, end = int(low[0]), int(high[0])
        return np.searchsorted(times[start:end], wanted, "right" if after else "left") + start
    low, high = low.copy(), high.copy()
    passes = np.less_equal if after else np.less
    for _ in range(int((high - low).max()).bit_length()):
        middle = (low + high) >> 1
        onward = passes(times.take(middle, mode="clip"), wanted) & (low < high)
        low = np.where(onward, middle + 1, low)
        high = np.where(onward, high, middle)
    return low
