"""What operators do alike with rows."""

from __future__ import annotations

import numpy as np

from twinstack.streams.operators.seam import Block, Integers, Letters, Rows


def letters_on_arrival(reason: str, number: int, rows: Rows, places: Integers) -> Letters:
    """Letters for rows of the call's batch `number` that were judged when they came."""
    block = Block(
        [rows.keys[place] for place in places.tolist()],
        rows.times_us[places],
        rows.sources[places],
        rows.offsets[places],
        {name: column[places] for name, column in rows.values.items()},
    )
    return Letters(reason, rows.side, block, number, places)


def ranges(start: Integers, count: Integers) -> Integers:
    """start, start + 1, ... of each range, one after the other."""
    total = int(count.sum())
    ends = np.cumsum(count)
    made: Integers = np.arange(total) + np.repeat(start - (ends - count), count)
    return made
