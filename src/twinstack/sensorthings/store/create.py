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
    MULTI_DATASTREAM,
    OBSERVATION,
    OBSERVED_PROPERTY,
    THING,
    ByColumn,
    ByTable,
    EntityType,
    Link,
    inverse,
)
from twinstack.sensorthings.staplus import RELATION
from twinstack.sensorthings.store import features, links, moves, observations, rows, systems
from twinstack.sensorthings.store.context import Created, WriteContext
from twinstack.sensorthings.store.systems import SystemRow
from twinstack.sensorthings.store.tables import datastream, datastream_stat
from twinstack.sensorthings.store.transaction import Tx
from twinstack.sensorthings.store.values import NewObservation
from twinstack.sensorthings.validate import Draft, Ref

OBSERVED = {DATASTREAM.name: "ObservedProperty", MULTI_DATASTREAM.name: "ObservedProperties"}
"""The link of a Datastream that says what is observed: stored in order, by `datastream_property`."""

OF_ROW = ("Datastream", "MultiDatastream", "FeatureOfInterest")
"""The links of an Observation that are columns of its row."""


def set_parent(draft: Draft, parent: EntityType, parent_id: int, via: Link | None) -> None:
    """The draft was posted to `Things(1)/Datastreams`: it belongs to that parent, whatever its body says; `via` is the
    parent's link to it, where it has several of that type."""
    link = via or next(link for link in parent.links if link.many and link.target == draft.entity.name)
    links.link_parent(draft, inverse(link, parent), parent_id)


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
    _check_mandatory(draft)
    columns = {**rows.columns_of(entity, draft.values), **dict(entity.where)}
    for link in entity.links:
        if isinstance(link.join, ByColumn) and draft.links.get(link.name):
            columns[link.join.column] = _to_one(tx, link, draft, owner, ctx)
    observed = _observed(tx, draft, owner, ctx)
    entity_id = tx.new_id(entity.table)
    if observed:
        columns.update(_datastream_columns(tx, draft, owner, ctx, columns["thing_id"], entity_id))
    tx.connection.execute(sa.insert(rows.table_of(entity)), {"id": entity_id, "system_id": owner.id, **columns})
    if name is not None:
        rows.set_name(tx, entity, entity_id, owner.name, name)
    if observed:
        links.set_properties(tx, entity_id, observed)
        tx.connection.execute(sa.insert(datastream_stat), {"datastream_id": entity_id})
        tx.outgoing.meta.append((owner.name, entity_id))
    check(tx, entity, entity_id)
    _to_many(tx, draft, entity_id, owner, ctx)
    return Created(entity_id, "created")


def check(tx: Tx, entity: EntityType, entity_id: int) -> None:
    """The rules of one entity that its properties and links together obey. Errors: InvalidInput."""
    if entity is MULTI_DATASTREAM:
        links.check_multi(tx, entity_id)
    elif entity is RELATION:
        links.check_relation(tx, entity_id)


def _check_mandatory(draft: Draft) -> None:
    for link in draft.entity.links:
        if link.mandatory and not draft.links.get(link.name):
            example = '[{"@iot.id": 1}]' if link.many else '{"@iot.id": 1}'
            raise InvalidInput(
                f"The {draft.entity.name} has no '{link.name}'.",
                fix=f'Send "{link.name}": {example}.',
                property=link.name,
            )


def _observed(tx: Tx, draft: Draft, owner: SystemRow, ctx: WriteContext) -> list[int]:
    """The ObservedProperties of a new Datastream of either kind, in order; none for other types."""
    link = draft.entity.link(OBSERVED.get(draft.entity.name, ""))
    if link is None:
        return []
    ids = [_target(tx, target, OBSERVED_PROPERTY, owner, ctx) for target in draft.links.get(link.name, ())]
    return list(dict.fromkeys(ids))


def _inherited(tx: Tx, draft: Draft) -> int | None:
    """The system of the first entity that the draft, or one nested in it, links by id."""
    for link in draft.entity.links:
        for target in draft.links.get(link.name, ()):
            found = (
                rows.system_of_ref(tx.connection, BY_NAME[link.target], target)
                if isinstance(target, Ref)
                else _inherited(tx, target)
            )
            if found is not None:
                return found
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
                changed |= links.relink_property(tx, entity_id, target_id)
    if entity is MULTI_DATASTREAM and (observed := _observed(tx, draft, owner, ctx)):
        changed |= links.set_properties(tx, entity_id, observed)
    columns = rows.changed_columns(row, columns)
    if columns or changed:
        rows.bump(tx.connection, entity, entity_id, columns)
        features.after_change(tx.connection, entity, entity_id, columns)
        changed = True
    for link in entity.links:
        if entity is THING and link.target == LOCATION.name and draft.links.get(link.name):
            changed |= _merge_locations(tx, draft, entity_id, owner, ctx)
        elif link.many and link.target != OBSERVED_PROPERTY.name:
            changed |= _merge_nested(tx, draft, link, entity_id, owner, ctx)
    check(tx, entity, entity_id)
    if changed:
        moves.touch_entity(tx, entity, entity_id)
    return Created(entity_id, "changed" if changed else "unchanged")


def _merge_nested(tx: Tx, draft: Draft, link: Link, entity_id: int, owner: SystemRow, ctx: WriteContext) -> bool:
    changed = False
    for nested in draft.links.get(link.name, ()):
        if isinstance(nested, Draft):
            links.link_parent(nested, inverse(link, draft.entity), entity_id)
            changed |= create(tx, nested, ctx, owner.id).status != "unchanged"
    return changed


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
    return _target(tx, draft.links[link.name][0], BY_NAME[link.target], owner, ctx)


def _target(tx: Tx, target: Ref | Draft, target_type: EntityType, owner: SystemRow, ctx: WriteContext) -> int:
    """The id of a linked entity, created first when it is new."""
    if isinstance(target, Ref):
        return rows.check_links(tx.connection, target_type, [target], owner.id)[0]
    made = create(tx, target, ctx, owner.id).id
    if target_type is OBSERVATION:  # it is of its Datastream's system
        rows.check_links(tx.connection, target_type, [Ref(made)], owner.id)
    return made


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


def _to_many(tx: Tx, draft: Draft, entity_id: int, owner: SystemRow, ctx: WriteContext) -> None:
    entity = draft.entity
    for link in entity.links:
        if not link.many or link.name not in draft.links or link.name == OBSERVED.get(entity.name):
            continue
        target_type = BY_NAME[link.target]
        refs = [t for t in draft.links[link.name] if isinstance(t, Ref)]
        ids = rows.check_links(tx.connection, target_type, refs, owner.id) if refs else []
        # A Thing's new Locations become one move below; any other nested entity links its parent itself.
        moving = entity is THING and target_type is LOCATION
        for nested in (t for t in draft.links[link.name] if isinstance(t, Draft)):
            if not moving:
                links.link_parent(nested, inverse(link, entity), entity_id)
            made = _target(tx, nested, target_type, owner, ctx)
            if moving:
                ids.append(made)
        if ids:
            links.link_many(tx, entity, entity_id, link, ids)
    if entity is HISTORICAL_LOCATION:
        moves.follow_history(tx, entity_id)


def stream_of(draft: Draft) -> tuple[Ref | Draft, bool]:
    """What an Observation belongs to, and whether that is a MultiDatastream. Errors: InvalidInput for none or both."""
    given = [(name, draft.links[name]) for name in ("Datastream", "MultiDatastream") if draft.links.get(name)]
    if len(given) != 1:
        have = "both a Datastream and a MultiDatastream" if given else "no 'Datastream'"
        raise InvalidInput(
            f"The Observation has {have}.", fix='Send "Datastream": {"@iot.id": 1}, or "MultiDatastream".'
        )
    [(name, targets)] = given
    return targets[0], name == "MultiDatastream"


def _observation(tx: Tx, draft: Draft, ctx: WriteContext) -> Created:
    """An Observation of a deep insert, with an inline FeatureOfInterest, or with links of STAplus."""
    target, multi = stream_of(draft)
    datastream_id = target.id if isinstance(target, Ref) else create(tx, target, ctx).id
    stream_type = MULTI_DATASTREAM if multi else DATASTREAM
    check_writable(tx, [datastream_id], ctx, stream_type)
    feature_id: int | None = None
    if feature := draft.links.get("FeatureOfInterest"):
        if isinstance(feature[0], Ref):
            feature_id = feature[0].id
        else:
            system_id = rows.load(tx.connection, stream_type, datastream_id).system_id
            feature_id = create(tx, feature[0], ctx, system_id).id
    row = new_observation(draft, datastream_id, feature_id, tx.now_us, multi=multi)
    outcome = observations.insert_requests(tx, [([row], False)])[0][0]
    if isinstance(outcome, TwinstackError):
        raise outcome
    if any(link.many for link in OBSERVATION.links if link.name in draft.links):
        system_id = rows.load(tx.connection, stream_type, datastream_id).system_id
        _to_many(tx, draft, outcome, systems.by_id(tx.connection, system_id), ctx)
    return Created(outcome, "created")


def new_observation(
    draft: Draft, datastream_id: int, feature_id: int | None, now_us: int, *, multi: bool = False
) -> NewObservation:
    """An Observation's draft as a row; without phenomenonTime it gets the time of arrival."""
    values = draft.values
    start, end = values.get("phenomenonTime") or (now_us, None)
    valid = values.get("validTime")
    extra = {k: values[k] for k in ("parameters", "resultQuality") if values.get(k) is not None}
    if valid is not None:
        extra["validTime"] = list(valid)
    return NewObservation(
        datastream_id, start, values["result"], end, values.get("resultTime"), feature_id, extra or None, multi=multi
    )


def check_writable(tx: Tx, datastream_ids: list[int], ctx: WriteContext, stream_type: EntityType | None = None) -> None:
    """Errors: NotFound for a Datastream of a system this context may not write; `stream_type` None: of either kind."""
    if ctx.system is None and ctx.writable is None:
        return
    for datastream_id in datastream_ids:
        rows.load_own(tx.connection, stream_type or rows.stream_type(tx.connection, datastream_id), datastream_id, ctx)
