"""Rows of entities: loading them, the columns of a draft, and names that are unique."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from twinstack.core.errors import Conflict, NotFound, PermissionDenied
from twinstack.sensorthings import geojson
from twinstack.sensorthings.model import (
    DATASTREAM,
    FEATURE,
    LOCATION,
    MULTI_DATASTREAM,
    MULTI_DATASTREAM_KIND,
    OBSERVATION,
    EntityType,
)
from twinstack.sensorthings.store import systems, tables
from twinstack.sensorthings.store.context import WriteContext
from twinstack.sensorthings.store.tables import datastream, entity_name, observation
from twinstack.sensorthings.store.transaction import Tx
from twinstack.sensorthings.validate import Ref

_GEOMETRY = {LOCATION.name: "location", FEATURE.name: "feature"}


def table_of(entity: EntityType) -> sa.Table:
    return tables.BY_NAME[entity.table]


def columns_of(entity: EntityType, values: dict[str, Any]) -> dict[str, Any]:
    """Property values as columns of the entity's own table (not for Observations)."""
    columns: dict[str, Any] = {}
    for name, value in values.items():
        p = entity.property(name)
        if p is not None and not p.computed:
            columns[p.column] = value
    if (geometry := _GEOMETRY.get(entity.name)) and geometry in values:
        box = geojson.box(values[geometry]) or (None, None, None, None)
        columns.update(zip(("bbox_w", "bbox_s", "bbox_e", "bbox_n"), box, strict=True))
    return columns


def not_found(entity: EntityType, entity_id: int) -> NotFound:
    return NotFound(f"There is no {entity.name} {entity_id}.", fix="Look at the list of them.", id=entity_id)


def load(connection: sa.Connection, entity: EntityType, entity_id: int) -> sa.Row[Any]:
    """The row with all its columns; an Observation's also has the `system_id` of its Datastream.

    Errors: NotFound, also for an id that no table holds.
    """
    if entity_id > 2**63 - 1:
        raise not_found(entity, entity_id)
    table = table_of(entity)
    if entity is OBSERVATION:
        query = sa.select(observation, datastream.c.system_id, datastream.c.copy_of).join(
            datastream, datastream.c.id == observation.c.datastream_id
        )
    else:
        query = sa.select(table)
    for column, value in entity.where:
        query = query.where(table.c[column] == value)
    row = connection.execute(query.where(table.c.id == entity_id)).one_or_none()
    if row is None:
        raise not_found(entity, entity_id)
    return row


def load_own(connection: sa.Connection, entity: EntityType, entity_id: int, ctx: WriteContext) -> sa.Row[Any]:
    """The row, if this context may change it. Errors: NotFound (also for a foreign one), PermissionDenied for a
    received copy."""
    row = load(connection, entity, entity_id)
    name = systems.by_id(connection, row.system_id).name
    if not ctx.may_write(name) or (ctx.system is not None and ctx.system != name):
        raise not_found(entity, entity_id)
    if row.copy_of is not None:
        raise PermissionDenied(
            f"{entity.name} {entity_id} is a received copy; its source changes it.", fix="Change it at its source."
        )
    return row


def check_links(connection: sa.Connection, entity: EntityType, refs: Iterable[Ref], system_id: int) -> list[int]:
    """The ids of linked entities that exist in this system. Errors: NotFound, as for an unknown id, when one belongs
    to another system or is a received copy."""
    wanted = [ref.id for ref in refs]
    if not wanted:
        return []
    query = _linkable(entity, system_id, wanted)
    have = set(connection.execute(query).scalars())
    for wanted_id in wanted:
        if wanted_id not in have:
            raise not_found(entity, wanted_id)
    return list(dict.fromkeys(wanted))


def _linkable(entity: EntityType, system_id: int, wanted: list[int]) -> sa.Select[int]:
    table = table_of(entity)
    query = sa.select(table.c.id).where(table.c.id.in_(wanted))
    owner = table
    if entity is OBSERVATION:
        owner = datastream
        query = query.join(datastream, datastream.c.id == observation.c.datastream_id)
    for column, value in entity.where:
        query = query.where(table.c[column] == value)
    return query.where(owner.c.system_id == system_id, owner.c.copy_of.is_(None))


def stream_type(connection: sa.Connection, datastream_id: int) -> EntityType:
    """Datastream or MultiDatastream; the former for an id that nothing has."""
    kind = connection.execute(sa.select(datastream.c.kind).where(datastream.c.id == datastream_id)).scalar()
    return MULTI_DATASTREAM if kind == MULTI_DATASTREAM_KIND else DATASTREAM


def system_of_ref(connection: sa.Connection, entity: EntityType, ref: Ref) -> int:
    """Errors: NotFound."""
    return int(load(connection, entity, ref.id).system_id)


def kind_of(entity: EntityType) -> str:
    """Under which kind the names of an entity type stand."""
    return "multi_datastream" if entity is MULTI_DATASTREAM else entity.table


def by_name(connection: sa.Connection, entity: EntityType, name: str) -> int | None:
    query = sa.select(entity_name.c.entity_id).where(entity_name.c.kind == kind_of(entity), entity_name.c.name == name)
    return connection.execute(query).scalar_one_or_none()


def is_reserved(system_name: str, name: str | None) -> bool:
    return name is not None and name.startswith(f"{system_name}.")


def set_name(tx: Tx, entity: EntityType, entity_id: int, system_name: str, name: str) -> None:
    """Keeps `entity_name` in step with the entity's name. Errors: Conflict for a name that is taken."""
    taken = by_name(tx.connection, entity, name) if is_reserved(system_name, name) else None
    if taken == entity_id:
        return
    if taken is not None:
        raise Conflict(
            f"The {entity.name} '{name}' exists already.",
            fix=f"Use {entity.set_name}({taken}), or another name.",
            id=taken,
            set=entity.set_name,
        )
    drop_name(tx.connection, entity, entity_id)
    if is_reserved(system_name, name):
        tx.connection.execute(sa.insert(entity_name), {"kind": kind_of(entity), "name": name, "entity_id": entity_id})


def drop_name(connection: sa.Connection, entity: EntityType, entity_id: int) -> None:
    connection.execute(
        sa.delete(entity_name).where(entity_name.c.kind == kind_of(entity), entity_name.c.entity_id == entity_id)
    )


def changed_columns(row: sa.Row[Any], columns: dict[str, Any]) -> dict[str, Any]:
    """Those of `columns` that differ from the row, types included (1 and 1.0 and true are three values)."""
    mapping = row._mapping
    return {name: value for name, value in columns.items() if not _same(mapping[name], value)}


def _same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def bump(connection: sa.Connection, entity: EntityType, entity_id: int, columns: dict[str, Any]) -> None:
    table = table_of(entity)
    connection.execute(sa.update(table).where(table.c.id == entity_id).values(**columns, version=table.c.version + 1))
