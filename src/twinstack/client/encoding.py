"""Observations of one Datastream to bytes, a batch at a time.

A value is assembled from columns: constant pieces (keys, `Datastream`, the attributes that are the same for all) and
one list of pieces per varying field (time, result, attributes). Numbers are written by msgspec as one array and cut
at the commas, so the cost per record is one split and one join, not one object tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import repeat
from math import isfinite
from typing import Any, NamedTuple, NoReturn

import msgspec

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, InvalidRecord, InvalidResult, RecordTooLarge
from twinstack.core.observations import RESERVED_KEYS, check_finite, check_json, check_result
from twinstack.core.timestamps import US_PER_S, format_interval_us, format_us, parse_interval_us, parse_us

Timestamp = str | int | float | datetime

STANDARD_ATTRIBUTES = frozenset({"parameters", "resultQuality", "validTime"})
"""Properties of an Observation that need no declaration in `additional_attributes`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_json = msgspec.json.Encoder().encode
_Column = bytes | list[bytes]
_TIME, _RESULT_TIME, _RESULT = b'{"phenomenonTime":"', b'","resultTime":"', b'","result":'


class Same(NamedTuple):
    """An attribute that has one value for all records of a batch."""

    value: Any


def timestamp_us(value: Timestamp) -> int:
    """Microseconds since 1970 UTC; a datetime without zone is UTC. Errors: InvalidTimestamp."""
    if isinstance(value, datetime):
        return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH) // _US
    return parse_us(value)


def format_times(instants_us: Iterable[int]) -> list[bytes]:
    """ISO 8601 in UTC, each as `format_us` writes it; instants of one minute share the formatting."""
    return [_format_time(us) for us in instants_us]


def _format_time(us: int) -> bytes:
    minute, rest = divmod(us, 60 * US_PER_S)
    second, rest = divmod(rest, US_PER_S)
    ms, rest = divmod(rest, 1_000)
    if rest:
        return _minute(minute) + _SECOND[second] + _MS[ms] + _US_END[rest]
    return _minute(minute) + _SECOND[second] + _MS_END[ms]


@lru_cache(1_024)
def _minute(minute: int) -> bytes:
    return format_us(minute * 60 * US_PER_S)[:17].encode()


# Looked up: to format a number costs four times as much.
_SECOND = [b"%02d" % second for second in range(60)]
_MS = [b".%03d" % ms for ms in range(1_000)]
_MS_END = [b"Z", *((b".%03d" % ms).rstrip(b"0") + b"Z" for ms in range(1, 1_000))]
_US_END = [(b"%03d" % us).rstrip(b"0") + b"Z" for us in range(1_000)]


def _times(timestamps: Sequence[Timestamp]) -> list[bytes]:
    if set(map(type, timestamps)) == {float} and all(map(isfinite, timestamps)):  # type: ignore[arg-type]
        return format_times([round(t * US_PER_S) for t in timestamps])  # type: ignore[operator, arg-type]
    return [_time_or_interval(t) for t in timestamps]


def _time_or_interval(timestamp: Timestamp) -> bytes:
    if isinstance(timestamp, str) and "/" in timestamp:
        return format_interval_us(*parse_interval_us(timestamp)).encode()
    return _format_time(timestamp_us(timestamp))


class Encoder:
    """Encodes the observations of one Datastream (binding: a record on `.int`)."""

    def __init__(self, quantity: str, datastream: Mapping[str, Any], attributes: frozenset[str]) -> None:
        """`datastream` is the full entity with `@iot.id`, `name` and `observationType`; `attributes` are the names of
        the keyword arguments that may go into a record. Errors: InvalidInput for a name of the record itself."""
        self._quantity = quantity
        self._attributes = attributes | STANDARD_ATTRIBUTES
        if taken := sorted((attributes & RESERVED_KEYS) - STANDARD_ATTRIBUTES):
            raise InvalidInput(
                f"additional_attributes names {', '.join(taken)}, which every record has already.",
                fix="Use other names.",
            )
        self._observation_type = str(datastream.get("observationType", "OM_Observation"))
        self.log_key = str(datastream.get("log_key") or datastream["name"])
        reference = {"@iot.id": datastream["@iot.id"], "name": self.log_key}
        self._tail = b',"Datastream":' + _json(reference)
        self._end = self._tail + b"}"
        self._is_number = self._observation_type.endswith("OM_Measurement")
        self._encode_results = _RESULTS.get(self._observation_type.rsplit("/", 1)[-1], _any)

    def encode(
        self,
        results: Sequence[Any],
        timestamps: Sequence[Timestamp] | None,
        now_us: int,
        attributes: Mapping[str, Same | Sequence[Any]],
    ) -> list[bytes]:
        """One value per result, in order; `timestamps` None = `now_us` for all. All or nothing: one bad record and
        none is made. Errors: InvalidResult, InvalidTimestamp, InvalidInput, RecordTooLarge."""
        count = len(results)
        if timestamps is not None and len(timestamps) != count:
            raise _uneven("timestamps", len(timestamps), count)
        now = _format_time(now_us)
        columns: list[_Column] = [
            _TIME,
            now if timestamps is None else _times(timestamps),
            _RESULT_TIME + now + _RESULT,
            self._results(results),
            self._tail,
        ]
        for name, value in attributes.items():
            self._check_attribute(name)
            columns.append(b',"' + name.encode() + b'":')
            columns.append(self._attribute(name, value, count))
        columns.append(b"}")
        values = _join(columns, count)
        if values and (largest := max(map(len, values))) > limits.RECORD_VALUE_BYTES_MAX:
            raise RecordTooLarge(
                f"A record of '{self._quantity}' has {largest} bytes, at most {limits.RECORD_VALUE_BYTES_MAX} fit.",
                fix="Send large results as a link, or in parts.",
                bytes=largest,
            )
        return values

    def encode_one(self, result: Any, timestamp: Timestamp | None, now_us: int) -> bytes:
        """`encode` for one record without attributes: a number needs no columns."""
        if self._is_number and type(result) is float and isfinite(result):
            now = _format_time(now_us)
            if timestamp is None:
                time = now
            elif type(timestamp) is float and isfinite(timestamp):
                time = _format_time(round(timestamp * US_PER_S))
            else:
                time = _time_or_interval(timestamp)
            return b"".join((_TIME, time, _RESULT_TIME, now, _RESULT, _json(result), self._end))
        return self.encode((result,), None if timestamp is None else (timestamp,), now_us, {})[0]

    def _results(self, results: Sequence[Any]) -> list[bytes]:
        try:
            return self._encode_results(results)
        except (_Unfit, InvalidInput, TypeError, ValueError, OverflowError, RecursionError):
            # the fast way only knows that something is wrong; this one says what
            self._refuse(results)

    def _refuse(self, results: Sequence[Any]) -> NoReturn:
        for place, result in enumerate(results):
            where = f" (record {place + 1} of {len(results)})" if len(results) > 1 else ""
            try:
                checked = check_result(result, self._observation_type, self._quantity)
                check_finite(checked)
                check_json(checked)
                _json(checked)
            except InvalidResult as error:
                raise InvalidResult(f"{error.message}{where}", fix=error.fix, quantity=self._quantity) from None
            except (InvalidRecord, TypeError, ValueError, OverflowError, RecursionError) as error:
                raise InvalidResult(
                    f"The result of '{self._quantity}'{where} cannot be written as JSON: {error}",
                    fix="Send numbers, texts, true, false, null, lists and dicts with text keys.",
                    quantity=self._quantity,
                ) from None
        raise InvalidResult(f"The results of '{self._quantity}' cannot be written as JSON.", quantity=self._quantity)

    def _check_attribute(self, name: str) -> None:
        if name not in self._attributes:
            known = ", ".join(sorted(self._attributes - STANDARD_ATTRIBUTES)) or "none"
            raise InvalidInput(
                f"'{name}' is no attribute of this client (declared: {known}).",
                fix=f'Declare it: DigitalTwinClient(..., additional_attributes="{name}").',
                attribute=name,
            )

    def _attribute(self, name: str, value: Same | Sequence[Any], count: int) -> _Column:
        items: Sequence[Any] = (value.value,) if isinstance(value, Same) else value
        if not isinstance(value, Same) and len(items) != count:
            raise _uneven(f"'{name}'", len(items), count)
        try:
            encoded = _any(items)
        except (InvalidResult, InvalidRecord, TypeError, ValueError, OverflowError, RecursionError) as error:
            said = error.message if isinstance(error, InvalidInput) else str(error)
            raise InvalidInput(f"The attribute '{name}' cannot be written as JSON: {said}", attribute=name) from None
        return encoded[0] if isinstance(value, Same) else encoded


def _join(columns: list[_Column], count: int) -> list[bytes]:
    """Row-wise concatenation; neighbouring constants are joined once before."""
    merged: list[_Column] = []
    for column in columns:
        if isinstance(column, bytes) and merged and isinstance(merged[-1], bytes):
            merged[-1] += column
        else:
            merged.append(column)
    if count == 1:
        return [b"".join(c if isinstance(c, bytes) else c[0] for c in merged)]
    rows = zip(*(repeat(c, count) if isinstance(c, bytes) else c for c in merged), strict=True)
    return list(map(b"".join, rows))


class _Unfit(Exception):
    pass


def _numbers(results: Sequence[Any]) -> list[bytes]:
    kinds = set(map(type, results))
    if kinds == {int}:
        results = list(map(float, results))
    elif kinds != {float}:
        if not kinds <= {int, float}:
            results = [_plain_number(r) for r in results]
        results = list(map(float, results))
    if not all(map(isfinite, results)):
        raise _Unfit
    return _json(results)[1:-1].split(b",") if results else []


def _plain_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Unfit
    return value


def _only(kind: type) -> Callable[[Sequence[Any]], list[bytes]]:
    def encode(results: Sequence[Any]) -> list[bytes]:
        if not all(type(r) is kind for r in results):
            raise _Unfit
        if kind is str:
            return list(map(_json, results))
        return _json(list(results))[1:-1].split(b",") if results else []

    return encode


def _any(results: Sequence[Any]) -> list[bytes]:
    if set(map(type, results)) == {float} and all(map(isfinite, results)):
        return _numbers(results)
    for result in results:
        check_finite(result)
        check_json(result)
    return list(map(_json, results))


_RESULTS: dict[str, Callable[[Sequence[Any]], list[bytes]]] = {
    "OM_Measurement": _numbers,
    "OM_CountObservation": _only(int),
    "OM_TruthObservation": _only(bool),
    "OM_CategoryObservation": _only(str),
}


def _uneven(what: str, has: int, wanted: int) -> InvalidInput:
    return InvalidInput(
        f"{what} has {has} values for {wanted} results.", fix="Give one value per result, or one value for all."
    )
