"""The observation on the log: strict decoding and encoding of one record's value (binding: a record on `.int`).

A value is one UTF-8 JSON object. What `decode` accepts is what every reader would understand the same way: duplicate
keys, NaN, a second text behind the first, lone surrogates and numbers beyond a double are `InvalidRecord` with a
`reason`, because two readers could otherwise take two different results from one record.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec

from twinstack.core import limits
from twinstack.core.errors import InvalidRecord, InvalidResult, RecordTooLarge

RESERVED_KEYS = frozenset(
    {"phenomenonTime", "resultTime", "result", "Datastream", "parameters", "resultQuality", "validTime"}
)

_encode = msgspec.json.Encoder().encode
_INT_DIGITS_MAX = 400
_REGISTRY_PREFIX_BYTES = 5


def decode(value: bytes) -> dict[str, Any]:
    """The JSON object in `value`, parsed in full; a schema registry's prefix (byte 0, schema id) may stand before it.

    Errors: InvalidRecord (reason: empty, encoding, json, duplicate_key, number, depth, not_object, size).
    """
    parsed = decode_json(value)
    if not isinstance(parsed, dict):
        raise InvalidRecord("The value is JSON but no object.", reason="not_object")
    return parsed


def decode_json(value: bytes, bytes_max: int = limits.DERIVED_RECORD_BYTES_MAX) -> Any:
    """The JSON value in `value`, object or not, as strictly as `decode`. Errors: InvalidRecord."""
    if len(value) > bytes_max:
        raise InvalidRecord(f"The value has {len(value)} bytes.", reason="size")
    if value[:1] == b"\0":
        value = value[_REGISTRY_PREFIX_BYTES:]
    try:
        text = value.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise InvalidRecord(f"The value is not UTF-8 (byte {error.start}).", reason="encoding") from None
    if not text.strip():
        raise InvalidRecord("The value is empty.", reason="empty")
    try:
        parsed = _DECODER.decode(text)
    except RecursionError:
        raise InvalidRecord("The value is nested too deep.", reason="depth") from None
    except json.JSONDecodeError as error:
        raise InvalidRecord(f"The value is not one JSON text: {error.msg} at {error.pos}.", reason="json") from None
    # Half a character can only come from an escape (the text is valid UTF-8), and depth needs brackets: looking for
    # both is much cheaper than walking through every value.
    if "\\u" in text:
        check_json(parsed)
    elif text.count("{") + text.count("[") > limits.JSON_DEPTH_MAX and _too_deep(parsed):
        raise InvalidRecord(f"The value is nested deeper than {limits.JSON_DEPTH_MAX}.", reason="depth")
    return parsed


def _too_deep(value: Any) -> bool:
    """Whether objects and arrays are nested beyond the limit: level by level, since most values hold none."""
    level = [value]
    for _ in range(limits.JSON_DEPTH_MAX):
        items = [item for outer in level for item in (outer.values() if type(outer) is dict else outer)]
        level = [item for item in items if type(item) is dict or type(item) is list]
        if not level:
            return False
    return True


def check_json(value: Any, depth: int = 1) -> None:
    """Refuses what JSON text can hold and readers take differently: depth, lone surrogates."""
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                raise InvalidRecord("The value holds half a character (a lone surrogate).", reason="encoding") from None
    elif isinstance(value, dict | list):
        if depth > limits.JSON_DEPTH_MAX:
            raise InvalidRecord(f"The value is nested deeper than {limits.JSON_DEPTH_MAX}.", reason="depth")
        if isinstance(value, dict):
            for key, item in value.items():
                check_json(key, depth)
                check_json(item, depth + 1)
        else:
            for item in value:
                check_json(item, depth + 1)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InvalidRecord(f"The key '{twice[:80]}' stands twice in one object.", reason="duplicate_key")
    return result


def _int(text: str) -> int:
    if len(text) > _INT_DIGITS_MAX:
        raise InvalidRecord("The value holds a number that no reader can hold.", reason="number")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidRecord(f"The number {text[:40]} is beyond a double.", reason="number")
    return number


def _constant(text: str) -> NoReturn:
    raise InvalidRecord(f"The value holds {text}, which is not JSON.", reason="number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_int, parse_float=_float, parse_constant=_constant, strict=True
)


def encode(
    *,
    phenomenon_time: str,
    result_time: str | None,
    result: Any,
    datastream_id: int,
    log_key: str,
    attributes: Mapping[str, Any] | None = None,
) -> bytes:
    """The value of one record, keys in the order of the binding.

    Errors: InvalidResult for a number that is not finite, RecordTooLarge beyond 900 KiB.
    """
    record: dict[str, Any] = {
        "phenomenonTime": phenomenon_time,
        "resultTime": result_time,
        "result": result,
        "Datastream": {"@iot.id": datastream_id, "name": log_key},
    }
    if attributes:
        record.update(attributes)
    check_finite(result)
    for item in attributes.values() if attributes else ():
        check_finite(item)
    value = _encode(record)
    if len(value) > limits.RECORD_VALUE_BYTES_MAX:
        raise RecordTooLarge(
            f"The record has {len(value)} bytes, at most {limits.RECORD_VALUE_BYTES_MAX} fit.",
            fix="Send large results as a link, or in parts.",
            bytes=len(value),
        )
    return value


def check_finite(value: Any) -> None:
    """JSON has no NaN and no infinity, anywhere in a result or attribute."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidResult(
                f"{value} is not a number that JSON can hold.", fix="Send null, or leave the record out."
            )
    elif isinstance(value, dict):
        for item in value.values():
            check_finite(item)
    elif isinstance(value, list | tuple):
        for item in value:
            check_finite(item)


OM = "http://www.opengis.net/def/observationType/OGC-OM/2.0/"
_RESULT_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "OM_Measurement": ((float, int), "a number"),
    "OM_CountObservation": ((int,), "an integer"),
    "OM_TruthObservation": ((bool,), "true or false"),
    "OM_CategoryObservation": ((str,), "a text"),
    "OM_Observation": ((object,), "any JSON value"),
    "OM_ComplexObservation": ((list,), "an array"),
}


def check_result(result: Any, observation_type: str, quantity: str) -> Any:
    """`result` as the observationType wants it (an int becomes a float for OM_Measurement). Errors: InvalidResult."""
    kind = observation_type.rsplit("/", 1)[-1]
    accepted, words = _RESULT_KINDS.get(kind, ((object,), "any JSON value"))
    fits = isinstance(result, accepted) and (not isinstance(result, bool) or bool in accepted or object in accepted)
    if not fits:
        shown = json.dumps(result, default=str)[:60]
        raise InvalidResult(
            f"The result {shown} of '{quantity}' is {_json_word(result)}, this Datastream takes {words}.",
            fix=f"Send {words} ({kind}).",
            quantity=quantity,
        )
    return float(result) if kind == "OM_Measurement" else result


def _json_word(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a truth value"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int | float):
        return "a number"
    return "an array" if isinstance(value, list) else "an object"
