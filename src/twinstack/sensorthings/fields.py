"""From raw columns to JSON text: one encoder per type of property. No object tree between database and answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from json.encoder import encode_basestring as quote
from typing import Any

import sqlalchemy as sa

from twinstack.core.errors import InvalidTimestamp
from twinstack.core.timestamps import format_us
from twinstack.sensorthings.model import EntityType, Property, PropertyType
from twinstack.sensorthings.scope import Scope
from twinstack.sensorthings.store.types import dumps
from twinstack.sensorthings.store.values import result_value

Raw = tuple[Any, ...]
Encoder = Callable[..., str]


@dataclass(frozen=True, slots=True)
class Field:
    """One property of an answer: the columns it is made of and what makes JSON text of their raw values.

    `optional`: left out when null, unless it is selected (then the encoder gives 'null').
    """

    name: str
    columns: tuple[sa.ColumnElement[Any], ...]
    encode: Encoder
    optional: bool = False


def field(scope: Scope, p: Property) -> Field:
    table = scope.table
    match p.type:
        case PropertyType.TEXT:
            return Field(p.name, (table.c[p.column],), text)
        case PropertyType.INSTANT:
            return Field(p.name, (table.c[p.column],), instant)
        case PropertyType.INTERVAL:
            source = table if p.table is None else scope.stat(table)
            # An Observation's instant has no end; a Datastream's extent is always an interval.
            encode = interval if p.table is None else extent
            return Field(p.name, (source.c[p.column], source.c[p.end_column or p.column]), encode)
        case PropertyType.RESULT:
            return Field(p.name, (table.c.result, table.c.kind, _raw(table.c.extra)), result)
        case PropertyType.EXTRA:
            return Field(p.name, (_raw(table.c.extra),), _extra(p.column), optional=True)
        case PropertyType.EXTRA_INTERVAL:
            return Field(p.name, (_raw(table.c.extra),), _extra_interval(p.column), optional=True)
        case PropertyType.JSON:
            return _json(scope, p)


def _json(scope: Scope, p: Property) -> Field:
    column = _raw(scope.table.c[p.column])
    if p.name != "observedArea":
        return Field(p.name, (column,), raw_json)
    stat = scope.stat(scope.table)
    box = tuple(stat.c[f"bbox_{side}"] for side in "wsen")
    return Field(p.name, (column, *box), observed_area)


def _raw(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """JSON stays the text that the store has."""
    return sa.type_coerce(column, sa.Text())


def text(value: str | None) -> str:
    return "null" if value is None else quote(value)


def raw_json(value: str | None) -> str:
    return "null" if value is None else value


def instant(us: int | None) -> str:
    return "null" if us is None else f'"{time_text(us)}"'


def interval(start: int | None, end: int | None) -> str:
    if start is None:
        return "null"
    return f'"{time_text(start)}"' if end is None else f'"{time_text(start)}/{time_text(end)}"'


def extent(start: int | None, end: int | None) -> str:
    return interval(start, start if end is None else end)


def time_text(us: int) -> str:
    try:
        return format_us(us)
    except InvalidTimestamp:
        # A stored instant beyond the years of ISO 8601 (it came by the log): still an answer, at the nearest bound.
        return "0001-01-01T00:00:00Z" if us < 0 else "9999-12-31T23:59:59.999999Z"


def result(value: Any, kind: str | None, extra: str | None) -> str:
    if kind is None:
        return repr(float(value))
    if kind == "i":
        return str(int(value))
    if kind == "s" and isinstance(value, str):
        return quote(value)
    return dumps(result_value(value, kind, None if extra is None else json.loads(extra)))


def _extra(member: str) -> Encoder:
    def encode(extra: str | None) -> str:
        return "null" if extra is None else dumps(json.loads(extra).get(member))

    return encode


def _extra_interval(member: str) -> Encoder:
    def encode(extra: str | None) -> str:
        pair = None if extra is None else json.loads(extra).get(member)
        return "null" if pair is None else interval(*pair)

    return encode


def observed_area(given: str | None, w: float | None, s: float | None, e: float | None, n: float | None) -> str:
    """The bounding box of the features as a GeoJSON Polygon; before the first one what the client gave."""
    if w is None or s is None or e is None or n is None:
        return raw_json(given)
    return dumps({"type": "Polygon", "coordinates": [[[w, s], [e, s], [e, n], [w, n], [w, s]]]})


def properties_of(entity: EntityType, scope: Scope, select: tuple[str, ...] | None) -> list[Field]:
    """The fields of an answer in the model's order; `select` None: all of the version."""
    chosen = [p for p in entity.properties_of(scope.version.version) if select is None or p.name in select]
    fields = [field(scope, p) for p in chosen]
    if select is None:
        return fields
    return [Field(f.name, f.columns, f.encode) for f in fields]
