"""The geo functions of `$filter` as SQL (OGC 18-088, 9.3.3.5.2): PostGIS's own, or shapely's registered with SQLite.

A comparison of two shapes asks their bounding boxes first: those are columns, and most rows end there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from twinstack.core.errors import InvalidInput
from twinstack.query import geometry
from twinstack.query.sqlfunctions import compared
from twinstack.query.sqlvalues import Condition, Sql, Type, Value, text_of, truth_value

SQLITE_NAMES = {name: name.replace(".", "_") for name in geometry.NAMES}
BOX_FUNCTION = "geo_box"
_POSTGIS = {
    "geo.distance": "ST_Distance",
    "geo.length": "ST_Length",
    "geo.intersects": "ST_Intersects",
    **{name: f"ST_{name.removeprefix('st_').capitalize()}" for name in geometry.NAMES if name.startswith("st_")},
}


class Shape(FunctionElement[Any]):
    """A geometry: of GeoJSON text, of WKT (`wkt`), or of a bounding box (four arguments)."""

    inherit_cache = False
    _traverse_internals = compared("wkt")
    name = "shape"

    def __init__(self, *parts: Sql, wkt: bool = False) -> None:
        self.wkt = wkt
        self.parts = len(parts)
        super().__init__(*parts)


@compiles(Shape, "sqlite")
def _shape_sqlite(element: Shape, compiler: Any, **kw: Any) -> str:
    text = compiler.process(element.clauses, **kw)
    return f"{BOX_FUNCTION}({text})" if element.parts == 4 else str(text)


@compiles(Shape, "postgresql")
def _shape_postgis(element: Shape, compiler: Any, **kw: Any) -> str:
    text = compiler.process(element.clauses, **kw)
    if element.wkt:
        return f"ST_GeomFromText({text}, 4326)"
    if element.parts == 4:
        # An envelope shrinks to a line or a point, as `geometry.from_box` does.
        return f"ST_Envelope(ST_MakeEnvelope({text}, 4326))"
    return f"twinstack_shape({text})"


class _GeoCall(FunctionElement[Any]):
    inherit_cache = False
    _traverse_internals = compared("function")
    name = "geo_call"

    def __init__(self, function: str, type_: sa.types.TypeEngine[Any], *args: Sql) -> None:
        self.function = function
        self.type = type_
        super().__init__(*args)


@compiles(_GeoCall, "sqlite")
def _call_sqlite(element: _GeoCall, compiler: Any, **kw: Any) -> str:
    return f"{SQLITE_NAMES[element.function]}({compiler.process(element.clauses, **kw)})"


@compiles(_GeoCall, "postgresql")
def _call_postgis(element: _GeoCall, compiler: Any, **kw: Any) -> str:
    return f"{_POSTGIS[element.function]}({compiler.process(element.clauses, **kw)})"


def _shape_of(given: Value, what: str) -> Sql:
    if given.shape is None:
        raise InvalidInput(
            f"'{what}' wants a geometry, here stands {given.type}.",
            fix="Write location, feature, observedArea or geography'POINT (30 10)'.",
        )
    return given.shape


def _boxes_meet(a: Value, b: Value) -> Condition | None:
    if a.box is None or b.box is None:
        return None
    (a_w, a_s, a_e, a_n), (b_w, b_s, b_e, b_n) = a.box, b.box
    return sa.and_(a_w <= b_e, a_e >= b_w, a_s <= b_n, a_n >= b_s)


def _measure(name: str) -> Callable[..., Value]:
    def compute(*shapes: Value) -> Value:
        return Value(Type.NUMBER, _GeoCall(name, sa.Double(), *(_shape_of(shape, name) for shape in shapes)))

    return compute


def _compare(name: str) -> Callable[[Value, Value], Value]:
    def compute(a: Value, b: Value) -> Value:
        exact = _GeoCall(name, sa.Boolean(), _shape_of(a, name), _shape_of(b, name))
        meet = _boxes_meet(a, b)
        return truth_value(exact if meet is None else sa.and_(meet, exact))

    return compute


def _disjoint(a: Value, b: Value) -> Value:
    meet = _compare("st_intersects")(a, b)
    return truth_value(sa.not_(meet.sql))


def _relate(a: Value, b: Value, pattern: Value) -> Value:
    if pattern.slot is None:
        raise InvalidInput("The pattern of st_relate is a text.", fix="Example: st_relate(location, ..., 'T*****FF*').")
    shapes = _shape_of(a, "st_relate"), _shape_of(b, "st_relate")
    return truth_value(_GeoCall("st_relate", sa.Boolean(), *shapes, sa.func.upper(text_of(pattern, "st_relate"))))


GEO_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "geo.distance": _measure("geo.distance"),
    "geo.length": _measure("geo.length"),
    **{name: _compare(name) for name in geometry.NAMES - {"geo.distance", "geo.length", "st_relate", "st_disjoint"}},
    "st_disjoint": _disjoint,
    "st_relate": _relate,
}
