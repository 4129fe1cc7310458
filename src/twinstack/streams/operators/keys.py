"""Keys: the values of ON or GROUP BY as bytes, such that equal values have equal bytes and each decodes again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from twinstack.core.errors import CorruptState

_EXACT = 2.0**63


def encode_key(values: Sequence[Any]) -> bytes | None:
    """None if a value is NULL: NULL equals nothing. A FLOAT that is a whole number has the bytes of the INT, because
    the language compares them exactly; -0.0 is 0. Values are None, bool, int, float (finite), str, or what JSON has."""
    if any(value is None for value in values):
        return None
    return _encoder.encode([_whole(value) if isinstance(value, float) else value for value in values])


def _whole(value: float) -> float:
    return int(value) if value.is_integer() and -_EXACT <= value < _EXACT else value


def encode_group(values: Sequence[Any]) -> bytes:
    """As `encode_key`, with NULL as a value: GROUP BY makes one group of all rows without a value."""
    key = encode_key([_NULL if value is None else value for value in values])
    assert key is not None
    return key


def decode_key(key: bytes) -> tuple[Any, ...]:
    """The values behind a key of either function. Errors: CorruptState."""
    try:
        values = _decoder.decode(key)
    except msgspec.DecodeError as error:
        raise CorruptState("A key of the state is not well-formed.", fix="Reset the app.", key=key.hex()) from error
    return tuple(None if value == _NULL else value for value in values)


_NULL = msgspec.msgpack.Ext(0, b"")
_encoder = msgspec.msgpack.Encoder(order="sorted")
_decoder = msgspec.msgpack.Decoder(list)
