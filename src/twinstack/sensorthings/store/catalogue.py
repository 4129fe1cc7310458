"""Full Datastream entities: what `.meta` carries, what registration answers, what a consumer completes records from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from twinstack.core import timestamps
from twinstack.sensorthings.model import (
    BY_TABLE,
    DATASTREAM,
    LOCATION,
    MULTI_DATASTREAM,
    MULTI_DATASTREAM_KIND,
    OBSERVED_PROPERTY,
    EntityType,
    PropertyType,
)
from twinstack.sensorthings.store.tables import (
    BY_NAME,
    datastream,
    datastream_property,
    location,
    observed_property,
    sensor,
    system,
    thing,
    thing_location,
)

_IDS_PER_QUERY = 5_000


def entity_json(entity: EntityType, row: Any) -> dict[str, Any]:
    """An entity's id and stored properties (not for Observations); null optional ones are left out."""
    mapping = row._mapping if hasattr(row, "_mapping") else row
    result: dict[str, Any] = {"@iot.id": mapping["id"]}
    for p in entity.properties:
        if p.table is None and (value := mapping[p.column]) is not None:
            result[p.name] = timestamps.format_us(value) if p.type is PropertyType.INSTANT else value
    return result


def of_system(connection: sa.Connection, system_name: str) -> list[dict[str, Any]]:
    """All Datastreams of a system, own and received, by id."""
    query = (
        sa.select(datastream.c.id)
        .join(system, system.c.id == datastream.c.system_id)
        .where(system.c.name == system_name)
        .order_by(datastream.c.id)
    )
    ids = connection.execute(query).scalars().all()
    return list(full(connection, ids).values())


def full(connection: sa.Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Datastream id -> its entity with Thing (with Locations), Sensor, ObservedProperty, unitOfMeasurement,
    `log_key`, `system`, `version`, and for received copies `copy_of` (the source's id). Unknown ids are left out.
    A MultiDatastream has `ObservedProperties`, `unitOfMeasurements` and `multiObservationDataTypes` instead."""
    result: dict[int, dict[str, Any]] = {}
    for i in range(0, len(ids), _IDS_PER_QUERY):
        result.update(_full(connection, ids[i : i + _IDS_PER_QUERY]))
    return result


def _full(connection: sa.Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    rows = connection.execute(
        sa.select(datastream, system.c.name.label("system"))
        .join(system, system.c.id == datastream.c.system_id)
        .where(datastream.c.id.in_(ids))
        .order_by(datastream.c.id)
    ).all()
    things = _by_id(connection, thing, {row.thing_id for row in rows})
    sensors = _by_id(connection, sensor, {row.sensor_id for row in rows})
    for thing_id, place in _places(connection, list(things)):
        things[thing_id].setdefault("Locations", []).append(place)
    properties = _properties(connection, ids)
    result: dict[int, dict[str, Any]] = {}
    for row in rows:
        multi = row.kind == MULTI_DATASTREAM_KIND
        entity = entity_json(MULTI_DATASTREAM if multi else DATASTREAM, row)
        entity |= {"log_key": row.log_key, "system": row.system, "version": row.version}
        if row.copy_of is not None:
            entity |= {"copy_of": row.copy_of, "ended": row.ended}
        entity |= {"Thing": things[row.thing_id], "Sensor": sensors[row.sensor_id]}
        observed = properties.get(row.id, [])
        if multi:
            entity["ObservedProperties"] = observed
        else:
            entity["ObservedProperty"] = observed[0] if observed else None
        result[row.id] = entity
    return result


def _by_id(connection: sa.Connection, table: sa.Table, ids: set[int]) -> dict[int, dict[str, Any]]:
    rows = connection.execute(sa.select(table).where(table.c.id.in_(sorted(ids))))
    return {row.id: entity_json(BY_TABLE[table.name], row) for row in rows}


def _places(connection: sa.Connection, thing_ids: list[int]) -> list[tuple[int, dict[str, Any]]]:
    rows = connection.execute(
        sa.select(thing_location.c.thing_id, location)
        .join(location, location.c.id == thing_location.c.location_id)
        .where(thing_location.c.thing_id.in_(thing_ids))
        .order_by(location.c.id)
    )
    return [(row.thing_id, entity_json(LOCATION, row)) for row in rows]


def _properties(connection: sa.Connection, ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """In the order of the results' members."""
    rows = connection.execute(
        sa.select(datastream_property.c.datastream_id, observed_property)
        .join(observed_property, observed_property.c.id == datastream_property.c.observed_property_id)
        .where(datastream_property.c.datastream_id.in_(ids))
        .order_by(datastream_property.c.datastream_id, datastream_property.c.rank)
    )
    found: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row.datastream_id, []).append(entity_json(OBSERVED_PROPERTY, row))
    return found


def resolve(connection: sa.Connection, system_name: str, wanted: Sequence[str]) -> dict[str, dict[str, Any] | None]:
    """Name -> full entity: a log key, a Datastream's full name, or either without the system in front."""
    query = (
        sa.select(datastream.c.id, datastream.c.name, datastream.c.log_key)
        .join(system, system.c.id == datastream.c.system_id)
        .where(system.c.name == system_name)
        .order_by(datastream.c.id.desc())
    )
    spelled = {name: (name, f"{system_name}.{name}") for name in wanted}
    texts = sorted({text for both in spelled.values() for text in both})
    found: dict[str, int] = {}
    for i in range(0, len(texts), _IDS_PER_QUERY):
        part = texts[i : i + _IDS_PER_QUERY]
        some = query.where(sa.or_(datastream.c.log_key.in_(part), datastream.c.name.in_(part)))
        for row in connection.execute(some):
            found[row.name] = row.id
        for row in connection.execute(some):
            found[row.log_key] = row.id  # the log key is unique and wins over a name
    entities = full(connection, sorted(set(found.values())))
    return {
        name: next((entities[found[text]] for text in both if text in found), None) for name, both in spelled.items()
    }


def one(connection: sa.Connection, entity: EntityType, entity_id: int) -> dict[str, Any]:
    """A Thing or Sensor with its properties."""
    table = BY_NAME[entity.table]
    return entity_json(entity, connection.execute(sa.select(table).where(table.c.id == entity_id)).one())
