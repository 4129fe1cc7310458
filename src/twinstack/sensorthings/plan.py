"""Reading plans: for each shape of a request its SQL texts and templates, made once and used by all that differ in
ids, literals and page only.

A plan is a tree of levels: the set or entity asked for, and one level for each `$expand`. Evaluation order: `$filter`,
`$count`, `$orderby`, `$skip`, `$top`, paging, `$expand`, `$select` (OGC 18-088, 9.3.3.1).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from twinstack.core.errors import InvalidInput
from twinstack.query import sql
from twinstack.query.sqlgeo import LookUp, has_postgis, look_ups
from twinstack.query.tree import Path
from twinstack.sensorthings import joins
from twinstack.sensorthings.fields import properties_of
from twinstack.sensorthings.grouping import GroupTemplate, groups
from twinstack.sensorthings.keyset import Key, behind
from twinstack.sensorthings.model import BY_NAME, ByColumn, ByTable, EntityType, Link
from twinstack.sensorthings.options import Expand, Options
from twinstack.sensorthings.render import STREAMS, Template, template
from twinstack.sensorthings.scope import Scope
from twinstack.sensorthings.sqljson import in_ids
from twinstack.sensorthings.store import tables
from twinstack.sensorthings.store.values import OBSERVATION_COLUMNS
from twinstack.sensorthings.versions import ApiVersion

Way = Literal["column", "pair", "many", "latest"]
"""How an expanded link is fetched: ids in the parents' rows, ids from a table of pairs, one page for each parent,
or the newest Observation of each Datastream."""
Restrict = Callable[[Scope], list[joins.Condition]]
FirstKey = Callable[[Scope], sa.ColumnElement[Any]]
"""What a set is ordered by when nothing is asked for: never null."""

_PLANS_MAX = 512
LIMIT, OFFSET, PARENT, IDS, SYSTEM_ID = "limit", "offset", "parent", "ids", "system_id"


@dataclass(frozen=True, slots=True)
class Statement:
    """Compiled SQL: its text, the names of its parameters in order, and the values that never change."""

    text: str
    names: tuple[str, ...]
    constants: dict[str, Any]

    def bind(self, values: dict[str, Any]) -> list[Any]:
        constants = self.constants
        return [values[name] if name in values else constants[name] for name in self.names]


def compile_sql(query: sa.ClauseElement, dialect: Dialect) -> Statement:
    compiled = query.compile(dialect=dialect)
    assert isinstance(compiled, sa.sql.compiler.SQLCompiler)
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return Statement(str(compiled), tuple(compiled.positiontup or ()), constants)


@dataclass(slots=True)
class Child:
    """An expanded link below a level; `index`: the parent rows' column with the id it needs; `pairs` finds ids."""

    link: Link
    way: Way
    level: Level
    index: int = 0
    pairs: Statement | None = None
    counts: Statement | None = None


@dataclass(slots=True)
class Level:
    """One SELECT and the template of its rows. Column 0 is the id, `key_indexes` are the sort values."""

    entity: EntityType
    query: sa.Select[Any]
    keys: list[Key]
    key_indexes: list[int]
    etag_indexes: list[int]
    wide: tuple[int, ...]
    """Columns whose values may be long texts: what the bounds of an answer count."""
    template: Template | GroupTemplate
    dialect: Dialect
    paged: bool
    skips: bool
    count: Statement | None
    children: list[Child] = field(default_factory=list)
    look_ups: list[tuple[LookUp, Statement | None]] = field(default_factory=list)
    """What is computed before its statements run, each with the places it needs (PostgreSQL without PostGIS)."""
    _statements: dict[tuple[bool, ...], Statement] = field(default_factory=dict)

    def statement(self, nulls: tuple[bool, ...] = ()) -> Statement:
        """The SQL of a page; `nulls` is empty for the first page, else which of the last row's sort values are null."""
        known = self._statements.get(nulls)
        if known is None:
            query = self.query
            if self.paged:
                query = query.order_by(*(key.order() for key in self.keys)).limit(
                    sa.bindparam(LIMIT, type_=sa.Integer())
                )
            if self.skips and not nulls:
                query = query.offset(sa.bindparam(OFFSET, type_=sa.BigInteger()))
            if nulls:
                query = query.where(behind(self.keys, nulls))
            known = self._statements[nulls] = compile_sql(query, self.dialect)
        return known


def _look_ups(query: sa.Select[Any], dialect: Dialect) -> list[tuple[LookUp, Statement | None]]:
    if dialect.name == "sqlite":
        return []
    found = look_ups(query, postgis=has_postgis(dialect))
    return [(one, None if one.places is None else compile_sql(one.places, dialect)) for one in found]


class Planner:
    """Makes the levels of one version on one database."""

    def __init__(self, version: ApiVersion, dialect: Dialect) -> None:
        self.version = version
        self.dialect = dialect

    def whole_set(self, entity: EntityType, options: Options, *, of_system: bool) -> Level:
        def restrict(scope: Scope) -> list[joins.Condition]:
            return [*joins.fixed(entity, scope.table), *joins.shown(entity, scope.table, of_system=of_system)]

        counters = None
        if entity.name == "Observation":
            stat, owner = tables.datastream_stat, tables.datastream
            mine = owner.c.system_id == sa.bindparam(SYSTEM_ID) if of_system else owner.c.copy_of.is_(None)
            join = stat.join(owner, owner.c.id == stat.c.datastream_id)
            counters = sa.select(sa.func.coalesce(sa.func.sum(stat.c.n), 0)).select_from(join).where(mine)
        return self._level(entity, options, restrict, counters=counters)

    def linked_set(self, source: EntityType, link: Link, options: Options) -> Level:
        """The entities that the link leads to from the entity whose id is the parameter `parent`."""
        entity = BY_NAME[link.target]

        def restrict(scope: Scope) -> list[joins.Condition]:
            parent = sa.bindparam(PARENT, type_=sa.BigInteger())
            return [*_fixed_below(source, entity, scope), *joins.linked(link, source, scope.table, parent)]

        in_datastream = source.table == "datastream" and entity.name == "Observation"
        if in_datastream:
            stat = tables.datastream_stat.c
            counters = sa.select(stat.n).where(stat.datastream_id == sa.bindparam(PARENT))
            return self._level(entity, options, restrict, first=lambda scope: scope.table.c.t, counters=counters)
        if source.table == "datastream" and isinstance(link.join, ByTable) and link.target == "ObservedProperty":
            pairs = link.join
            return self._level(entity, options, restrict, first=lambda scope: joins.rank(pairs, scope.table, PARENT))
        return self._level(entity, options, restrict)

    def one(self, entity: EntityType, options: Options) -> Level:
        """The entity whose id is the parameter `parent`."""

        def restrict(scope: Scope) -> list[joins.Condition]:
            by_id = scope.table.c.id == sa.bindparam(PARENT, type_=sa.BigInteger())
            return [*joins.fixed(entity, scope.table), by_id]

        return self._level(entity, options, restrict, paged=False, etag=True)

    def by_ids(self, entity: EntityType, options: Options) -> Level:
        """The entities whose ids are in the JSON array of the parameter `ids`, in no order."""

        def restrict(scope: Scope) -> list[joins.Condition]:
            return [*joins.fixed(entity, scope.table), in_ids(scope.table.c.id, IDS)]

        return self._level(entity, options, restrict, paged=False)

    def latest(self, options: Options) -> Level:
        """The newest Observation of each Datastream in `ids`, from the counters' row instead of a sort."""
        entity, stat = BY_NAME["Observation"], tables.datastream_stat.c

        def restrict(scope: Scope) -> list[joins.Condition]:
            newest = sa.select(stat.latest_id).where(in_ids(stat.datastream_id, IDS))
            return [scope.table.c.id.in_(newest)]

        return self._level(entity, options, restrict, paged=False, owner=True)

    def _level(
        self,
        entity: EntityType,
        options: Options,
        restrict: Restrict,
        *,
        paged: bool = True,
        first: FirstKey | None = None,
        etag: bool = False,
        owner: bool = False,
        counters: sa.Select[Any] | None = None,
    ) -> Level:
        if options.apply is not None:
            if not paged:
                raise InvalidInput("$apply is for sets.", fix=f"Ask {entity.set_name}?$apply=...")
            return self._grouped(entity, options, restrict)
        scope = Scope(entity, self.version, database=self.dialect.name)
        columns = _Columns(scope.table.c.id)
        if owner:
            columns.add(scope.table.c.datastream_id)
        fields = [(f, [columns.add(c) for c in f.columns]) for f in properties_of(entity, scope, options.select)]
        where = restrict(scope)
        if options.filter is not None:
            where += scope.condition(options.filter)
        keys = self._keys(scope, options, first)
        kind = None
        if entity.name == "Observation" and (options.select is None or not set(STREAMS).isdisjoint(options.select)):
            kind = columns.add(scope.table.c.kind)
        level = Level(
            entity=entity,
            query=sa.select(),
            keys=keys,
            key_indexes=[columns.add(key.sql) for key in keys],
            etag_indexes=[columns.add(sa.type_coerce(scope.table.c[c], sa.Text())) for c in etag_columns(entity)]
            if etag
            else [],
            wide=tuple(
                n for n, column in enumerate(columns.all) if not isinstance(column.type, sa.Integer | sa.Double)
            ),
            template=template(entity, self.version, fields, options.select, len(options.expand), kind),
            dialect=self.dialect,
            paged=paged,
            skips=options.skip > 0,
            count=None,
        )
        level.children = [self._child(scope, columns, one) for one in options.expand]
        level.query = sa.select(*columns.all).select_from(scope.from_clause()).where(*where)
        level.look_ups = _look_ups(level.query, self.dialect)
        if options.count:
            counting = counters
            if counting is None or options.filter is not None:
                counting = sa.select(sa.func.count()).select_from(scope.from_clause()).where(*where)
            level.count = compile_sql(counting, self.dialect)
        return level

    def _grouped(self, entity: EntityType, options: Options, restrict: Restrict) -> Level:
        """The groups that `$apply` makes of the set."""
        assert options.apply is not None
        scope = Scope(entity, self.version, database=self.dialect.name)
        made = groups(scope, options.apply, restrict(scope))
        keys = []
        for one in options.orderby:
            value = sql.value(one.expr, made.resolve)
            keys.append(Key(value.sql, one.descending))
        keys += [Key(key) for key in made.keys]
        columns = _Columns(*made.source.c)
        level = Level(
            entity=entity,
            query=sa.select(),
            keys=keys,
            key_indexes=[columns.add(key.sql) for key in keys],
            etag_indexes=[],
            wide=(),
            template=made.template,
            dialect=self.dialect,
            paged=True,
            skips=options.skip > 0,
            count=None,
        )
        level.query = sa.select(*columns.all).select_from(made.source)
        level.look_ups = _look_ups(level.query, self.dialect)
        if options.count:
            level.count = compile_sql(sa.select(sa.func.count()).select_from(made.source), self.dialect)
        return level

    def _keys(self, scope: Scope, options: Options, first: FirstKey | None) -> list[Key]:
        """The sort keys, the id last: ties are stable. Without `$orderby` the order that costs nothing."""
        keys = []
        for one in options.orderby:
            keys += [Key(key, one.descending, nullable) for key, nullable in scope.order(one.expr)]
        if not keys and first is not None:
            keys.append(Key(first(scope), nullable=False))
        return [*keys, Key(scope.table.c.id, nullable=False)]

    def _child(self, scope: Scope, columns: _Columns, one: Expand) -> Child:
        entity, link, options = scope.entity, one.link, one.options
        target = BY_NAME[link.target]
        if not link.many and isinstance(link.join, ByColumn):
            index = columns.add(scope.table.c[link.join.column])
            return Child(link, "column", self.by_ids(target, options), index)
        if not link.many and isinstance(link.join, ByTable):
            pairs = tables.BY_NAME[link.join.table].c
            query = sa.select(pairs[link.join.own], pairs[link.join.target]).where(
                in_ids(pairs[link.join.own], IDS), pairs.rank == 0
            )
            return Child(link, "pair", self.by_ids(target, options), pairs=compile_sql(query, self.dialect))
        if entity.table == "datastream" and link.target == "Observation" and is_latest(options):
            stat = tables.datastream_stat.c
            counts = sa.select(stat.datastream_id, stat.n).where(in_ids(stat.datastream_id, IDS))
            return Child(link, "latest", self.latest(options), counts=compile_sql(counts, self.dialect))
        return Child(link, "many", self.linked_set(entity, link, options))


def _fixed_below(source: EntityType, entity: EntityType, scope: Scope) -> list[joins.Condition]:
    # A Datastream that is there has no hidden Observations.
    if source.table == "datastream" and entity.name == "Observation":
        return []
    return joins.fixed(entity, scope.table)


def etag_columns(entity: EntityType) -> tuple[str, ...]:
    """The columns that an entity's ETag is made of."""
    return OBSERVATION_COLUMNS if entity.name == "Observation" else ("version",)


def is_latest(options: Options) -> bool:
    """`$top=1;$orderby=phenomenonTime desc` on a Datastream's Observations."""
    return (
        options.top == 1
        and not options.skip
        and options.filter is None
        and len(options.orderby) == 1
        and options.orderby[0].descending
        and options.orderby[0].expr == Path(("phenomenonTime",))
    )


@dataclass(slots=True)
class PlanCache:
    """The plans used last, by shape; all processes of a server make the same ones."""

    dialect: Dialect
    _plans: OrderedDict[Hashable, Any] = field(default_factory=OrderedDict)

    def get(self, key: Hashable, make: Any) -> Any:
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = make()
            if len(self._plans) > _PLANS_MAX:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(key)
        return plan

    def planner(self, version: ApiVersion) -> Planner:
        return Planner(version, self.dialect)


class _Columns:
    """The columns of a SELECT, each one once."""

    def __init__(self, *first: sa.ColumnElement[Any]) -> None:
        self.all: list[sa.ColumnElement[Any]] = [*first]

    def add(self, column: sa.ColumnElement[Any]) -> int:
        for index, known in enumerate(self.all):
            if known is column or known.compare(column):
                return index
        self.all.append(column)
        return len(self.all) - 1
