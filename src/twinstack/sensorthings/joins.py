"""The tables behind an entity type and its links, as SQLAlchemy conditions.

`linked` is the one place that turns a link of the model into SQL; paths, `$filter` and `$expand` all ask it.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.selectable import NamedFromClause

from twinstack.sensorthings.model import ByColumn, ByTable, ByTarget, EntityType, Link
from twinstack.sensorthings.paths import ResourcePath
from twinstack.sensorthings.store import tables

Alias = NamedFromClause
Condition = sa.ColumnElement[bool]
Ids = sa.ColumnElement[Any]


def alias(entity: EntityType, name: str) -> Alias:
    return tables.BY_NAME[entity.table].alias(name)


def fixed(entity: EntityType, target: Alias) -> list[Condition]:
    """What tells the types of one table apart, and hides Observations of deleted Datastreams that wait for removal."""
    conditions = [target.c[column] == value for column, value in entity.where]
    if entity.name == "Observation":
        dead = sa.select(tables.dead_datastream.c.datastream_id)
        conditions.append(target.c.datastream_id.not_in(dead))
    return conditions


def shown(entity: EntityType, target: Alias, *, of_system: bool) -> list[Condition]:
    """Which entities a whole set lists: no received copies; or those of one system, its copies included.

    The parameter `system_id` holds that system.
    """
    if entity.name == "Observation":
        owner = tables.datastream.alias("owner")
        if of_system:
            mine = sa.select(owner.c.id).where(owner.c.system_id == sa.bindparam("system_id"))
            return [target.c.datastream_id.in_(mine)]
        return [target.c.datastream_id.not_in(sa.select(owner.c.id).where(owner.c.copy_of.is_not(None)))]
    if of_system:
        return [target.c.system_id == sa.bindparam("system_id")]
    # Not `copy_of IS NULL`: nearly every row fits, and SQLite would take that index and sort the whole set by id.
    return [sa.func.coalesce(target.c.copy_of, 0) == 0]


def linked(link: Link, source: EntityType, target: Alias, source_id: Ids) -> list[Condition]:
    """`target` is reached by `link` from the entity of `source` whose id is `source_id`."""
    match link.join:
        case ByTarget(column):
            conditions: list[Condition] = [target.c[column] == source_id]
            if source.name == "FeatureOfInterest":
                # No index on feature_id: the pairs say in which Datastreams to look.
                pairs = tables.datastream_feature
                having = sa.select(pairs.c.datastream_id).where(pairs.c.feature_id == source_id)
                conditions.append(target.c.datastream_id.in_(having))
            return conditions
        case ByColumn(column):
            table = tables.BY_NAME[source.table].alias()
            return [target.c.id == sa.select(table.c[column]).where(table.c.id == source_id).scalar_subquery()]
        case ByTable(name, own, other):
            pairs = tables.BY_NAME[name]
            table = pairs.alias()
            return [target.c.id.in_(sa.select(table.c[other]).where(table.c[own] == source_id))]


def rank(pairs: ByTable, target: Alias, parent: str) -> Ids:
    """The place of `target` among the ObservedProperties of the Datastream whose id is the parameter `parent`."""
    table = tables.BY_NAME[pairs.table].alias()
    of_parent = table.c[pairs.own] == sa.bindparam(parent, type_=sa.BigInteger())
    return sa.select(sa.func.min(table.c.rank)).where(of_parent, table.c[pairs.target] == target.c.id).scalar_subquery()


def path_ids(path: ResourcePath, length: int) -> sa.Select[Any]:
    """The ids of the entities at step `length - 1` of a path; parameters `id0`, `id1` ... hold the ids in it."""
    query: sa.Select[Any] | None = None
    for n, step in enumerate(path.steps[:length]):
        target = alias(step.entity, f"s{n}")
        conditions = fixed(step.entity, target)
        if step.id is not None:
            conditions.append(target.c.id == sa.bindparam(f"id{n}", type_=sa.BigInteger()))
        if step.link is not None and query is not None:
            conditions += linked(step.link, path.steps[n - 1].entity, target, query.scalar_subquery())
        query = sa.select(target.c.id).where(*conditions)
    assert query is not None
    return query
