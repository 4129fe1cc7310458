"""Columns as compact bytes for the state topic: a version byte, then msgpack with raw little-endian arrays.

Nothing that is read is executed; whatever is not well-formed is a CorruptState.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from twinstack.core.errors import CorruptState
from twinstack.query.streamsql.kinds import normal
from twinstack.streams.operators.seam import Array, Integers, as_values, objects

VERSION = 1
_WIDTHS: dict[int, np.dtype[Any]] = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<i8")}
_FIX = "Reset the app's state, or deploy the query as a new revision that reads from the beginning."
_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder()


def pack(content: Any) -> bytes:
    return bytes((VERSION,)) + _encoder.encode(content)


def unpack(key: bytes, record: bytes, read: Callable[[Any], Any]) -> Any:
    """`read` of what `pack` was given. Errors: CorruptState, whatever is wrong with the record."""
    name = key.decode(errors="replace")
    if record[:1] != bytes((VERSION,)):
        found = f"version {record[0]}" if record else "no bytes"
        raise CorruptState(f"The state record '{name}' has {found}; this program reads {VERSION}.", fix=_FIX, key=name)
    try:
        return read(_decoder.decode(memoryview(record)[1:]))
    except (msgspec.DecodeError, ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise damaged(key, error) from error


def damaged(key: bytes, error: Exception) -> CorruptState:
    """The error of a state record whose content does not fit."""
    name = key.decode(errors="replace")
    return CorruptState(f"The state record '{name}' is damaged: {error}.", fix=_FIX, key=name)


def pack_integers(values: Integers) -> list[Any]:
    """[least, width, bytes]: the distances from the least value in as few bytes as they fit into."""
    if not len(values):
        return [0, 1, b""]
    least, most = int(values.min()), int(values.max())
    spread = most - least
    for width in (1, 2, 4):
        if spread < 256**width:
            return [least, width, (values - least).astype(_WIDTHS[width]).tobytes()]
    return [0, 8, values.astype("<i8").tobytes()]


def unpack_integers(packed: Sequence[Any], n: int) -> Integers:
    least, width, raw = packed
    values: Integers = _exactly(np.frombuffer(raw, _WIDTHS[width]), n).astype(np.int64) + least
    return values


def pack_column(values: Array) -> list[Any]:
    """[kind, content]; objects that are all of one type of number become that type."""
    if values.dtype == np.object_:
        items = values.tolist()
        kinds = set(map(type, items))
        if kinds == {str} or kinds == {bytes}:
            return _pack_texts("s" if str in kinds else "b", items)
        values = as_values(items)
    if values.dtype == np.float64:
        return ["f", values.astype("<f8", copy=False).tobytes()]
    if values.dtype == np.int64:
        return ["i", pack_integers(values)]
    return ["o", [normal(item) for item in values.tolist()]]


def unpack_column(packed: Sequence[Any], n: int) -> Array:
    kind, content = packed
    if kind == "f":
        return _exactly(np.frombuffer(content, "<f8"), n).astype(np.float64)
    if kind == "i":
        return unpack_integers(content, n)
    if kind in ("s", "b"):
        return _unpack_texts(kind, content, n)
    if kind == "o":
        return _exactly(objects(content), n)
    raise ValueError(f"unknown kind of column {kind!r}")


def pack_bytes(items: Sequence[bytes]) -> Any:
    return _pack_texts("b", items)[1]


def unpack_bytes(content: Any, n: int) -> list[bytes]:
    return list(_unpack_texts("b", content, n))


def _pack_texts(kind: str, items: Sequence[Any]) -> list[Any]:
    """[kind, [texts, codes]], codes None where few texts repeat (ids): then there is one text an item."""
    distinct = list(dict.fromkeys(items))
    if 2 * len(distinct) > len(items):
        return [kind, [items, None]]
    code = dict(zip(distinct, range(len(distinct)), strict=True))
    return [kind, [distinct, pack_integers(np.fromiter(map(code.__getitem__, items), np.int64, len(items)))]]


def _unpack_texts(kind: str, content: Any, n: int) -> Array:
    texts, codes = content
    wanted = str if kind == "s" else bytes
    if not all(isinstance(text, wanted) for text in texts):
        raise ValueError("a text is of the wrong type")
    if codes is None:
        return _exactly(objects(texts), n)
    places = unpack_integers(codes, n)
    if places.min(initial=0) < 0:
        raise ValueError("a code is negative")
    return objects(texts)[places]


def _exactly(values: Array, n: int) -> Array:
    if len(values) != n:
        raise ValueError(f"{len(values)} values where {n} belong")
    return values
