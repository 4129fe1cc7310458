"""Shapes: Structs made from a sample, strict enough that a value which decodes into one is proven plain.

msgspec is fast and lenient: it keeps the last of two equal keys and skips what no field asks for. A shape takes both
freedoms away: every key of the sample is a required field of a fixed type, unknown keys are refused at every level, and
the number of quotation marks of a value that fits is known (two a key, two a string). A value without a backslash that
fits with exactly this many holds no key twice: a duplicate only adds quotation marks.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec

Path = tuple[str, ...]
"""Keys from the record's top, for example ("Datastream", "name")."""

Signature = tuple[Any, ...]
"""What a sample looks like: ("object", (key, signature)...), ("list", signature), or one of the scalars."""

# Integers beyond 64 bits are left to the full parser, which bounds their digits.
_NUMBER = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | float
_SCALARS: dict[Signature, tuple[Any, int]] = {
    ("number",): (_NUMBER, 0),
    ("string",): (str, 2),
    ("bool",): (bool, 0),
    ("null",): (None, 0),
}
_NO_QUOTES = frozenset({("number",), ("bool",), ("null",)})
_FIELDS_MAX = 256


def signature_of(value: Any) -> Signature | None:
    """The signature of a decoded JSON value, None when its number of quotation marks could not be fixed."""
    if isinstance(value, bool):
        return ("bool",)
    if isinstance(value, int | float):
        return ("number",)
    if isinstance(value, str):
        return ("string",)
    if value is None:
        return ("null",)
    if isinstance(value, list):
        return _list_signature(value)
    fields: list[tuple[str, Signature]] = []
    if len(value) > _FIELDS_MAX:
        return None
    for key, item in value.items():
        signature = signature_of(item)
        if signature is None or not _plain_key(key):
            return None
        fields.append((key, signature))
    return ("object", *fields)


def _list_signature(items: list[Any]) -> Signature | None:
    signatures = {signature_of(item) for item in items} or {("number",)}
    if len(signatures) != 1:
        return None
    (signature,) = signatures
    if signature is None or (signature not in _NO_QUOTES and signature[0] != "list"):
        return None
    return ("list", signature)


def _plain_key(key: str) -> bool:
    return key.isascii() and key.isprintable() and '"' not in key and "\\" not in key


class Shape:
    """The Struct of one signature. `decode` raises msgspec.DecodeError for a value that does not fit."""

    __slots__ = ("_fields", "decode", "quotes")

    def __init__(self, signature: Signature) -> None:
        self._fields: dict[Path, tuple[str, Signature]] = {}
        struct, quotes = self._type(signature, (), "")
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(struct).decode
        self.quotes = quotes

    def _type(self, signature: Signature, path: Path, attribute: str) -> tuple[Any, int]:
        if signature[0] == "list":
            inner, _ = self._type(signature[1], (*path, "[]"), "")
            return list[inner], 0  # type: ignore[valid-type]
        if signature[0] != "object":
            return _SCALARS[signature]
        fields: list[tuple[str, Any]] = []
        rename: dict[str, str] = {}
        quotes = 0
        for i, (key, item) in enumerate(signature[1:]):
            name = _KNOWN.get((*path, key), f"f{i}")
            dotted = f"{attribute}.{name}" if attribute else name
            self._fields[(*path, key)] = (dotted, item)
            inner, inner_quotes = self._type(item, (*path, key), dotted)
            fields.append((name, inner))
            rename[name] = key
            quotes += 2 + inner_quotes
        struct = msgspec.defstruct("Shape", fields, rename=rename, forbid_unknown_fields=True, gc=False)
        return struct, quotes

    def kind(self, path: Path) -> str | None:
        """number, string, bool, null, list, object, or None where the shape has no such field."""
        found = self._fields.get(path)
        return found[1][0] if found else None

    def column(self, path: Path, structs: Sequence[Any]) -> list[Any]:
        """The field at `path` of each Struct; None where the shape has no such field."""
        found = self._fields.get(path)
        if found is None:
            return [None] * len(structs)
        fast = _FAST.get(found[0])
        column = fast(structs) if fast else list(map(operator.attrgetter(found[0]), structs))
        if found[1][0] == "object":
            return [msgspec.to_builtins(item) for item in column]
        return column


# Fields that nearly every plan reads have fixed attribute names: a comprehension costs half of an attrgetter.
_KNOWN: dict[Path, str] = {
    ("result",): "result",
    ("phenomenonTime",): "time",
    ("Datastream",): "stream",
    ("Datastream", "@iot.id"): "id",
    ("Datastream", "name"): "name",
}
_FAST: dict[str, Callable[[Sequence[Any]], list[Any]]] = {
    "result": lambda structs: [s.result for s in structs],
    "time": lambda structs: [s.time for s in structs],
    "stream.id": lambda structs: [s.stream.id for s in structs],
    "stream.name": lambda structs: [s.stream.name for s in structs],
}
