"""What `3 km` would be in a Datastream's unit: for the fix of an error only, the language has no units in numbers."""

from __future__ import annotations

import math

_PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "h": 1e2, "c": 1e-2, "m": 1e-3, "u": 1e-6, "µ": 1e-6}
_BASES = ("m", "g", "s", "Hz", "Pa", "W", "V", "A", "J", "N", "l", "L", "lx", "Wh")
_FACTORS: dict[str, tuple[str, float]] = {
    **{prefix + base: (base, factor) for base in _BASES for prefix, factor in _PREFIXES.items()},
    "min": ("s", 60.0),
    "h": ("s", 3600.0),
    "d": ("s", 86_400.0),
    "bar": ("Pa", 1e5),
    "mbar": ("Pa", 1e2),
    "m/s": ("m/s", 1.0),
    "km/h": ("m/s", 1 / 3.6),
    "mi": ("m", 1609.344),
    "ft": ("m", 0.3048),
    "t": ("g", 1e6),
}
_CELSIUS = ("degC", "Cel", "°C", "C")
_FAHRENHEIT = ("degF", "[degF]", "°F", "F")


def in_unit(value: float, unit: str, target: str) -> float | None:
    """`value` of `unit` in `target`, or None if this table does not know it."""
    if unit in _CELSIUS + _FAHRENHEIT + ("K",):
        kelvin = _kelvin(value, unit)
        if target in _CELSIUS:
            return _short(kelvin - 273.15)
        if target in _FAHRENHEIT:
            return _short((kelvin - 273.15) * 1.8 + 32)
        return _short(kelvin) if target == "K" else None
    dimension, factor = _FACTORS.get(unit, ("", 1.0))
    target_dimension, target_factor = _FACTORS.get(target, ("?", 1.0))
    return _short(value * factor / target_factor) if dimension == target_dimension else None


def _kelvin(value: float, unit: str) -> float:
    if unit in _FAHRENHEIT:
        return (value - 32) / 1.8 + 273.15
    return value if unit == "K" else value + 273.15


def _short(value: float) -> float | None:
    return round(value, 9) if math.isfinite(value) else None
