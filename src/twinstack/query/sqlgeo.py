"""The geo functions of `$filter` as SQL (OGC 18-088, 9.3.3.5.2): PostGIS's where it is there, else shapely's.

SQLite calls shapely by functions of its connections. PostgreSQL cannot: there a call becomes a look-up in a JSON object
(id of the place to value), a parameter that the reader makes before the statement runs, from the places whose bounding
boxes fit. So paging, counting and sorting stay the database's work. PostGIS computes what every library agrees on:
valid points, lines and areas of Locations and features; collections and broken geometries, at which it fails, and all
else stay with shapely. So the answers are the same everywhere.
A comparison of two shapes asks their bounding boxes first: those are columns, and most rows end there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import visitors
from sqlalchemy.sql.functions import FunctionElement

from twinstack.core.errors import InvalidInput, NotServed
from twinstack.query import geometry
from twinstack.query.sqlfunctions import compared
from twinstack.query.sqlvalues import Condition, Origin, Sql, Type, Value, text_of, truth_value

SQLITE_NAMES = {name: name.replace(".", "_") for name in geometry.NAMES}
BOX_FUNCTION = "geo_box"
_POSTGIS = {
    "geo.distance": "ST_Distance",
    "geo.length": "ST_Length",
    "geo.intersects": "ST_Intersects",
    **{name: f"ST_{name.removeprefix('st_').capitalize()}" for name in geometry.NAMES if name.startswith("st_")},
}


@dataclass(frozen=True, slots=True)
class LookUp:
    """What PostgreSQL needs computed: `parameter` is a JSON object of the values of `function` by the ids that `places`
    selects with the text of each geometry; or one value, when only literals take part (`places` is None).

    `arguments`: names of parameters with WKT, None for the place's own geometry; `pattern` that of st_relate."""

    parameter: str
    function: str
    arguments: tuple[str | None, ...]
    pattern: str | None
    places: sa.Select[Any] | None


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


class _GeoCall(FunctionElement[Any]):
    inherit_cache = False
    _traverse_internals = compared("function")
    name = "geo_call"

    def __init__(
        self, function: str, type_: sa.types.TypeEngine[Any], given: tuple[Value, ...], pattern: Value | None = None
    ) -> None:
        self.function = function
        self.type = type_
        self.given = given
        self.pattern = None if pattern is None or pattern.slot is None else pattern.slot.name
        shapes = [_shape_of(value, function) for value in given]
        super().__init__(*shapes, *([] if pattern is None else [sa.func.upper(text_of(pattern, function))]))

    @property
    def origin(self) -> Origin | None:
        """Where its places are kept. Errors: NotServed when they are not kept, or are of two kinds."""
        if any(value.origin is None and value.slot is None for value in self.given):
            raise NotServed(f"'{self.function}' of this property is not served.", fix="Give a location or a feature.")
        origins = {(o.name, o.id): o for value in self.given if (o := value.origin) is not None}
        if len(origins) > 1:
            raise NotServed(f"'{self.function}' of two kept geometries is not served.", fix="Give one as a literal.")
        return next(iter(origins.values()), None)

    @property
    def parameter(self) -> str:
        names = [value.origin.name if value.origin else value.slot.name if value.slot else "" for value in self.given]
        return "_".join(["geo", SQLITE_NAMES[self.function], *names, *([self.pattern] if self.pattern else [])])

    @property
    def fits_postgis(self) -> bool:
        """Whether PostGIS may compute it for places that are simple."""
        origin = self.origin
        literals = [value.slot for value in self.given if value.slot is not None]
        return origin is not None and origin.column is not None and all(slot.also == "simple" for slot in literals)

    def look_up(self, *, postgis: bool) -> LookUp:
        arguments = tuple(value.slot.name if value.slot is not None else None for value in self.given)
        origin = self.origin
        places = None if origin is None else origin.places
        if origin is not None and origin.box and self.function in _BOXED:
            other = next((value for value in self.given if value.slot is not None and value.box is not None), None)
            if places is not None and other is not None and other.box is not None:
                places = places.where(_meet(origin.box, other.box))
        if postgis and self.fits_postgis and places is not None and origin is not None:
            assert origin.places_column is not None
            places = places.where(sa.not_(_Simple(origin.places_column)))
        return LookUp(self.parameter, self.function, arguments, self.pattern, places)


@compiles(_GeoCall, "sqlite")
def _call_sqlite(element: _GeoCall, compiler: Any, **kw: Any) -> str:
    return f"{SQLITE_NAMES[element.function]}({compiler.process(element.clauses, **kw)})"


@compiles(_GeoCall, "postgresql")
def _call_postgresql(element: _GeoCall, compiler: Any, **kw: Any) -> str:
    origin = element.origin
    if origin is None or not element.fits_postgis or not has_postgis(compiler.dialect):
        return _looked_up(element, compiler, **kw)
    assert origin.column is not None
    column = compiler.process(origin.column, **kw)
    arguments = []
    for value in element.given:
        if value.slot is None:
            arguments.append(_geometry(column))
        else:
            wkt = compiler.process(sa.bindparam(value.slot.name, type_=sa.Text()), **kw)
            arguments.append(f"ST_GeomFromText({wkt}, 4326)")
    if element.pattern is not None:
        arguments.append(f"upper({compiler.process(sa.bindparam(element.pattern, type_=sa.Text()), **kw)})")
    call = f"{_POSTGIS[element.function]}({', '.join(arguments)})"
    # Without a bounding box it is no GeoJSON. In a CASE nothing is computed before its condition holds.
    west = compiler.process(_box_of(element), **kw)
    rest = f"WHEN {_simple(column)} THEN {call} ELSE {_looked_up(element, compiler, **kw)} END"
    return f"CASE WHEN {west} IS NULL THEN NULL {rest}"


def _box_of(element: _GeoCall) -> Sql:
    """West of the place in the query."""
    return next(value.box[0] for value in element.given if value.slot is None and value.box is not None)


def _looked_up(element: _GeoCall, compiler: Any, **kw: Any) -> str:
    type_ = "boolean" if isinstance(element.type, sa.Boolean) else "double precision"
    value = compiler.process(sa.bindparam(element.parameter, type_=sa.Text()), **kw)
    origin = element.origin
    if origin is not None:
        value = f"CAST({value} AS jsonb) ->> CAST({compiler.process(origin.id, **kw)} AS text)"
    return f"CAST({value} AS {type_})"


class _Simple(FunctionElement[bool]):
    """Whether a place in a JSON column is a valid point, line or area."""

    type = sa.Boolean()
    inherit_cache = True
    name = "is_simple"


@compiles(_Simple, "postgresql")
def _simple_postgresql(element: _Simple, compiler: Any, **kw: Any) -> str:
    return f"({_simple(compiler.process(element.clauses, **kw))})"


def _bare(column: str) -> str:
    """The geometry of a Feature or the geometry itself, without the system of coordinates that old GeoJSON names."""
    return f"((CASE {column} ->> 'type' WHEN 'Feature' THEN {column} -> 'geometry' ELSE {column} END) - 'crs')"


def _geometry(column: str) -> str:
    return f"ST_Force2D(ST_SetSRID(ST_GeomFromGeoJSON(CAST({_bare(column)} AS text)), 4326))"


def _simple(column: str) -> str:
    return (
        f"CASE WHEN jsonb_typeof({column}) <> 'object' THEN false"
        f" WHEN {_bare(column)} ->> 'type' IN ('Point', 'MultiPoint', 'LineString', 'MultiLineString') THEN true"
        f" WHEN {_bare(column)} ->> 'type' IN ('Polygon', 'MultiPolygon') THEN ST_IsValid({_geometry(column)})"
        " ELSE false END"
    )


def has_postgis(dialect: Dialect) -> bool:
    """What `note_postgis` found."""
    return bool(getattr(dialect, "has_postgis", False))


def note_postgis(engine: sa.Engine) -> None:
    """Looks once whether the database has PostGIS; statements compiled afterwards use it."""
    query = sa.text("SELECT count(*) FROM pg_extension WHERE extname = 'postgis'")
    with engine.connect() as connection:
        engine.dialect.has_postgis = connection.execute(query).scalar_one() > 0  # type: ignore[attr-defined]


def look_ups(statement: sa.ClauseElement, *, postgis: bool) -> Iterator[LookUp]:
    """What has to be computed before the statement can run on PostgreSQL."""
    known = set()
    for element in visitors.iterate(statement):
        if isinstance(element, _GeoCall) and element.parameter not in known:
            known.add(element.parameter)
            yield element.look_up(postgis=postgis)


def _shape_of(given: Value, what: str) -> Sql:
    if given.shape is None:
        raise InvalidInput(
            f"'{what}' wants a geometry, here stands {given.type}.",
            fix="Write location, feature, observedArea or geography'POINT (30 10)'.",
        )
    return given.shape


def _boxes_meet(a: Value, b: Value) -> Condition | None:
    return None if a.box is None or b.box is None else _meet(a.box, b.box)


def _meet(a: tuple[Sql, ...], b: tuple[Sql, ...]) -> Condition:
    (a_w, a_s, a_e, a_n), (b_w, b_s, b_e, b_n) = a, b
    return sa.and_(a_w <= b_e, a_e >= b_w, a_s <= b_n, a_n >= b_s)


def _measure(name: str) -> Callable[..., Value]:
    return lambda *shapes: Value(Type.NUMBER, _GeoCall(name, sa.Double(), shapes))


def _compare(name: str) -> Callable[[Value, Value], Value]:
    def compute(a: Value, b: Value) -> Value:
        exact = _GeoCall(name, sa.Boolean(), (a, b))
        meet = _boxes_meet(a, b)
        return truth_value(exact if meet is None else sa.and_(meet, exact))

    return compute


def _disjoint(a: Value, b: Value) -> Value:
    return truth_value(sa.not_(_compare("st_intersects")(a, b).sql))


def _relate(a: Value, b: Value, pattern: Value) -> Value:
    if pattern.slot is None:
        raise InvalidInput("The pattern of st_relate is a text.", fix="Example: st_relate(location, ..., 'T*****FF*').")
    return truth_value(_GeoCall("st_relate", sa.Boolean(), (a, b), pattern))


_BOXED = geometry.NAMES - {"geo.distance", "geo.length", "st_relate", "st_disjoint"}
GEO_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "geo.distance": _measure("geo.distance"),
    "geo.length": _measure("geo.length"),
    **{name: _compare(name) for name in _BOXED},
    "st_disjoint": _disjoint,
    "st_relate": _relate,
}
