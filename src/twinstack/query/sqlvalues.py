"""Typed SQL values, and how a value is read as another type: what comparison, arithmetic and functions share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from twinstack.core.errors import InvalidInput
from twinstack.query.odata.shape import Slot

Sql = sa.ColumnElement[Any]
Condition = sa.ColumnElement[bool]

DAY_US, HOUR_US, MINUTE_US, SECOND_US = 86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000
MIN_TIME_US, MAX_TIME_US = -62_135_596_800_000_000, 253_402_300_799_999_999
NOW = "now_us"
"""The parameter that holds the time of the request, in microseconds since 1970 UTC."""

_PRECEDENCE_OF_PRODUCTS = 8  # SQLAlchemy's, so that it sets parentheses around sums


class Type(StrEnum):
    NUMBER = "a number"
    TEXT = "a text"
    BOOL = "true or false"
    TIME = "a time"
    CLOCK = "a time of day"
    DURATION = "a duration"
    GEO = "a geometry"
    ANY = "any JSON value"
    NULL = "null"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the geometries of a property are kept.

    `id` is that of the row in the query. `places` selects, for all rows, the id, the text, and the four sides of the
    box that takes the text's place if they are not null; `box` are the sides of the kept bounding box within `places`.
    """

    name: str
    id: Sql
    places: sa.Select[Any]
    box: tuple[Sql, ...] = ()
    column: Sql | None = None
    """The JSON column in the query, and within `places`: only of checked GeoJSON, so that PostGIS can read it."""
    places_column: Sql | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """`sql` is the value, or the start of an interval whose end is `end`; null tests look at `sql`.

    Of Type.ANY `sql` is the sort key on SQLite and `order` are those on PostgreSQL, which sorts no mixed types;
    `number`, `text`, `boolean` are the value when it has that type, else null.
    """

    type: Type
    sql: Sql
    end: Sql | None = None
    number: Sql | None = None
    text: Sql | None = None
    boolean: Sql | None = None
    slot: Slot | None = None
    nullable: bool = True
    is_null: Condition | None = None
    """When `sql` can be null although the value is not."""
    shape: Sql | None = None
    """The value read as a geometry, if it may be one; `box` are its west, south, east and north where they are kept."""
    box: tuple[Sql, ...] | None = None
    order: tuple[Sql, ...] = ()
    origin: Origin | None = None


def truth_value(sql: Condition) -> Value:
    return Value(Type.BOOL, sql)


def time_of(slot: Slot, *, interval: bool) -> Value:
    start = sa.bindparam(f"{slot.name}t", type_=sa.BigInteger())
    end = sa.bindparam(f"{slot.name}e", type_=sa.BigInteger()) if interval else None
    return Value(Type.TIME, start, end, nullable=False)


def unknown() -> Condition:
    """SQL's third truth value."""
    return sa.cast(sa.null(), sa.Boolean())


def fit(given: Value, other: Value) -> Value:
    """A text literal read as the other side's type: ids may be quoted, and many clients quote times."""
    if given.slot is None or given.type is not Type.TEXT:
        return given
    if other.type is Type.NUMBER and given.slot.also == "number":
        return Value(Type.NUMBER, sa.bindparam(f"{given.slot.name}n"), nullable=False)
    if other.type is Type.TIME and given.slot.also == "time":
        return time_of(given.slot, interval=True)
    return given


def bounds(given: Value) -> tuple[Sql, Sql]:
    if given.type is Type.NULL:
        return (nothing := sa.cast(sa.null(), sa.BigInteger())), nothing
    return given.sql, given.sql if given.end is None else given.end


def number_of(given: Value, what: str) -> Sql:
    if given.type is Type.NUMBER:
        return given.sql
    # Numbers whose kind is known at run time only are doubles: both databases divide and round them alike.
    if given.type is Type.ANY and given.number is not None:
        return sa.cast(given.number, sa.Double())
    if given.slot is not None and given.slot.also == "number":
        return sa.cast(sa.bindparam(f"{given.slot.name}n"), sa.Double())
    if given.type is Type.NULL:
        return sa.cast(sa.null(), sa.Double())
    raise InvalidInput(f"'{what}' wants a number, here stands {given.type}.")


def text_of(given: Value, what: str) -> Sql:
    if given.type is Type.TEXT:
        return given.sql
    if given.type is Type.ANY and given.text is not None:
        return given.text
    if given.type is Type.NULL:
        return sa.cast(sa.null(), sa.Text())
    raise InvalidInput(f"'{what}' wants a text, here stands {given.type}.")


def instant_of(given: Value, what: str) -> Sql:
    if given.type is Type.TEXT and given.slot is not None and given.slot.also == "time":
        return sa.bindparam(f"{given.slot.name}t", type_=sa.BigInteger())
    if given.type is Type.NULL:
        return sa.cast(sa.null(), sa.BigInteger())
    if given.type is not Type.TIME:
        raise InvalidInput(f"'{what}' wants a time, here stands {given.type}.")
    return given.sql


def divide(a: Sql, b: Sql, type_: sa.types.TypeEngine[Any]) -> Sql:
    """The database's own division: SQLAlchemy's `/` would make a float of two integers."""
    return a.op("/", precedence=_PRECEDENCE_OF_PRODUCTS, return_type=type_)(b)
