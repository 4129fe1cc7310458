"""Where Things are, and what must be told when something changes.

A Thing moves by creation with Locations, by an update of its Locations, and by a Location created or patched with
Things: the old links go, and one HistoricalLocation with the server's time and all new Locations is added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import sqlalchemy as sa

from twinstack.sensorthings.model import EntityType
from twinstack.sensorthings.store.tables import (
    datastream,
    datastream_property,
    historical_location,
    historical_location_location,
    system,
    thing,
    thing_location,
)
from twinstack.sensorthings.store.transaction import Tx, insert_or_ignore


def move(tx: Tx, thing_id: int, location_ids: Sequence[int]) -> None:
    """Puts the Thing at these Locations now."""
    place(tx, thing_id, location_ids)
    system_id = tx.connection.execute(sa.select(thing.c.system_id).where(thing.c.id == thing_id)).scalar_one()
    history_id = tx.new_id("historical_location")
    tx.connection.execute(
        sa.insert(historical_location),
        {"id": history_id, "time": tx.now_us, "thing_id": thing_id, "system_id": system_id},
    )
    link_history(tx, history_id, location_ids)


def place(tx: Tx, thing_id: int, location_ids: Sequence[int]) -> None:
    """Replaces the Thing's Location links; no HistoricalLocation."""
    tx.connection.execute(sa.delete(thing_location).where(thing_location.c.thing_id == thing_id))
    if location_ids:
        tx.connection.execute(
            sa.insert(thing_location), [{"thing_id": thing_id, "location_id": i} for i in dict.fromkeys(location_ids)]
        )


def link_history(tx: Tx, history_id: int, location_ids: Iterable[int]) -> None:
    rows = [{"historical_location_id": history_id, "location_id": i} for i in dict.fromkeys(location_ids)]
    if rows:
        tx.connection.execute(insert_or_ignore(tx.connection, historical_location_location), rows)


def follow_history(tx: Tx, history_id: int) -> None:
    """A HistoricalLocation later than all others of its Thing moves the Thing; an earlier one does not."""
    h = historical_location.c
    row = tx.connection.execute(sa.select(h.thing_id, h.time).where(h.id == history_id)).one()
    later = sa.select(h.id).where(h.thing_id == row.thing_id, h.id != history_id, h.time > row.time).limit(1)
    if tx.connection.execute(later).first() is None:
        locations = locations_of_history(tx.connection, history_id)
        if locations:
            place(tx, row.thing_id, locations)
            touch(tx, datastreams_of(tx.connection, "thing", row.thing_id))


def locations_of_history(connection: sa.Connection, history_id: int) -> list[int]:
    c = historical_location_location.c
    return list(connection.execute(sa.select(c.location_id).where(c.historical_location_id == history_id)).scalars())


def locations_of(connection: sa.Connection, thing_id: int) -> list[int]:
    c = thing_location.c
    query = sa.select(c.location_id).where(c.thing_id == thing_id).order_by(c.location_id)
    return list(connection.execute(query).scalars())


def things_at(connection: sa.Connection, location_id: int) -> list[int]:
    c = thing_location.c
    return list(connection.execute(sa.select(c.thing_id).where(c.location_id == location_id)).scalars())


def _by_location(location_id: int) -> sa.Select[int]:
    return (
        sa.select(datastream.c.id)
        .join(thing_location, thing_location.c.thing_id == datastream.c.thing_id)
        .where(thing_location.c.location_id == location_id)
    )


def _by_property(property_id: int) -> sa.Select[int]:
    c = datastream_property.c
    return sa.select(c.datastream_id).where(c.observed_property_id == property_id)


_DATASTREAMS: dict[str, Callable[[int], sa.Select[int]]] = {
    "thing": lambda i: sa.select(datastream.c.id).where(datastream.c.thing_id == i),
    "sensor": lambda i: sa.select(datastream.c.id).where(datastream.c.sensor_id == i),
    "observed_property": _by_property,
    "location": _by_location,
    "datastream": lambda i: sa.select(datastream.c.id).where(datastream.c.id == i),
}


def datastreams_of(connection: sa.Connection, table: str, entity_id: int) -> list[int]:
    """The Datastreams whose full entity shows this one (none for Observations and features)."""
    query = _DATASTREAMS.get(table)
    return [] if query is None else list(connection.execute(query(entity_id)).scalars())


def touch(tx: Tx, datastream_ids: Sequence[int]) -> None:
    """The full entities of these Datastreams changed: `.meta` gets them again."""
    if not datastream_ids:
        return
    query = (
        sa.select(system.c.name, datastream.c.id)
        .join(system, system.c.id == datastream.c.system_id)
        .where(datastream.c.id.in_(datastream_ids))
    )
    tx.outgoing.meta.extend((name, datastream_id) for name, datastream_id in tx.connection.execute(query))


def touch_entity(tx: Tx, entity: EntityType, entity_id: int) -> None:
    touch(tx, datastreams_of(tx.connection, entity.table, entity_id))
