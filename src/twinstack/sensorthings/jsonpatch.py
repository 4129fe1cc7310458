"""JSON Patch (RFC 6902) on plain JSON values: all operations or none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from twinstack.core.errors import InvalidInput

OPERATIONS_MAX = 1_000
_MISSING = object()


def apply(document: Any, operations: list[Any]) -> Any:
    """A changed copy of `document`. Errors: InvalidInput for a bad operation or path, or a `test` that fails."""
    if len(operations) > OPERATIONS_MAX:
        raise InvalidInput(f"The patch has more than {OPERATIONS_MAX} operations.", fix="Send it in parts.")
    result = copy.deepcopy(document)
    for number, operation in enumerate(operations):
        if not isinstance(operation, dict) or operation.get("op") not in _OPERATIONS:
            raise _bad(number, f"is none of {', '.join(_OPERATIONS)}")
        try:
            result = _OPERATIONS[operation["op"]](result, operation)
        except _Refused as refused:
            raise _bad(number, str(refused)) from None
    return result


class _Refused(Exception):
    pass


def _bad(number: int, why: str) -> InvalidInput:
    return InvalidInput(f"Operation {number} of the JSON Patch {why}.", fix="Nothing was changed; see RFC 6902.")


def _pointer(operation: dict[str, Any], member: str = "path") -> list[str]:
    text = operation.get(member)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise _Refused(f"has no JSON Pointer in '{member}'")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise _Refused("has no 'value'")
    return copy.deepcopy(operation["value"])


def _index(part: str, length: int) -> int:
    if not part.isascii() or not part.isdigit() or (part != "0" and part.startswith("0")) or len(part) > 9:
        raise _Refused(f"uses '{part[:40]}' as an index")
    if int(part) >= length:
        raise _Refused(f"reaches behind the end of an array ({part})")
    return int(part)


def _get(document: Any, parts: list[str]) -> Any:
    for part in parts:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(part, len(document))]
        else:
            raise _Refused(f"names '{part[:40]}', which is not there")
    return document


def _put(document: Any, parts: list[str], value: Any, *, insert: bool) -> Any:
    if not parts:
        return value
    target, last = _get(document, parts[:-1]), parts[-1]
    if isinstance(target, dict):
        if not insert and last not in target:
            raise _Refused(f"names '{last[:40]}', which is not there")
        target[last] = value
    elif isinstance(target, list) and insert:
        target.insert(len(target) if last == "-" else _index(last, len(target) + 1), value)
    elif isinstance(target, list):
        target[_index(last, len(target))] = value
    else:
        raise _Refused(f"names '{last[:40]}', which has no place there")
    return document


def _take(document: Any, parts: list[str]) -> Any:
    value = _get(document, parts)
    if not parts:
        raise _Refused("removes the whole entity")
    target = _get(document, parts[:-1])
    del target[int(parts[-1]) if isinstance(target, list) else parts[-1]]
    return value


def _add(document: Any, operation: dict[str, Any]) -> Any:
    return _put(document, _pointer(operation), _value(operation), insert=True)


def _replace(document: Any, operation: dict[str, Any]) -> Any:
    return _put(document, _pointer(operation), _value(operation), insert=False)


def _remove(document: Any, operation: dict[str, Any]) -> Any:
    _take(document, _pointer(operation))
    return document


def _move(document: Any, operation: dict[str, Any]) -> Any:
    source, target = _pointer(operation, "from"), _pointer(operation)
    if target[: len(source)] == source and target != source:
        raise _Refused("moves a value into itself")
    return _put(document, target, _take(document, source), insert=True)


def _copy(document: Any, operation: dict[str, Any]) -> Any:
    value = copy.deepcopy(_get(document, _pointer(operation, "from")))
    return _put(document, _pointer(operation), value, insert=True)


def _test(document: Any, operation: dict[str, Any]) -> Any:
    if not same(_get(document, _pointer(operation)), _value(operation)):
        raise _Refused("is a test that failed")
    return document


def same(a: Any, b: Any) -> bool:
    """Equality of JSON values: true is not 1, but 1 is 1.0 (RFC 6902, 4.6)."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def merge_body(before: dict[str, Any], after: Any) -> dict[str, Any]:
    """What a PATCH must send to make `after` of `before`: changed members, null for removed ones."""
    if not isinstance(after, dict):
        raise InvalidInput("The JSON Patch makes no object of the entity.", fix="Keep it an object.")
    changed = {key: value for key, value in after.items() if not same(before.get(key, _MISSING), value)}
    return changed | dict.fromkeys(before.keys() - after.keys())


_OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}
