"""What operators do alike with rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from twinstack.streams.operators.seam import Array, Block, Integers, Letters, Mask, Rows
from twinstack.streams.operators.table import concatenated


def letters_on_arrival(reason: str, number: int, rows: Rows, places: Integers) -> Letters:
    """Letters for rows of the call's batch `number` that were judged when they came."""
    block = selected(rows, places)
    return Letters(reason, rows.side, block, number, places)


def selected(rows: Rows | Block, places: Integers | Mask) -> Block:
    """Some of the rows."""
    chosen = np.arange(len(rows))[places].tolist()
    return Block(
        [rows.keys[place] for place in chosen],
        rows.times_us[places],
        rows.sources[places],
        rows.offsets[places],
        {name: column[places] for name, column in rows.values.items()},
    )


def joined(blocks: Sequence[Block]) -> Block:
    """One block of several, at least one; a column that one of them does not have is NULL there."""
    if len(blocks) == 1:
        return blocks[0]
    names = dict.fromkeys(name for block in blocks for name in block.values)
    return Block(
        [key for block in blocks for key in block.keys],
        np.concatenate([block.times_us for block in blocks]),
        np.concatenate([block.sources for block in blocks]),
        np.concatenate([block.offsets for block in blocks]),
        {name: concatenated([_column(block, name) for block in blocks]) for name in names},
    )


def _column(block: Block, name: str) -> Array:
    column = block.values.get(name)
    return np.full(len(block), None, np.object_) if column is None else column


def ranges(start: Integers, count: Integers) -> Integers:
    """start, start + 1, ... of each range, one after the other."""
    total = int(count.sum())
    ends = np.cumsum(count)
    made: Integers = np.arange(total) + np.repeat(start - (ends - count), count)
    return made
