"""Geometries of the geo functions, read and compared by shapely: planar on CRS84, longitude first, in degrees.

Every function here takes texts, WKT or GeoJSON (RFC 7946: a geometry, a Feature or a FeatureCollection), so that SQLite
can call it; what is no geometry gives None, SQL's null. PostGIS's functions of the same names give the same answers for
valid geometries. shapely is imported at the first use: it brings numpy, and most servers never need it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from twinstack.core.errors import InvalidInput

Number = int | float
_SRID = re.compile(r"\s*SRID\s*=\s*(\d+)\s*;", re.IGNORECASE)
_CRS84 = frozenset({"0", "4326"})
_KEPT_CHARS_MAX = 4096
_PATTERN = re.compile(r"[TF*012]{9}", re.IGNORECASE)
_EXAMPLE = "Example: geography'POINT (30 10)'; longitude first."


class Literal(NamedTuple):
    """A literal of a query: WKT as every database reads it, and its bounding box in degrees."""

    wkt: str
    west: float
    south: float
    east: float
    north: float
    simple: bool
    """Valid and no collection: every library answers the same about it."""


@lru_cache(maxsize=256)
def literal(text: str) -> Literal:
    """Errors: InvalidInput for text that is no WKT of a planar geometry with finite coordinates."""
    import numpy
    import shapely

    srid = _SRID.match(text)
    if srid is not None and srid.group(1) not in _CRS84:
        raise InvalidInput(f"SRID {srid.group(1)[:10]} is not served.", fix=f"Use degrees on CRS84. {_EXAMPLE}")
    try:
        with numpy.errstate(all="ignore"):  # 1e400 is refused below
            geometry = shapely.force_2d(shapely.from_wkt(text[srid.end() if srid else 0 :]))
    except (shapely.errors.ShapelyError, NotImplementedError, ValueError) as error:
        reason = str(error).partition(": ")[2] or "it is no WKT"
        raise InvalidInput(f"geography'{text[:60]}' cannot be read: {reason[:100]}.", fix=_EXAMPLE) from None
    west, south, east, north = map(float, geometry.bounds)
    if geometry.geom_type == "LinearRing" or not all(map(math.isfinite, (west, south, east, north))):
        raise InvalidInput(f"geography'{text[:60]}' is empty or has no finite coordinates.", fix=_EXAMPLE)
    simple = bool(geometry.is_valid) and geometry.geom_type != "GeometryCollection"
    return Literal(str(shapely.to_wkt(geometry, rounding_precision=-1)), west, south, east, north, simple)


def check_pattern(text: str) -> None:
    """Errors: InvalidInput for what is no DE-9IM pattern."""
    if not _PATTERN.fullmatch(text):
        raise InvalidInput(
            f"'{text[:20]}' is no pattern of st_relate.", fix="Nine of T F * 0 1 2, for example 'T*****FF*'."
        )


def read(text: str | None) -> Any:
    """The shapely geometry of a text, None when there is none."""
    if not isinstance(text, str):
        return None
    return _kept(text) if len(text) <= _KEPT_CHARS_MAX else _read(text)


def _read(text: str) -> Any:
    import shapely

    try:
        geometry = shapely.force_2d(shapely.from_geojson(text) if text[:1] == "{" else shapely.from_wkt(text))
    except (shapely.errors.ShapelyError, NotImplementedError, ValueError):
        return None
    if geometry.is_empty or not all(map(math.isfinite, geometry.bounds)):
        return None
    shapely.prepare(geometry)
    return geometry


# The literal of a query and the place of many Observations come again and again.
_kept = lru_cache(maxsize=2048)(_read)


def from_box(west: Number | None, south: Number | None, east: Number | None, north: Number | None) -> str | None:
    """WKT of a bounding box: a polygon, or the line or point to which it has shrunk (as PostGIS's ST_Envelope)."""
    if west is None or south is None or east is None or north is None:
        return None
    w, s, e, n = (repr(float(side)) for side in (west, south, east, north))
    if west == east and south == north:
        return f"POINT ({w} {s})"
    if west == east or south == north:
        return f"LINESTRING ({w} {s}, {e} {n})"
    return f"POLYGON (({w} {s}, {w} {n}, {e} {n}, {e} {s}, {w} {s}))"


def _distance(a: Any, b: Any) -> float | None:
    distance = float(a.distance(b))
    return distance if math.isfinite(distance) else None


def _length(a: Any) -> float:
    """Of lines only, as ST_Length: the outline of an area is its perimeter."""
    if a.geom_type == "GeometryCollection":
        return math.fsum(_length(part) for part in a.geoms)
    return float(a.length) if a.geom_type in ("LineString", "MultiLineString") else 0.0


def _predicate(name: str) -> Callable[[Any, Any], bool]:
    return lambda a, b: bool(getattr(a, name)(b))


_FUNCTIONS: dict[str, Callable[..., Number]] = {
    "geo.distance": _distance,  # type: ignore[dict-item]
    "geo.length": _length,
    "geo.intersects": _predicate("intersects"),
    **{
        f"st_{name}": _predicate(name)
        for name in ("equals", "disjoint", "touches", "within", "overlaps", "crosses", "intersects", "contains")
    },
    "st_relate": lambda a, b, pattern: bool(a.relate_pattern(b, pattern.upper())),
}
NAMES = frozenset(_FUNCTIONS)


def call(name: str, *texts: str | None) -> Number | None:
    """`name(...)` of texts; None when one of them is no geometry or the geometries are too broken to be compared."""
    import shapely

    extra = texts[2:]
    geometries = [read(text) for text in texts[:2]]
    if any(geometry is None for geometry in geometries):
        return None
    try:
        return _FUNCTIONS[name](*geometries, *extra)
    except shapely.errors.ShapelyError:
        return None
