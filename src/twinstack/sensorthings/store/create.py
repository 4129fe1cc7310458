"""Deep insert: an entity with everything nested in it, in one transaction (OGC 18-088, 10.2.1).

To-one links first (their ids are columns), then the row, then to-many links. A nested entity knows its parent by the
inverse link, so it is created exactly as if it had been posted alone with that link.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from twinstack.core import names
from twinstack.core.errors import Conflict, InvalidInput, TwinstackError
from twinstack.sensorthings.model import (
    BY_NAME,
    DATASTREAM,
    HISTORICAL_LOCATION,
    LOCATION,
    OBSERVATION,
    THING,
    ByColumn,
    ByTable,
    ByTarget,
    EntityType,
    Link,
)
from twinstack.sensorthings.store import features, moves, observations, rows, systems, tables
from twinstack.sensorthings.store.context import Created, WriteContext
from twinstack.sensorthings.store.systems import SystemRow
from twinstack.sensorthings.store.tables import datastream, datastream_property, datastream_stat
from twinstack.sensorthings.store.transaction import Tx, insert_or_ignore
from twinstack.sensorthings.store.values import NewObservation
from twinstack.sensorthings.validate import Draft, Ref


def inverse_of(entity: EntityType, parent: EntityType) -> Link:
    """The link of `entity` that leads to `parent`. Errors: InvalidInput when there is none."""
    for link in entity.links:
        if link.target == parent.name:
            return link
    raise InvalidInput(f"A {parent.name} has no {entity.set_name}.", fix="Post to another path.")


def set_parent(draft: Draft, parent: EntityType, via: Link, parent_id: int) -> None:
    """The draft was posted to `Things(1)/Datastreams`: it belongs to that parent, whatever its body says."""
    draft.links[inverse_of(draft.entity, parent).name] = [Ref(parent_id)]


def create(tx: Tx, draft: Draft, ctx: WriteContext, inherited: int | None = None) -> Created:
    """Stores the draft; `inherited` is the system of the entity it is nested in.

    Errors: InvalidInput (a mandatory link is missing), NotFound (a linked entity), Conflict (a reserved name exists,
    on 1.1), PermissionDenied.
    """
    entity = draft.entity
    if entity is OBSERVATION:
        return _observation(tx, draft, ctx)
    name = draft.values.get("name")
    if inherited is None:
        inherited = _inherited(tx, draft)
    owner = systems.owner(tx, ctx, name, inherited)
    existing = rows.by_name(tx.connection, entity, name) if rows.is_reserved(owner.name, name) and name else None
    if existing is not None:
        return _again(tx, draft, existing, owner, ctx)
    for link in entity.links:
        if link.mandatory and not draft.links.get(link.name):
            raise InvalidInput(f"The {entity.name} has no '{link.name}'.", fix=f'Send "{link.name}": {{"@iot.id": 1}}.')
    one = {link.name: _to_one(tx, link, draft, owner, ctx) for link in entity.links if not link.many}
    columns = rows.columns_of(entity, draft.values)
    for link in entity.links:
        if isinstance(link.join, ByColumn):
            columns[link.join.column] = one[link.name]
    entity_id = tx.new_id(entity.table)
    if entity is DATASTREAM:
        columns.update(_datastream_columns(tx, draft, owner, ctx, columns["thing_id"], entity_id))
    tx.connection.execute(sa.insert(rows.table_of(entity)), {"id": entity_id, "system_id": owner.id, **columns})
    if name is not None:
        rows.set_name(tx, entity, entity_id, owner.name, name)
    if entity is DATASTREAM:
        _datastream_rows(tx, entity_id, one["ObservedProperty"], owner)
    _to_many(tx, draft, entity_id, owner, ctx)
    return Created(entity_id, "created")


def _inherited(tx: Tx, draft: Draft) -> int | None:
    """The system of the first entity that the draft links by id."""
    for link in draft.entity.links:
        for target in draft.links.get(link.name, ()):
            if isinstance(target, Ref):
                return rows.system_of_ref(tx.connection, BY_NAME[link.target], target)
    return None


def _again(tx: Tx, draft: Draft, existing: int, owner: SystemRow, ctx: WriteContext) -> Created:
    """The name of a registered system's entity is posted again: merged on 1.0, refused on 1.1."""
    entity = draft.entity
    if ctx.version != "1.0":
        raise Conflict(
            f"The {entity.name} '{draft.values['name']}' exists already.",
            fix=f"Use {entity.set_name}({existing}).",
            id=existing,
            set=entity.set_name,
        )
    return merge(tx, draft, existing, owner, ctx)


def merge(tx: Tx, draft: Draft, entity_id: int, owner: SystemRow, ctx: WriteContext) -> Created:
    """Brings an existing entity to what the draft says: named properties and to-one links; nested Locations of a
    Thing are merged by name. `unchanged` when nothing differs."""
    entity = draft.entity
    row = rows.load(tx.connection, entity, entity_id)
    columns = rows.columns_of(entity, draft.values)
    changed = False
    for link in entity.links:
        if not link.many and draft.links.get(link.name):
            target_id = _to_one(tx, link, draft, owner, ctx)
            if isinstance(link.join, ByColumn):
                columns[link.join.column] = target_id
            elif isinstance(link.join, ByTable):
                changed |= relink_property(tx, entity_id, target_id)
    columns = rows.changed_columns(row, columns)
    if columns or changed:
        rows.bump(tx.connection, entity, entity_id, columns)
        features.after_change(tx.connection, entity, entity_id, columns)
        changed = True
    for link in entity.links:
        if entity is THING and link.target == LOCATION.name and draft.links.get(link.name):
            changed |= _merge_locations(tx, draft, entity_id, owner, ctx)
        elif link.many:
            changed |= _merge_nested(tx, draft, link, entity_id, owner, ctx)
    if changed:
        moves.touch_entity(tx, entity, entity_id)
    return Created(entity_id, "changed" if changed else "unchanged")


def _merge_nested(tx: Tx, draft: Draft, link: Link, entity_id: int, owner: SystemRow, ctx: WriteContext) -> bool:
    changed = False
    for nested in draft.links.get(link.name, ()):
        if isinstance(nested, Draft):
            nested.links[inverse_of(nested.entity, draft.entity).name] = [Ref(entity_id)]
            changed |= create(tx, nested, ctx, owner.id).status != "unchanged"
    return changed


def relink_property(tx: Tx, datastream_id: int, property_id: int) -> bool:
    c = datastream_property.c
    result = tx.connection.execute(
        sa.update(datastream_property)
        .where(c.datastream_id == datastream_id, c.rank == 0, c.observed_property_id != property_id)
        .values(observed_property_id=property_id)
    )
    return result.rowcount > 0


def _merge_locations(tx: Tx, draft: Draft, thing_id: int, owner: SystemRow, ctx: WriteContext) -> bool:
    current = moves.locations_of(tx.connection, thing_id)
    by_name = {rows.load(tx.connection, LOCATION, i).name: i for i in current}
    changed = False
    wanted: list[int] = []
    for target in draft.links["Locations"]:
        if isinstance(target, Ref):
            wanted.extend(rows.check_links(tx.connection, LOCATION, [target], owner.id))
        elif (known := by_name.get(target.values["name"])) is not None:
            row = rows.load(tx.connection, LOCATION, known)
            columns = rows.changed_columns(row, rows.columns_of(LOCATION, target.values))
            if columns:
                rows.bump(tx.connection, LOCATION, known, columns)
                features.after_change(tx.connection, LOCATION, known, columns)
                changed = True
            wanted.append(known)
        else:
            wanted.append(create(tx, target, ctx, owner.id).id)
    if sorted(set(wanted)) != current:
        moves.move(tx, thing_id, wanted)
        changed = True
    return changed


def _to_one(tx: Tx, link: Link, draft: Draft, owner: SystemRow, ctx: WriteContext) -> int:
    target = draft.links[link.name][0]
    target_type = BY_NAME[link.target]
    if isinstance(target, Ref):
        return rows.check_links(tx.connection, target_type, [target], owner.id)[0]
    return create(tx, target, ctx, owner.id).id


def _datastream_columns(
    tx: Tx, draft: Draft, owner: SystemRow, ctx: WriteContext, thing_id: int, entity_id: int
) -> dict[str, Any]:
    """The log key is fixed here for good: a rename keeps it."""
    thing_name = rows.load(tx.connection, THING, thing_id).name
    log_key = names.datastream_name(owner.name, thing_name, draft.values["name"])
    taken = sa.select(datastream.c.id).where(datastream.c.system_id == owner.id, datastream.c.log_key == log_key)
    if tx.connection.execute(taken).first() is not None:
        log_key = f"{log_key}~{entity_id}"
    return {"log_key": log_key, "registered_by": ctx.client}


def _datastream_rows(tx: Tx, entity_id: int, property_id: int, owner: SystemRow) -> None:
    tx.connection.execute(
        sa.insert(datastream_property),
        {"datastream_id": entity_id, "rank": 0, "observed_property_id": property_id},
    )
    tx.connection.execute(sa.insert(datastream_stat), {"datastream_id": entity_id})
    tx.outgoing.meta.append((owner.name, entity_id))


def _to_many(tx: Tx, draft: Draft, entity_id: int, owner: SystemRow, ctx: WriteContext) -> None:
    entity = draft.entity
    for link in entity.links:
        if not link.many or link.name not in draft.links:
            continue
        target_type = BY_NAME[link.target]
        refs = [t for t in draft.links[link.name] if isinstance(t, Ref)]
        ids = rows.check_links(tx.connection, target_type, refs, owner.id) if refs else []
        inverse = inverse_of(target_type, entity)
        # A Thing's new Locations become one move below; any other nested entity links its parent itself.
        moving = entity is THING and target_type is LOCATION
        for nested in (t for t in draft.links[link.name] if isinstance(t, Draft)):
            if not moving:
                nested.links.setdefault(inverse.name, []).insert(0, Ref(entity_id))
            made = create(tx, nested, ctx, owner.id).id
            if moving:
                ids.append(made)
        if ids:
            link_many(tx, entity, entity_id, link, ids)
    if entity is HISTORICAL_LOCATION:
        moves.follow_history(tx, entity_id)


def link_many(tx: Tx, entity: EntityType, entity_id: int, link: Link, ids: list[int]) -> None:
    """Adds links to existing entities of the same system. Errors: InvalidInput for Observations, which stay."""
    match link.join:
        case _ if entity is THING and link.target == LOCATION.name:
            moves.move(tx, entity_id, ids)
        case _ if entity is LOCATION and link.target == THING.name:
            for thing_id in ids:
                moves.move(tx, thing_id, [entity_id])
                moves.touch_entity(tx, THING, thing_id)
        case ByTarget(column):
            if link.target == OBSERVATION.name:
                raise InvalidInput(
                    f"Observations cannot be moved to another {entity.name} from there.",
                    fix=f"PATCH the Observation's '{entity.name}'.",
                )
            for target_id in ids:
                rows.bump(tx.connection, BY_NAME[link.target], target_id, {column: entity_id})
                moves.touch_entity(tx, BY_NAME[link.target], target_id)
        case ByTable(table, _, _) if table == datastream_property.name:
            for datastream_id in ids:
                relink_property(tx, datastream_id, entity_id)
                rows.bump(tx.connection, DATASTREAM, datastream_id, {})
            moves.touch(tx, ids)
        case ByTable(table, own, target):
            tx.connection.execute(
                insert_or_ignore(tx.connection, tables.BY_NAME[table]),
                [{own: entity_id, target: target_id} for target_id in ids],
            )


def _observation(tx: Tx, draft: Draft, ctx: WriteContext) -> Created:
    """An Observation of a deep insert, or with an inline FeatureOfInterest."""
    targets = draft.links.get("Datastream")
    if not targets:
        raise InvalidInput("The Observation has no 'Datastream'.", fix='Send "Datastream": {"@iot.id": 1}.')
    target = targets[0]
    datastream_id = target.id if isinstance(target, Ref) else create(tx, target, ctx).id
    check_writable(tx, [datastream_id], ctx)
    feature_id: int | None = None
    if feature := draft.links.get("FeatureOfInterest"):
        if isinstance(feature[0], Ref):
            feature_id = feature[0].id
        else:
            system_id = rows.load(tx.connection, DATASTREAM, datastream_id).system_id
            feature_id = create(tx, feature[0], ctx, system_id).id
    row = new_observation(draft, datastream_id, feature_id, tx.now_us)
    outcome = observations.insert_requests(tx, [([row], False)])[0][0]
    if isinstance(outcome, TwinstackError):
        raise outcome
    return Created(outcome, "created")


def new_observation(draft: Draft, datastream_id: int, feature_id: int | None, now_us: int) -> NewObservation:
    """An Observation's draft as a row; without phenomenonTime it gets the time of arrival."""
    values = draft.values
    start, end = values.get("phenomenonTime") or (now_us, None)
    valid = values.get("validTime")
    extra = {k: values[k] for k in ("parameters", "resultQuality") if values.get(k) is not None}
    if valid is not None:
        extra["validTime"] = list(valid)
    return NewObservation(
        datastream_id, start, values["result"], end, values.get("resultTime"), feature_id, extra or None
    )


def check_writable(tx: Tx, datastream_ids: list[int], ctx: WriteContext) -> None:
    """Errors: NotFound for a Datastream of a system this context may not write."""
    if ctx.system is None and ctx.writable is None:
        return
    for datastream_id in datastream_ids:
        rows.load_own(tx.connection, DATASTREAM, datastream_id, ctx)
