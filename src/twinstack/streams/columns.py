"""The columns of StreamSQL over a decoded batch: from the records when they are needed, or from the Datastreams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from twinstack.core.errors import InvalidTimestamp
from twinstack.core.timestamps import US_PER_S, parse_interval_us
from twinstack.query.streamsql import Column, Columns
from twinstack.query.streamsql.catalogue import METADATA
from twinstack.streams.context import Codes, SourceContext
from twinstack.streams.decode import Decoded
from twinstack.streams.shapes import Path

_EXACT_FLOAT_MAX = 2.0**53
_PLACES: dict[str, tuple[tuple[Path, ...], int]] = {
    # The record's attributes, else the Thing's Location; the first clients write 'attitude'.
    "longitude": ((("longitude",),), 0),
    "latitude": ((("latitude",),), 1),
    "altitude": ((("altitude",), ("attitude",)), 2),
}
_TIMES: dict[str, Path] = {"time": ("phenomenonTime",), "result_time": ("resultTime",)}


def columns_of(names: frozenset[str], decoded: Decoded, context: SourceContext, codes: Codes) -> Columns:
    """The columns `names` of a batch. `codes` as from SourceContext.resolve; a record without Datastream has NULL."""
    return Columns(decoded.n, {name: _column(name, decoded, context, codes) for name in names})


def _column(name: str, decoded: Decoded, context: SourceContext, codes: Codes) -> Column:
    if name in METADATA:
        return Column(context.column(name), None, "string", codes)
    if name in _TIMES:
        return Column(times_us(decoded.column(_TIMES[name])), None, "time")
    if name in _PLACES:
        return _place(name, decoded, context, codes)
    head, dot, rest = name.partition(".")
    return _values(decoded, (head, rest) if dot and head == "parameters" else (name,))


def _values(decoded: Decoded, path: Path) -> Column:
    items = decoded.column(path)
    if decoded.numeric(path):
        numbers = np.array(items)
        # Integers beside floats became floats: exact up to 2^53, beyond it each value keeps its own kind.
        if numbers.dtype.kind == "i":
            return Column(numbers, None, "int")
        if np.abs(numbers).max(initial=0.0) < _EXACT_FLOAT_MAX:
            return Column(numbers, None, "float")
    return Column(items)


def _place(name: str, decoded: Decoded, context: SourceContext, codes: Codes) -> Column:
    paths, axis = _PLACES[name]
    if decoded.numeric(paths[0]):
        return _values(decoded, paths[0])
    items = decoded.column(paths[0])
    for path in paths[1:]:
        items = [b if a is None else a for a, b in zip(items, decoded.column(path), strict=True)]
    if None in items:
        places = [d.location[axis] if d.location else None for d in context.datastreams]
        places.append(None)  # code -1
        items = [places[c] if a is None else a for a, c in zip(items, codes.tolist(), strict=True)]
    return Column(items)


def times_us(texts: Sequence[Any]) -> list[int | None]:
    """Microseconds since 1970 UTC of each text, of an interval its start; None for what is no timestamp."""
    return [_time_us(text) if isinstance(text, str) else None for text in texts]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_fromisoformat: Callable[[str], datetime] = datetime.fromisoformat


def _time_us(text: str) -> int | None:
    # The form that nearly every record has, at a fifth of the cost; anything else is read by core.timestamps.
    if _is_usual(text):
        try:
            since = _fromisoformat(text) - _EPOCH
            return (since.days * 86_400 + since.seconds) * US_PER_S + since.microseconds
        except ValueError:
            pass
    try:
        return parse_interval_us(text)[0]
    except InvalidTimestamp:
        return None


def _is_usual(text: str) -> bool:
    """YYYY-MM-DDTHH:MM:SS with up to 6 digits behind the point, and Z or an offset in minutes: what datetime and
    core.timestamps read alike."""
    if text[-1:] == "Z":
        end = len(text) - 1
    elif text[-6:-5] in ("+", "-") and text[-3] == ":":
        end = len(text) - 6
    else:
        return False
    whole = text[4:5] == "-" and text[10:11] == "T" and text[13:17:3] == "::" and text[5] != "W"
    return whole and (end == 19 or (20 < end <= 26 and text[19] == "."))
