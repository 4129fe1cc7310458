"""The kinds of values, and which of them meet.

A value is NULL, BOOL, INT (64 bits), FLOAT (finite), STRING, TIME (microseconds since 1970 UTC) or OBJECT (an array or
object of JSON). An expression has a set of possible kinds: `result` of a catalogue with numbers and texts is
{int, float, string}. NULL is possible everywhere and stands in no set; the literal NULL has the empty set.
"""

from __future__ import annotations

import math
from typing import Any

BOOL, INT, FLOAT, STRING, TIME, OBJECT = "bool", "int", "float", "string", "time", "object"

Kinds = frozenset[str]


def of(*kinds: str) -> Kinds:
    return frozenset(kinds)


NULL: Kinds = of()
NUMBER = of(INT, FLOAT)
ANY = of(BOOL, INT, FLOAT, STRING, OBJECT)
"""What a JSON value can be. TIME is no JSON value: only the columns `time` and `result_time` have it."""
BOOLS, STRINGS, TIMES = of(BOOL), of(STRING), of(TIME)

_WORDS = {
    BOOL: "true or false",
    INT: "a whole number",
    FLOAT: "a number",
    STRING: "a text",
    TIME: "a time",
    OBJECT: "an object",
}

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
FLOAT_EXACT_INT_MAX = 2**53
"""Up to here each integer has a float of its own."""


def meet(left: str, right: str) -> bool:
    """True if values of the two kinds compare: numbers with numbers, otherwise equal kinds; objects never."""
    return (left in NUMBER and right in NUMBER) or (left == right and left != OBJECT)


def comparable(left: Kinds, right: Kinds) -> bool:
    """False if no value of one can be compared with any value of the other."""
    return not left or not right or any(meet(a, b) for a in left for b in right)


def words(kinds: Kinds) -> str:
    """The kinds in an error's words."""
    if kinds == ANY:
        return "any value"
    if not kinds:
        return "NULL"
    shown = kinds - {INT} if kinds >= NUMBER else kinds
    return " or ".join(_WORDS[kind] for kind in sorted(shown))


def kind_of(value: Any) -> str | None:
    """The kind of a JSON value (`normal` must have seen it); None for NULL."""
    return None if value is None else _KIND_BY_TYPE.get(type(value), OBJECT)


_KIND_BY_TYPE: dict[type, str] = {bool: BOOL, int: INT, float: FLOAT, str: STRING}


def normal(value: Any) -> Any:
    """A JSON value as the language has it: an integer beyond 64 bits is a float, a number beyond a float NULL."""
    kind = type(value)
    if kind is int:
        if INT_MIN <= value <= INT_MAX:
            return value
        try:
            return float(value)
        except OverflowError:
            return None
    if kind is float:
        return value if math.isfinite(value) else None
    return value
