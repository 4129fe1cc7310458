"""`$apply` as SQL: rows that pass the filter, grouped, aggregated, in pages like a set.

The answer's items are no entities: the properties grouped by, nested as their paths (`"Datastream": {"@iot.id": 1}`),
the start of the bucket, and the aggregates, which are floats for numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from twinstack.core.errors import InvalidInput
from twinstack.query import sql, tree
from twinstack.query.odata.apply import COUNT, Aggregate, Apply, Bucket
from twinstack.query.sql import Sql, Type, Value
from twinstack.query.sqlcalls import modulo
from twinstack.query.sqlvalues import instant_of, number_of
from twinstack.sensorthings.fields import time_text
from twinstack.sensorthings.scope import Scope
from twinstack.sensorthings.store.types import dumps

Row = Sequence[Any]
_Read = Callable[..., Any]
_FUNCTIONS: dict[str, Callable[[Sql], Sql]] = {
    "average": sa.func.avg,
    "min": sa.func.min,
    "max": sa.func.max,
    "sum": sa.func.sum,
}


@dataclass(frozen=True, slots=True)
class _Item:
    """A name of the answer: its path, its columns, what makes JSON of their values, and its meaning in `$orderby`."""

    path: tuple[str, ...]
    columns: list[Sql]
    read: _Read
    type: Type


@dataclass(frozen=True, slots=True)
class GroupTemplate:
    """The JSON of groups; `items`: path, indexes of its columns, reader."""

    items: tuple[tuple[tuple[str, ...], tuple[int, ...], _Read], ...]

    def texts(self, rows: Sequence[Row], base: str, expanded: Sequence[Iterable[str]] = ()) -> list[str]:
        return [self._text(row) for row in rows]

    def _text(self, row: Row) -> str:
        group: dict[str, Any] = {}
        for path, indexes, read in self.items:
            inner = group
            for name in path[:-1]:
                inner = inner.setdefault(name, {})
            inner[path[-1]] = read(*(row[index] for index in indexes))
        return dumps(group)


@dataclass(frozen=True, slots=True)
class Groups:
    """`source` has one row per group; `names` are what `$orderby` may say, `keys` what tells groups apart."""

    source: sa.Subquery
    template: GroupTemplate
    names: dict[tuple[str, ...], Value]
    keys: list[Sql]

    def resolve(self, parts: tuple[str, ...]) -> Value:
        value = self.names.get(parts)
        if value is None:
            known = ", ".join("/".join(path) for path in self.names)
            raise InvalidInput(f"$orderby: $apply makes no '{'/'.join(parts)[:80]}'.", fix=f"It makes {known}.")
        return value


def groups(scope: Scope, apply: Apply, conditions: list[sa.ColumnElement[bool]]) -> Groups:
    """Errors: InvalidInput for names and types that do not fit."""
    aliases: dict[tuple[str, ...], Value] = {}
    if apply.bucket is not None:
        aliases[apply.bucket.alias,] = _bucket(scope, apply.bucket)
    grouped = [_group_item(scope, path, aliases) for path in apply.groupby]
    if len({item.path for item in grouped}) < len(grouped):
        raise InvalidInput("groupby names one property twice.", fix="Name it once.")
    inputs = [None if one.expr is None else _input(scope, one) for one in apply.aggregates]
    names = [one.alias for one in apply.aggregates]
    for item in grouped:
        if item.path[0] in names:
            raise InvalidInput(f"'{item.path[0]}' is a group and an aggregate.", fix="Choose another name behind 'as'.")
    if apply.filter is not None:
        conditions = [*conditions, *scope.condition(apply.filter)]
    # Group keys are columns of an inner SELECT: no parameter of theirs has to be the same in two places.
    flat = [column for item in grouped for column in item.columns]
    columns = [column.label(f"g{n}") for n, column in enumerate(flat)]
    columns += [value.sql.label(f"a{n}") for n, value in enumerate(inputs) if value is not None]
    rows = sa.select(*columns).select_from(scope.from_clause()).where(*conditions).subquery("matching")
    keys = [rows.c[f"g{n}"] for n in range(len(flat))]
    made: list[Sql] = [
        (sa.func.count() if one.method == COUNT else _FUNCTIONS[one.method](rows.c[f"a{n}"])).label(f"a{n}")
        for n, one in enumerate(apply.aggregates)
    ]
    source = sa.select(*keys, *made).select_from(rows).group_by(*keys).subquery("groups")
    return _named(source, grouped, apply.aggregates, inputs)


def _named(
    source: sa.Subquery, grouped: list[_Item], aggregates: tuple[Aggregate, ...], inputs: list[Value | None]
) -> Groups:
    items: list[tuple[tuple[str, ...], tuple[int, ...], _Read]] = []
    names: dict[tuple[str, ...], Value] = {}
    keys: list[Sql] = []
    for item in grouped:
        begin = len(keys)
        keys += [source.c[f"g{n}"] for n in range(begin, begin + len(item.columns))]
        items.append((item.path, tuple(range(begin, len(keys))), item.read))
        if item.type is not Type.ANY:
            names[item.path] = Value(item.type, keys[begin])
    for n, (one, value) in enumerate(zip(aggregates, inputs, strict=True)):
        is_time = value is not None and value.type is Type.TIME
        items.append(((one.alias,), (len(keys) + n,), _instant if is_time else _same))
        names[one.alias,] = Value(Type.TIME if is_time else Type.NUMBER, source.c[f"a{n}"])
    return Groups(source, GroupTemplate(tuple(items)), names, keys)


def _bucket(scope: Scope, bucket: Bucket) -> Value:
    us = instant_of(scope.single(bucket.time), "timebucket")
    period = sql.value(bucket.period, scope.resolve)
    return Value(Type.TIME, us - modulo(us, period.sql))


def _group_item(scope: Scope, path: tuple[str, ...], aliases: dict[tuple[str, ...], Value]) -> _Item:
    value = aliases.get(path) or scope.single(tree.Path(path))
    name = (*path[:-1], scope.version.id) if path[-1] == "id" else path
    match value.type:
        case Type.TIME if value.end is not None:
            return _Item(name, [value.sql, value.end], _interval, value.type)
        case Type.TIME:
            return _Item(name, [value.sql], _instant, value.type)
        case Type.NUMBER | Type.TEXT:
            return _Item(name, [value.sql], _same, value.type)
        case Type.ANY if value.number is not None and value.text is not None and value.boolean is not None:
            return _Item(name, [value.number, value.text, value.boolean], _any, value.type)
    raise InvalidInput(f"groupby cannot group by {value.type}.", fix="Group by an id, a name, a time or a member.")


def _input(scope: Scope, one: Aggregate) -> Value:
    assert one.expr is not None
    value = scope.single(one.expr)
    if value.type is Type.TIME and one.method in ("min", "max"):
        end = value.sql if value.end is None else value.end
        return Value(Type.TIME, value.sql if one.method == "min" else end)
    # As doubles: sums of integers would overflow, and both databases answer alike.
    return Value(Type.NUMBER, sa.cast(number_of(value, one.method), sa.Double()))


def _same(value: Any) -> Any:
    """JSON has no infinity: a sum beyond the doubles is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _instant(us: int | None) -> str | None:
    return None if us is None else time_text(us)


def _interval(start: int | None, end: int | None) -> str | None:
    if start is None or end is None or end == start:
        return _instant(start)
    return f"{time_text(start)}/{time_text(end)}"


def _any(number: float | None, text: str | None, boolean: Any) -> Any:
    if boolean is not None:
        return bool(boolean)
    return text if number is None else _same(number)
