"""What a name in `$filter` and `$orderby` means: properties to typed SQL values, links to joins.

A path through to-one links becomes LEFT JOINs of the query. Through a to-many link the whole condition that uses it
moves into one EXISTS: it is true if some linked entity makes it true, conditions that share the path speak of the
same entity, and no entity is returned twice (OGC 18-088, 9.3.3.5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from twinstack.core.errors import InvalidInput
from twinstack.query import sql, tree
from twinstack.query.sql import Type, Value
from twinstack.query.sqlgeo import Shape
from twinstack.query.sqlvalues import Origin
from twinstack.query.tree import Expr
from twinstack.sensorthings.joins import Alias, Condition, alias, fixed
from twinstack.sensorthings.model import BY_NAME, ByColumn, ByTable, ByTarget, EntityType, Link, Property, PropertyType
from twinstack.sensorthings.sqljson import JsonMember, ResultText, json_instant, json_value
from twinstack.sensorthings.store import tables
from twinstack.sensorthings.versions import ApiVersion

JOINS_MAX = 16
_PLACES = frozenset({"location", "feature", "observedArea"})


@dataclass(slots=True)
class _Joined:
    """One alias of a path; `hops` are the (table, ON) pairs that lead to it, `many` if it may have several rows."""

    entity: EntityType
    alias: Alias
    hops: list[tuple[Alias, Condition]]
    many: bool


class Scope:
    """The names of one entity type within one SELECT; collects the joins that its paths need."""

    def __init__(self, entity: EntityType, version: ApiVersion, name: str = "e", *, database: str = "sqlite") -> None:
        self.entity = entity
        self.version = version
        self.table = alias(entity, name)
        self._name = name
        self._database = database
        self._joined: dict[tuple[str, ...], _Joined] = {}
        self._used: set[tuple[str, ...]] = set()
        self._stat: dict[str, tuple[Alias, Condition]] = {}

    # --- FROM -------------------------------------------------------------------------------------------------------
    def from_clause(self) -> sa.FromClause:
        """The entity's table with the joins of to-one paths; asked for when all conditions are made."""
        clause: sa.FromClause = self.table
        for stat, on in self._hops(many=False):
            clause = clause.outerjoin(stat, on)
        return clause

    def _hops(self, *, many: bool) -> list[tuple[Alias, Condition]]:
        hops: list[tuple[Alias, Condition]] = []
        owners = [(self.table, False), *((j.alias, j.many) for j in self._joined.values())]
        for path, joined in self._joined.items():
            if joined.many is many and path:
                hops += joined.hops
        hops += [self._stat[owner.name] for owner, is_many in owners if is_many is many and owner.name in self._stat]
        return hops

    def condition(self, expr: Expr) -> list[Condition]:
        """The conditions of a filter. Errors: InvalidInput."""
        plain: list[Condition] = []
        grouped: list[Condition] = []
        for part in expr.operands if isinstance(expr, tree.Chain) and expr.op == "and" else (expr,):
            self._used = set()
            condition = sql.condition(part, self.resolve)
            many = any(self._joined[path].many for path in self._used)
            (grouped if many else plain).append(condition)
        if grouped:
            source: sa.FromClause = sa.select(sa.literal(1).label("one")).subquery(f"{self._name}_one")
            for target, on in self._hops(many=True):
                source = source.outerjoin(target, on)
            inner = sa.select(sa.literal(1)).select_from(source).where(*grouped)
            plain.append(inner.correlate_except(*self._tables_of(many=True)).exists())
        return plain

    def _tables_of(self, *, many: bool) -> list[Alias]:
        return [target for target, _ in self._hops(many=many)]

    def order(self, expr: Expr) -> list[tuple[sa.ColumnElement[Any], bool]]:
        """Sort keys of an `$orderby` expression, each with its nullability; intervals sort by their start."""
        if isinstance(expr, tree.Literal):
            raise InvalidInput("$orderby by a constant orders nothing.", fix="Order by a property.")
        value = self.single(expr)
        if value.type is Type.GEO:
            raise InvalidInput("Geometries have no order.", fix="Order by geo.distance(location, geography'...').")
        if value.type is Type.ANY and self._database == "postgresql":
            return [(key, True) for key in value.order]
        return [(value.sql, value.nullable)]

    def single(self, expr: Expr) -> Value:
        """An expression that has one value for each entity. Errors: InvalidInput when it follows a to-many link."""
        self._used = set()
        value = sql.value(expr, self.resolve)
        if any(self._joined[path].many for path in self._used):
            raise InvalidInput("A link to many entities has no single value.", fix="Follow to-one links.")
        return value

    # --- names ------------------------------------------------------------------------------------------------------
    def resolve(self, parts: tuple[str, ...]) -> Value:
        entity, target = self.entity, self.table
        path: tuple[str, ...] = ()
        for index, part in enumerate(parts):
            link = entity.link(part, self.version.version)
            if link is None:
                return self._property(entity, target, parts[index:])
            path = (*path, part)
            joined = self._join(path, entity, target, link)
            entity, target = joined.entity, joined.alias
        raise InvalidInput(f"'{'/'.join(parts)}' is an entity, not a value.", fix=f"Write {'/'.join(parts)}/id.")

    def _join(self, path: tuple[str, ...], entity: EntityType, source: Alias, link: Link) -> _Joined:
        self._used.add(path)
        known = self._joined.get(path)
        if known is not None:
            return known
        if len(self._joined) >= JOINS_MAX:
            raise InvalidInput(f"More than {JOINS_MAX} links stand in one query.", fix="Ask in several requests.")
        target_type = BY_NAME[link.target]
        number = len(self._joined)
        target = alias(target_type, f"{self._name}_{number}")
        hops = _hops_of(link, source, target, tables_alias=f"{self._name}_{number}p")
        table, on = hops[-1]
        hops[-1] = (table, sa.and_(on, *fixed(target_type, target)))
        many = link.many or (len(path) > 1 and self._joined[path[:-1]].many)
        joined = _Joined(target_type, target, hops, many)
        self._joined[path] = joined
        return joined

    def _property(self, entity: EntityType, target: Alias, parts: tuple[str, ...]) -> Value:
        name, keys = parts[0], parts[1:]
        if name in ("id", self.version.id) and not keys:
            return Value(Type.NUMBER, target.c.id, nullable=False)
        p = entity.property(name)
        if p is None or p.since > self.version.version:
            raise InvalidInput(
                f"A {entity.name} has no '{'/'.join(parts)[:80]}'.",
                fix=f"It has id, {entity.names_of(self.version.version)}.",
                property=name,
            )
        if keys and p.type in (PropertyType.TEXT, PropertyType.INSTANT, PropertyType.INTERVAL):
            raise InvalidInput(f"'{name}' has no members.", fix=f"Write '{name}' alone.", property=name)
        return self.value(entity, p, target, keys)

    def value(self, entity: EntityType, p: Property, target: Alias, keys: tuple[str, ...] = ()) -> Value:
        match p.type:
            case PropertyType.TEXT:
                return Value(Type.TEXT, target.c[p.column], nullable=bool(target.c[p.column].nullable))
            case PropertyType.INSTANT:
                column = target.c[p.column]
                return Value(Type.TIME, column, nullable=bool(column.nullable))
            case PropertyType.INTERVAL:
                return self._interval(p, target)
            case PropertyType.RESULT:
                return json_value(target.c.extra, ("result", *keys)) if keys else _result(target)
            case PropertyType.EXTRA:
                return json_value(target.c.extra, (p.column, *keys))
            case PropertyType.EXTRA_INTERVAL:
                start = json_instant(target.c.extra, (p.column, "0"))
                end = json_instant(target.c.extra, (p.column, "1"))
                return Value(Type.TIME, start, sa.func.coalesce(end, start))
            case PropertyType.JSON:
                return self._json(p, target, keys)

    def _interval(self, p: Property, target: Alias) -> Value:
        source = target if p.table is None else self.stat(target)
        start, end = source.c[p.column], source.c[p.end_column or p.column]
        nullable = p.table is not None or bool(start.nullable)
        return Value(Type.TIME, start, sa.func.coalesce(end, start), nullable=nullable)

    def _json(self, p: Property, target: Alias, keys: tuple[str, ...]) -> Value:
        """A JSON property or a member of it; the whole one with its geometry, if it may be one."""
        given = json_value(target.c[p.column], keys)
        given = replace(given, origin=_origin(target, p, keys))
        if keys or p.name not in _PLACES:
            return given
        text = sa.type_coerce(target.c[p.column], sa.Text())
        place = target if p.name != "observedArea" else self.stat(target)
        west, south, east, north = (place.c[f"bbox_{side}"] for side in "wsen")
        if p.name == "observedArea":
            # Before the first Observation it is what the client gave.
            return replace(given, shape=sa.func.coalesce(Shape(west, south, east, north), Shape(text)))
        # Only what was GeoJSON when it was stored has a bounding box.
        shape = sa.case((west.is_not(None), Shape(text)), else_=None)
        return replace(given, shape=shape, box=(west, south, east, north))

    def stat(self, datastream: Alias) -> Alias:
        """The counters of a Datastream, joined when something of them is asked for."""
        known = self._stat.get(datastream.name)
        if known is None:
            table = tables.datastream_stat.alias(f"{datastream.name}_stat")
            known = self._stat[datastream.name] = (table, table.c.datastream_id == datastream.c.id)
        return known[0]


def _hops_of(link: Link, source: Alias, target: Alias, tables_alias: str) -> list[tuple[Alias, Condition]]:
    match link.join:
        case ByColumn(column):
            return [(target, target.c.id == source.c[column])]
        case ByTarget(column):
            return [(target, target.c[column] == source.c.id)]
        case ByTable(name, own, other):
            pairs = tables.BY_NAME[name].alias(tables_alias)
            on: Condition = pairs.c[own] == source.c.id
            if not link.many:  # the ObservedProperty of a Datastream
                on = sa.and_(on, pairs.c.rank == 0)
            return [(pairs, on), (target, target.c.id == pairs.c[other])]


def _origin(target: Alias, p: Property, keys: tuple[str, ...]) -> Origin:
    """Where all geometries of a property are, for look-ups (see `query.sqlgeo`)."""
    assert isinstance(target, sa.Alias)
    kept = target.element
    assert isinstance(kept, sa.Table)
    places = kept.alias("places")
    name = "_".join([kept.name, p.column, *keys])
    text = JsonMember("json", sa.type_coerce(places.c[p.column], sa.Text()), keys)
    nothing: sa.ColumnElement[Any] = sa.cast(sa.null(), sa.Double())
    if keys or p.name not in _PLACES:
        return Origin(name, target.c.id, sa.select(places.c.id, text, nothing, nothing, nothing, nothing))
    if p.name == "observedArea":
        stat = tables.datastream_stat.alias("places_stat")
        area = [stat.c[f"bbox_{side}"] for side in "wsen"]
        source = places.outerjoin(stat, stat.c.datastream_id == places.c.id)
        return Origin(name, target.c.id, sa.select(places.c.id, text, *area).select_from(source))
    box = tuple(places.c[f"bbox_{side}"] for side in "wsen")
    query = sa.select(places.c.id, text, nothing, nothing, nothing, nothing).where(box[0].is_not(None))
    return Origin(name, target.c.id, query, box, target.c[p.column], places.c[p.column])


def _result(target: Alias) -> Value:
    """A result: numbers (huge integers as doubles) in the column; texts too (SQLite keeps each value's type)."""
    kind, column = target.c.kind, target.c.result
    number = sa.case((sa.or_(kind.is_(None), kind == "i", kind == "j"), column), else_=None)
    text = sa.case((kind == "s", ResultText(column, target.c.extra)), else_=None)
    return Value(
        Type.ANY,
        column,
        number=number,
        text=text,
        boolean=sa.case((kind == "b", sa.cast(column, sa.Integer()) == 1), else_=None),
        is_null=sa.and_(kind.is_not(None), kind == "n"),
        order=(sa.case((kind == "s", 2), (kind == "n", None), (column.is_(None), None), else_=1), column, text),
    )
