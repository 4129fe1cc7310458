"""Sums without rounding: integers over a power of two, so that no order and no grouping of the terms shows.

A double is mantissa * 2**exponent. Whole columns are split into mantissas and exponents, groups of rows are added as
integers, and only what is asked for in the end is rounded, once and correctly.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from twinstack.streams.operators.seam import Array, Integers

_LOW_BITS = 26
_USUAL = 2**127
_SHIFT_MAX, _ROWS_MAX = 20, 65_536
"""With mantissas of 27 + 26 bits these sums stay within 63 bits."""


class Exact(NamedTuple):
    """`values` (Python integers) times 2**unit."""

    values: Array
    unit: int

    def to_unit(self, unit: int) -> Array:
        """The integers for a unit that is at most this one."""
        return self.values if unit == self.unit else self.values << (self.unit - unit)


def mantissas(numbers: Array) -> tuple[Array, Integers]:
    """int64 mantissas and exponents of float64, int64 or (of both kinds) objects."""
    if numbers.dtype == np.int64:
        return numbers, np.zeros(len(numbers), np.int64)
    if numbers.dtype == np.object_:
        whole = np.fromiter((isinstance(number, int) for number in numbers), np.bool_, len(numbers))
        mantissa, exponent = np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.int64)
        mantissa[whole] = numbers[whole].astype(np.int64)
        mantissa[~whole], exponent[~whole] = mantissas(numbers[~whole].astype(np.float64))
        return mantissa, exponent
    fraction, exponent = np.frexp(numbers)
    return np.ldexp(fraction, 53).astype(np.int64), exponent.astype(np.int64) - 53


def group_sums(numbers: Array, starts: Integers) -> Exact:
    """The sum of each group of rows; a group begins at each of `starts` and none is empty."""
    mantissa, shift, unit = _aligned(numbers)
    if len(shift) <= _ROWS_MAX and shift.max() <= _SHIFT_MAX:
        high = np.add.reduceat((mantissa >> _LOW_BITS) << shift, starts)
        low = np.add.reduceat((mantissa & (1 << _LOW_BITS) - 1) << shift, starts)
        return Exact((high.astype(np.object_) << _LOW_BITS) + low.astype(np.object_), unit)
    return Exact(np.add.reduceat(mantissa.astype(np.object_) << shift.astype(np.object_), starts), unit)


def group_squares(numbers: Array, starts: Integers) -> Exact:
    """The sum of the squares of each group; its unit is twice that of `group_sums`."""
    mantissa, shift, unit = _aligned(numbers)
    terms = mantissa.astype(np.object_) << shift.astype(np.object_)
    return Exact(np.add.reduceat(terms * terms, starts), 2 * unit)


def _aligned(numbers: Array) -> tuple[Array, Integers, int]:
    """Mantissas, how far each is to be shifted, and the unit then."""
    mantissa, exponent = mantissas(numbers)
    some = mantissa != 0
    unit = int(exponent[some].min()) if some.any() else 0
    return mantissa, np.where(some, exponent - unit, 0), unit


def ratio(value: int, unit: int, count: int = 1) -> float | None:
    """value * 2**unit / count, correctly rounded; None if that is beyond a float."""
    try:
        return (value << unit) / count if unit >= 0 else value / (count << -unit)
    except OverflowError:
        return None


def deviation(count: int, total: int, squares: int, unit: int) -> float | None:
    """The standard deviation of a sample (n - 1); `squares` in twice the unit. None beyond a float."""
    variance = ratio(count * squares - total * total, 2 * unit, count * (count - 1))
    return None if variance is None else math.sqrt(variance)


def to_bytes(value: int) -> bytes:
    if -_USUAL <= value < _USUAL:
        return value.to_bytes(16, "little", signed=True)
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


def from_bytes(raw: bytes) -> int:
    return int.from_bytes(raw, "little", signed=True)
