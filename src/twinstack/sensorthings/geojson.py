"""GeoJSON (RFC 7946): is it well formed, and its bounding box. A geometry or a Feature, longitude first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from twinstack.core.errors import InvalidInput

# How deep the positions lie in `coordinates`, and how many the innermost list needs at least.
_RING_POINTS_MIN = 4
_SHAPES = {
    "Point": (0, 1),
    "MultiPoint": (1, 0),
    "LineString": (1, 2),
    "MultiLineString": (2, 2),
    "Polygon": (2, _RING_POINTS_MIN),
    "MultiPolygon": (3, _RING_POINTS_MIN),
}


class Box(NamedTuple):
    west: float
    south: float
    east: float
    north: float

    def union(self, other: Box) -> Box:
        return Box(
            min(self.west, other.west),
            min(self.south, other.south),
            max(self.east, other.east),
            max(self.north, other.north),
        )

    def polygon(self) -> dict[str, Any]:
        """The box as a GeoJSON Polygon, counter-clockwise (RFC 7946, 3.1.6)."""
        w, s, e, n = self
        return {"type": "Polygon", "coordinates": [[[w, s], [e, s], [e, n], [w, n], [w, s]]]}


def check(value: Any, name: str) -> None:
    """Errors: InvalidInput that says what is not GeoJSON."""
    for _ in _positions(value, name):
        pass


def box(value: Any) -> Box | None:
    """The bounding box, None when there is no position or `value` is not GeoJSON."""
    try:
        positions = list(_positions(value, ""))
    except InvalidInput:
        return None
    if not positions:
        return None
    xs, ys = [x for x, _ in positions], [y for _, y in positions]
    return Box(min(xs), min(ys), max(xs), max(ys))


def _positions(value: Any, name: str) -> Iterator[tuple[float, float]]:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "Feature":
        if value.get("geometry") is not None:
            yield from _positions(value["geometry"], name)
    elif kind == "FeatureCollection":
        yield from _members(value, "features", name)
    elif kind == "GeometryCollection":
        yield from _members(value, "geometries", name)
    elif isinstance(kind, str) and kind in _SHAPES:
        depth, points_min = _SHAPES[kind]
        yield from _nested(value.get("coordinates"), depth, points_min, name)
    else:
        raise _bad(name, "it is no GeoJSON geometry or Feature")


def _members(value: dict[str, Any], key: str, name: str) -> Iterator[tuple[float, float]]:
    members = value.get(key)
    if not isinstance(members, list):
        raise _bad(name, f"'{key}' is no array")
    for member in members:
        yield from _positions(member, name)


def _nested(value: Any, depth: int, points_min: int, name: str) -> Iterator[tuple[float, float]]:
    if depth == 0:
        if not isinstance(value, list) or len(value) < 2 or not all(map(_is_coordinate, value)):
            raise _bad(name, "a position is no [longitude, latitude]")
        yield float(value[0]), float(value[1])
        return
    if not isinstance(value, list):
        raise _bad(name, "'coordinates' are not nested as its type wants")
    if depth == 1 and len(value) < points_min:
        raise _bad(name, f"a line or ring has fewer than {points_min} positions")
    if depth == 1 and points_min == _RING_POINTS_MIN and value[0] != value[-1]:
        raise _bad(name, "a ring does not end where it begins")
    for item in value:
        yield from _nested(item, depth - 1, points_min, name)


def _is_coordinate(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no double holds
        return False


def _bad(name: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"'{name}' is not GeoJSON: {why}.",
        fix='Example: {"type": "Point", "coordinates": [13.04, 47.8]}; or use another encodingType.',
        property=name,
    )
