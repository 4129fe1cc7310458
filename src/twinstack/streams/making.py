"""Making Observations of items: values, keys, headers of the records that go to the target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha1
from typing import Any

import msgspec

from twinstack.core import limits
from twinstack.core.errors import InvalidTimestamp
from twinstack.core.ids import NAMESPACE
from twinstack.core.timestamps import format_us
from twinstack.query.streamsql import Columns, compile_values
from twinstack.query.streamsql.checked import CheckedOutput
from twinstack.query.streamsql.kinds import TIMES

MADE_BYTES_MAX = limits.DERIVED_RECORD_BYTES_MAX - 64 * limits.KIB
_encode = msgspec.json.Encoder().encode


class Items:
    """The items of SELECT over a batch of rows, as the result and the parameters of Observations."""

    def __init__(self, output: CheckedOutput) -> None:
        items = (output.result, *output.parameters)
        self._values = compile_values([item.term for item in items])
        self._times = [item.term.kinds == TIMES for item in items]
        self._names = [item.name for item in output.parameters]

    def __call__(self, columns: Columns) -> tuple[list[Any], Sequence[dict[str, Any] | None], int]:
        """Results, parameters (None where the app has none), and the number of arithmetic NULLs."""
        values, arithmetic = self._values(columns)
        shown = [
            [_time(v) for v in column] if is_time else column
            for column, is_time in zip(values, self._times, strict=True)
        ]
        results = shown[0]
        if not self._names:
            return results, [None] * columns.n, arithmetic
        rows: Iterable[tuple[Any, ...]] = zip(*shown[1:], strict=True)
        return results, [dict(zip(self._names, row, strict=True)) for row in rows], arithmetic


def _time(us: int | None) -> str | None:
    try:
        return None if us is None else format_us(us)
    except InvalidTimestamp:
        return None


class _Made(msgspec.Struct, gc=False):
    """A record's value, keys in the order of the binding."""

    phenomenonTime: str | None  # noqa: N815
    resultTime: str | None  # noqa: N815
    result: Any
    Datastream: msgspec.Raw


class _MadeWith(_Made, gc=False):
    parameters: dict[str, Any]


def observation(
    phenomenon_time: str | None,
    result_time: str | None,
    result: Any,
    datastream: msgspec.Raw,
    parameters: dict[str, Any] | None,
) -> bytes:
    """The value of one record."""
    if parameters is None:
        return _encode(_Made(phenomenon_time, result_time, result, datastream))
    return _encode(_MadeWith(phenomenon_time, result_time, result, datastream, parameters))


class TimeTexts(dict[int | None, str | None]):
    """Instants as text: those of neighbouring rows repeat, so each is written once."""

    _MAX = 10_000

    def __missing__(self, us: int | None) -> str | None:
        if len(self) >= self._MAX:
            self.clear()
        text = self[us] = _time(us)
        return text


def ident_maker(uid: str) -> Callable[..., bytes]:
    """ts-id of what an app makes: the UUIDv5 of the app and of what makes it one of a kind (the sources' ids, or group
    and window start); as `core.ids.derived_id`, at a third of the cost."""
    begin = NAMESPACE.bytes + uid.encode()

    def make(*parts: bytes) -> bytes:
        h = sha1(b"\0".join((begin, *parts)), usedforsecurity=False).hexdigest()
        return f"{h[:8]}-{h[8:12]}-5{h[13:16]}-{_VARIANTS[h[16]]}{h[17:20]}-{h[20:32]}".encode()

    return make


_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
