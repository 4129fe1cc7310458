"""Arithmetic and comparison on arrays, with the same values as functions.py has on one row.

A kernel gives the values and a mask of the rows without a value (overflow, division by zero), or None for 'no such
row'. Only operations whose result IEEE 754 fixes to the last bit are here: for others (`^`, SIN) an array's routine and
one value's routine differ in the last bit, and a result must not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from twinstack.query.streamsql.functions import TIME_PARTS
from twinstack.query.streamsql.kinds import FLOAT, FLOAT_EXACT_INT_MAX, INT, INT_MIN, STRING
from twinstack.query.streamsql.vectors import Array, Mask

Result = tuple[str, Array, Mask | None]
"""Kind, values, and the rows without a value."""


def _finite(values: Array) -> Result:
    finite = np.isfinite(values)
    return FLOAT, values, None if finite.all() else ~finite


def _float(a: Array) -> Array:
    return a.astype(np.float64, copy=False)


def add(a: Array, b: Array) -> Result:
    if a.dtype.kind == b.dtype.kind == "i":
        total = a + b
        return INT, total, ((a ^ total) & (b ^ total)) < 0
    return _finite(_float(a) + _float(b))


def sub(a: Array, b: Array) -> Result:
    if a.dtype.kind == b.dtype.kind == "i":
        difference = a - b
        return INT, difference, ((a ^ b) & (a ^ difference)) < 0
    return _finite(_float(a) - _float(b))


def mul(a: Array, b: Array) -> Result:
    if a.dtype.kind != "i" or b.dtype.kind != "i":
        return _finite(_float(a) * _float(b))
    product = a * b
    # Far from the bound the float product tells, near it Python's own integers do.
    suspect = np.abs(_float(a) * _float(b)) >= 2.0**62
    bad = np.zeros(np.shape(product), np.bool_)
    if suspect.any():
        wide_a, wide_b = np.broadcast_arrays(a, b)
        exact = wide_a[suspect].astype(np.object_) * wide_b[suspect].astype(np.object_)
        bad[suspect] = (exact < INT_MIN) | (exact > -INT_MIN - 1)
    return INT, product, bad


def div(a: Array, b: Array) -> Result:
    return _finite(_float(a) / _float(b))


def mod(a: Array, b: Array) -> Result:
    if a.dtype.kind == b.dtype.kind == "i":
        zero = b == 0
        return INT, np.remainder(a, np.where(zero, 1, b)), zero
    return _finite(np.remainder(_float(a), _float(b)))


def square(a: Array) -> Result:
    return _finite(_float(a) * _float(a))


def negate(a: Array) -> Result:
    return (INT, -a, a == INT_MIN) if a.dtype.kind == "i" else (FLOAT, -a, None)


def absolute(a: Array) -> Result:
    return (INT, np.abs(a), a == INT_MIN) if a.dtype.kind == "i" else (FLOAT, np.abs(a), None)


def plus(a: Array) -> Result:
    return (INT if a.dtype.kind == "i" else FLOAT), a, None


def floor(a: Array) -> Result:
    return plus(a) if a.dtype.kind == "i" else (FLOAT, np.floor(a), None)


def ceil(a: Array) -> Result:
    return plus(a) if a.dtype.kind == "i" else (FLOAT, np.ceil(a), None)


def round_half_away(a: Array) -> Result:
    if a.dtype.kind == "i":
        return plus(a)
    whole = np.trunc(a)
    return FLOAT, np.where(np.abs(a - whole) >= 0.5, whole + np.copysign(1.0, a), whole), None


def sqrt(a: Array) -> Result:
    return _finite(np.sqrt(_float(a)))


def _time_part(run: Callable[[Any], Any]) -> Callable[[Array], Result]:
    return lambda a: (INT, run(a), None)


KERNELS: Mapping[tuple[str, int], Callable[..., Result]] = {
    ("add", 2): add,
    ("sub", 2): sub,
    ("mul", 2): mul,
    ("div", 2): div,
    ("mod", 2): mod,
    ("square", 1): square,
    ("negate", 1): negate,
    ("plus", 1): plus,
    ("abs", 1): absolute,
    ("floor", 1): floor,
    ("ceil", 1): ceil,
    ("round", 1): round_half_away,
    ("sqrt", 1): sqrt,
    **{(name, 1): _time_part(run) for name, run in TIME_PARTS.items()},
}
"""By function and number of arguments; a function that is not here runs row by row."""

_UFUNCS: Mapping[str, Any] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def compare(op: str, kinds: tuple[str, str], a: Array, b: Array, valid: Mask | None) -> Array:
    """The comparison where both sides are valid; elsewhere the value means nothing."""
    ufunc = _UFUNCS[op]
    if kinds == (STRING, STRING):
        return _compare_texts(ufunc, a, b, valid)
    if a.dtype.kind != b.dtype.kind:
        return _compare_mixed(ufunc, a, b)
    result: Array = ufunc(a, b)
    return result


def _compare_texts(ufunc: Any, a: Array, b: Array, valid: Mask | None) -> Array:
    # Rows without a text hold other objects, which Python would refuse to order.
    if valid is None:
        return np.asarray(ufunc(a, b), np.bool_)
    result = np.zeros(valid.shape, np.bool_)
    left, right = (x if x.ndim == 0 else x[valid] for x in (a, b))
    result[valid] = np.asarray(ufunc(left, right), np.bool_)
    return result


def _compare_mixed(ufunc: Any, a: Array, b: Array) -> Array:
    """An INT beside a FLOAT: as floats where the integer has a float of its own, exactly for the others.

    A conversion keeps the order, so a large integer is only in doubt beside a large float.
    """
    result = np.asarray(ufunc(_float(a), _float(b)))
    ints, floats = (a, b) if a.dtype.kind == "i" else (b, a)
    doubt = (np.abs(floats) >= FLOAT_EXACT_INT_MAX) & (np.abs(_float(ints)) >= FLOAT_EXACT_INT_MAX)
    if doubt.any():
        left, right = (np.broadcast_to(x, doubt.shape)[doubt].astype(np.object_) for x in (a, b))
        result[doubt] = np.asarray(ufunc(left, right), np.bool_)
    return result
