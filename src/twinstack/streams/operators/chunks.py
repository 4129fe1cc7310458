"""Rows as records `b/<operator>/<seq>` of the state topic, and which of these records are still worth their place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from twinstack.core import limits
from twinstack.streams.operators.packing import (
    damaged,
    pack,
    pack_bytes,
    pack_column,
    pack_integers,
    unpack,
    unpack_bytes,
    unpack_column,
    unpack_integers,
)
from twinstack.streams.operators.seam import Array, Block, Integers

SMALL_BYTES = limits.STATE_CHUNK_BYTES_MAX // 16
SMALL_CHUNKS_MAX = 64
"""With a chunk for each transaction of a quiet app, more small ones than this are put together."""
ALIVE_MIN = 4
"""A chunk of which less than one in so many rows is alive is written anew at the head."""


class Chunks:
    """The chunks of one operator that the state topic holds: rows and bytes of each. Sequence numbers only grow."""

    def __init__(self, operator: str) -> None:
        self._prefix = f"b/{operator}/".encode()
        self._rows: dict[int, int] = {}
        self._bytes: dict[int, int] = {}
        self._next = 0
        self._row_bytes = 0.0
        """Of the last record: whether it is worth trying to put rows into one."""

    def worn(self, alive: Sequence[Integers]) -> tuple[list[int], list[int]]:
        """`alive`: the chunk of each row that is held, of all sides. Which chunks are empty, and which to rewrite."""
        base = min(self._rows, default=0)
        held = np.concatenate(alive) - base
        counts = np.bincount(held[held >= 0]).tolist()
        left = {base + place: count for place, count in enumerate(counts) if count}
        empty = [seq for seq in self._rows if seq not in left]
        sparse = {seq for seq, count in left.items() if ALIVE_MIN * count < self._rows[seq]}
        small = [seq for seq in left if self._bytes[seq] < SMALL_BYTES]
        if len(small) > SMALL_CHUNKS_MAX:
            sparse.update(small)
        return empty, sorted(sparse)

    def drop(self, seqs: Iterable[int]) -> dict[bytes, None]:
        """The tombstones."""
        seqs = list(seqs)
        for seq in seqs:
            del self._rows[seq], self._bytes[seq]
        return {self.key(seq): None for seq in seqs}

    def add(self, blocks: Mapping[int, Block]) -> Iterator[tuple[int, bytes, dict[int, range]]]:
        """Writes rows of both sides: for each new chunk its number, its record and which rows of each side it has."""
        yield from self._add({side: (block, range(len(block))) for side, block in blocks.items() if len(block)})

    def _add(self, parts: dict[int, tuple[Block, range]]) -> Iterator[tuple[int, bytes, dict[int, range]]]:
        count = sum(len(rows) for _, rows in parts.values())
        if not count:
            return
        record = b""
        if count * self._row_bytes <= limits.STATE_CHUNK_BYTES_MAX or count == 1:
            record = pack([[side, *_packed(block, rows)] for side, (block, rows) in parts.items()])
            self._row_bytes = len(record) / count
        if not record or (len(record) > limits.STATE_CHUNK_BYTES_MAX and count > 1):
            for half in _halves(parts):
                yield from self._add(half)
            return
        seq, self._next = self._next, self._next + 1
        self._rows[seq], self._bytes[seq] = count, len(record)
        yield seq, record, {side: rows for side, (_, rows) in parts.items()}

    def restore(self, records: Mapping[bytes, bytes]) -> Iterator[tuple[int, int, Block]]:
        """(chunk, side, rows). Errors: CorruptState."""
        mine = [key for key in records if key.startswith(self._prefix)]
        for seq, key in sorted((self._number(key), key) for key in mine):
            self._next = max(self._next, seq + 1)
            blocks: list[tuple[int, Block]] = unpack(key, records[key], _blocks)
            self._rows[seq] = sum(len(block) for _, block in blocks)
            self._bytes[seq] = len(records[key])
            for side, block in blocks:
                yield seq, side, block

    def key(self, seq: int) -> bytes:
        return self._prefix + str(seq).encode()

    def _number(self, key: bytes) -> int:
        digits = key[len(self._prefix) :]
        if not digits.isdigit():
            raise damaged(key, ValueError("its key has no number"))
        return int(digits)


def _halves(parts: dict[int, tuple[Block, range]]) -> Iterator[dict[int, tuple[Block, range]]]:
    """The longer side is cut in the middle; the shorter goes with the first half."""
    longest = max(parts, key=lambda side: len(parts[side][1]))
    block, rows = parts[longest]
    middle = (len(rows) + 1) // 2
    if middle == len(rows):  # one row a side
        yield {longest: parts[longest]}
        yield {side: part for side, part in parts.items() if side != longest}
        return
    yield {**parts, longest: (block, rows[:middle])}
    yield {longest: (block, rows[middle:])}


def _packed(block: Block, rows: range) -> list[Any]:
    part = slice(rows.start, rows.stop)
    return [
        len(rows),
        pack_bytes([key for key in block.keys[part] if key is not None]),
        pack_integers(block.times_us[part]),
        pack_integers(block.sources[part]),
        pack_integers(block.offsets[part]),
        {name: pack_column(column[part]) for name, column in block.values.items()},
    ]


def _blocks(sections: Any) -> list[tuple[int, Block]]:
    return [(_side(section[0]), _block(*section[1:])) for section in sections]


def _side(side: Any) -> int:
    if side not in (0, 1):
        raise ValueError(f"no side {side!r}")
    return int(side)


def _block(n: int, keys: Any, times_us: Any, sources: Any, offsets: Any, columns: Any) -> Block:
    values: dict[str, Array] = {name: unpack_column(column, n) for name, column in columns.items()}
    return Block(
        unpack_bytes(keys, n),
        unpack_integers(times_us, n),
        unpack_integers(sources, n),
        unpack_integers(offsets, n),
        values,
    )
