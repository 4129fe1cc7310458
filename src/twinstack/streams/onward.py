"""What flows between two stages, on `ts.<app>.<rev>.<stage>.in`: packed rows, and the marks behind them.

Rows of one batch, side and destination travel as one record (columns, as they are used on both ends). A mark tells how
far event time has come in a source partition and whether it is idle; it goes to every partition with each commit, so it
stands behind all rows that it speaks of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from twinstack.core import limits
from twinstack.core.errors import CorruptState
from twinstack.streams.operators.seam import Array, Rows, as_values, objects

_ROWS, _MARKS = 1, 2
_ROW_BYTES = 64
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode


class Mark(NamedTuple):
    """`high_us`: the greatest event time read from the source partition."""

    source: int
    high_us: int
    idle: bool


def pack_rows(rows: Rows) -> Iterator[bytes]:
    """Records of at most about STATE_CHUNK_BYTES_MAX that hold these rows; one row always fits."""
    parts = [rows]
    while parts:
        part = parts.pop()
        packed = _encode(_packed(part))
        if len(packed) <= limits.STATE_CHUNK_BYTES_MAX or len(part) == 1:
            yield packed
        else:
            half = len(part) // 2
            parts += [select(part, slice(half, None)), select(part, slice(0, half))]


def _packed(rows: Rows) -> list[Any]:
    table = list(dict.fromkeys(rows.keys))
    codes = {key: code for code, key in enumerate(table)}
    return [
        _ROWS,
        rows.side,
        table,
        np.array([codes[key] for key in rows.keys], np.uint32).tobytes(),
        rows.times_us.tobytes(),
        rows.sources.tobytes(),
        rows.offsets.tobytes(),
        rows.highs_us.tobytes() if rows.highs_us is not None else None,
        [[name, *_packed_column(column)] for name, column in rows.values.items()],
    ]


def _packed_column(column: Array) -> tuple[str, Any]:
    if column.dtype == np.float64:
        return "f", column.tobytes()
    if column.dtype == np.int64:
        return "i", column.tobytes()
    return "o", column.tolist()


def select(rows: Rows, part: slice | Array) -> Rows:
    keys = rows.keys[part] if isinstance(part, slice) else [rows.keys[i] for i in part.tolist()]
    return Rows(
        rows.side,
        keys,
        rows.times_us[part],
        rows.sources[part],
        rows.offsets[part],
        {name: column[part] for name, column in rows.values.items()},
        rows.highs_us[part] if rows.highs_us is not None else None,
    )


def pack_marks(marks: Sequence[Mark]) -> bytes:
    return _encode([_MARKS, [list(mark) for mark in marks]])


def unpack(value: bytes) -> Rows | list[Mark]:
    """Errors: CorruptState for what no stage of this app wrote."""
    try:
        kind, *parts = _decode(value)
        if kind == _MARKS:
            return [Mark(int(source), int(high), bool(idle)) for source, high, idle in parts[0]]
        side, table, codes, times, sources, offsets, highs, columns = parts
        return Rows(
            side,
            [table[code] for code in np.frombuffer(codes, np.uint32).tolist()],
            np.frombuffer(times, np.int64),
            np.frombuffer(sources, np.int64),
            np.frombuffer(offsets, np.int64),
            {name: _column(form, content) for name, form, content in columns},
            np.frombuffer(highs, np.int64) if highs is not None else None,
        )
    except (msgspec.DecodeError, ValueError, TypeError, IndexError) as error:
        raise CorruptState(
            f"A record between two stages of the app cannot be read: {error}.", fix="Deploy the app again."
        ) from None


def _column(form: str, content: Any) -> Array:
    if form == "o":
        return objects(content)
    return np.frombuffer(content, np.float64 if form == "f" else np.int64)


def column_of(items: Sequence[Any]) -> Array:
    return as_values(items)
