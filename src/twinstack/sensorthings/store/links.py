"""Links between stored entities: adding them, and the rules that they obey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from twinstack.core.errors import InvalidInput
from twinstack.sensorthings.model import (
    BY_NAME,
    DATASTREAM,
    LOCATION,
    MULTI_DATASTREAM,
    OBSERVATION,
    OBSERVED_PROPERTY,
    THING,
    ByTable,
    ByTarget,
    EntityType,
    Link,
    inverse,
)
from twinstack.sensorthings.staplus import RELATION
from twinstack.sensorthings.store import moves, rows, tables
from twinstack.sensorthings.store.tables import datastream, datastream_property, relation
from twinstack.sensorthings.store.transaction import Tx, insert_or_ignore
from twinstack.sensorthings.validate import Draft, Ref


def link_parent(draft: Draft, link: Link, parent_id: int) -> None:
    """Gives what is nested, or posted to a path, the link that leads back to its parent."""
    targets, parent = draft.links.setdefault(link.name, []), Ref(parent_id)
    if not link.many:
        targets[:] = [parent]
    elif parent not in targets:
        targets.insert(0, parent)


def link_many(tx: Tx, entity: EntityType, entity_id: int, link: Link, ids: list[int]) -> None:
    """Adds links to existing entities of the same system. Errors: InvalidInput where that breaks a rule of one."""
    target_type = BY_NAME[link.target]
    match link.join:
        case _ if entity is THING and target_type is LOCATION:
            moves.move(tx, entity_id, ids)
        case _ if entity is LOCATION and target_type is THING:
            for thing_id in ids:
                moves.move(tx, thing_id, [entity_id])
                moves.touch_entity(tx, THING, thing_id)
        case ByTarget(column):
            if target_type is OBSERVATION:
                from twinstack.sensorthings.store.update import move_observation  # which imports this module

                for observation_id in ids:
                    move_observation(tx, observation_id, inverse(link, entity), entity_id)
                return
            for target_id in ids:
                rows.bump(tx.connection, target_type, target_id, {column: entity_id})
                moves.touch_entity(tx, target_type, target_id)
                if target_type is RELATION:
                    check_relation(tx, target_id)
        case ByTable(table, _, _) if table == datastream_property.name:
            _observe(tx, entity, entity_id, target_type, ids)
        case ByTable(table, own, target):
            tx.connection.execute(
                insert_or_ignore(tx.connection, tables.BY_NAME[table]),
                [{own: entity_id, target: target_id} for target_id in ids],
            )


def _observe(tx: Tx, entity: EntityType, entity_id: int, target_type: EntityType, ids: list[int]) -> None:
    """Links an ObservedProperty to Datastreams, or a MultiDatastream to more ObservedProperties."""
    if entity is not OBSERVED_PROPERTY:
        add_properties(tx, entity_id, ids)
        return
    for datastream_id in ids:
        if target_type is DATASTREAM:
            relink_property(tx, datastream_id, entity_id)
        else:
            add_properties(tx, datastream_id, [entity_id])
            check_multi(tx, datastream_id)
        rows.bump(tx.connection, target_type, datastream_id, {})
    moves.touch(tx, ids)


def relink_property(tx: Tx, datastream_id: int, property_id: int) -> bool:
    """The ObservedProperty of a Datastream; whether that changed it."""
    c = datastream_property.c
    result = tx.connection.execute(
        sa.update(datastream_property)
        .where(c.datastream_id == datastream_id, c.rank == 0, c.observed_property_id != property_id)
        .values(observed_property_id=property_id)
    )
    return result.rowcount > 0


def properties_of(connection: sa.Connection, datastream_id: int) -> list[int]:
    """The ObservedProperties of a Datastream of either kind, in order."""
    c = datastream_property.c
    query = sa.select(c.observed_property_id).where(c.datastream_id == datastream_id).order_by(c.rank)
    return list(connection.execute(query).scalars())


def add_properties(tx: Tx, datastream_id: int, property_ids: Sequence[int]) -> bool:
    """Links those that are not linked yet, behind the others."""
    have = properties_of(tx.connection, datastream_id)
    return set_properties(tx, datastream_id, [*have, *(i for i in property_ids if i not in have)])


def set_properties(tx: Tx, datastream_id: int, property_ids: Sequence[int]) -> bool:
    """Makes these, in this order, the ObservedProperties of a Datastream; whether that changed them."""
    if properties_of(tx.connection, datastream_id) == list(property_ids):
        return False
    c = datastream_property.c
    tx.connection.execute(sa.delete(datastream_property).where(c.datastream_id == datastream_id))
    tx.connection.execute(
        sa.insert(datastream_property),
        [
            {"datastream_id": datastream_id, "rank": rank, "observed_property_id": property_id}
            for rank, property_id in enumerate(property_ids)
        ],
    )
    return True


def check_multi(tx: Tx, datastream_id: int) -> None:
    """Errors: InvalidInput when the parts of a MultiDatastream are not equally many (OGC 18-088, 14.3)."""
    query = sa.select(datastream.c.unit, datastream.c.multi_types).where(datastream.c.id == datastream_id)
    row: Any = tx.connection.execute(query).one()
    count = len(properties_of(tx.connection, datastream_id))
    if not len(row.unit) == len(row.multi_types) == count:
        raise InvalidInput(
            f"The {MULTI_DATASTREAM.name} has {len(row.unit)} unitOfMeasurements, {len(row.multi_types)} "
            f"multiObservationDataTypes and {count} ObservedProperties.",
            fix="Send as many of each, in one order, and each ObservedProperty once.",
        )


def check_relation(tx: Tx, relation_id: int) -> None:
    """Errors: InvalidInput for a Relation with an Object and an externalResource, or with neither (22-022r1, 7.5)."""
    c = relation.c
    row = tx.connection.execute(sa.select(c.object_id, c.external_resource).where(c.id == relation_id)).one()
    if (row.object_id is None) == (row.external_resource is None):
        both = "both" if row.object_id is not None else "neither"
        raise InvalidInput(
            f"The Relation has {both} of 'Object' and 'externalResource'.", fix="Send one of them.", property="Object"
        )
