"""PATCH and PUT (OGC 18-088, 10.3): properties merge by top-level key, a single link replaces, a collection of links
adds, `Thing.Locations` replaces. PATCH of an Observation changes history only; the log is append-only."""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from twinstack.core.errors import Stale
from twinstack.sensorthings.model import (
    BY_NAME,
    DATASTREAM,
    FEATURE,
    LOCATION,
    MULTI_DATASTREAM,
    OBSERVATION,
    THING,
    ByColumn,
    EntityType,
    Link,
)
from twinstack.sensorthings.store import aggregates, create, features, links, moves, observations, rows, systems
from twinstack.sensorthings.store.context import WriteContext
from twinstack.sensorthings.store.tables import datastream_feature, observation
from twinstack.sensorthings.store.transaction import Tx
from twinstack.sensorthings.store.values import (
    NewObservation,
    etag,
    etag_matches,
    result_columns,
    result_value,
    start_of,
)
from twinstack.sensorthings.validate import Draft, Ref, check_geometry


class Updated(NamedTuple):
    """`changed`: the names of the properties and links that are different now (MQTT tells subscribers of them)."""

    id: int
    changed: tuple[str, ...]


def check_etag(entity: EntityType, row: Any, if_match: str | None) -> None:
    """Errors: Stale."""
    if if_match is not None and not etag_matches(if_match, etag(entity.name, row._mapping)):
        raise Stale(
            f"{entity.name} {row.id} changed since it was read.",
            fix="Read it again, look at what changed, and repeat.",
            etag=etag(entity.name, row._mapping),
        )


def update(tx: Tx, entity_id: int, draft: Draft, ctx: WriteContext, if_match: str | None = None) -> Updated:
    """Errors: NotFound, PermissionDenied (a received copy), Stale, InvalidInput, Conflict (a reserved name)."""
    entity = draft.entity
    row = rows.load_own(tx.connection, entity, entity_id, ctx)
    check_etag(entity, row, if_match)
    if entity is OBSERVATION:
        return _observation(tx, row, draft)
    columns = rows.columns_of(entity, draft.values)
    linked: list[str] = []
    for link in entity.links:
        targets = draft.links.get(link.name)
        if targets is None:
            continue
        refs = [t for t in targets if isinstance(t, Ref)]
        ids = rows.check_links(tx.connection, BY_NAME[link.target], refs, row.system_id)
        if isinstance(link.join, ByColumn):
            columns[link.join.column] = ids[0] if ids else None
        elif link.name == create.OBSERVED.get(entity.name):
            change = links.set_properties if draft.replace or not link.many else links.add_properties
            if ids and change(tx, entity_id, ids):
                linked.append(link.name)
        elif ids or (entity is THING and link.target == LOCATION.name):
            links.link_many(tx, entity, entity_id, link, ids)
            linked.append(link.name)
    columns = rows.changed_columns(row, columns)
    if not columns and not linked:
        return Updated(entity_id, ())
    if columns:
        _check_geometry(entity, row, columns)
    rows.bump(tx.connection, entity, entity_id, columns)
    create.check(tx, entity, entity_id)
    _consequences(tx, entity, row, columns)
    moves.touch_entity(tx, entity, entity_id)
    names = [p.name for p in entity.properties if p.column in columns]
    names += [k.name for k in entity.links if isinstance(k.join, ByColumn) and k.join.column in columns]
    return Updated(entity_id, tuple(names + linked))


def _check_geometry(entity: EntityType, row: Any, columns: dict[str, Any]) -> None:
    """An update may name the geometry or its encodingType alone. Errors: InvalidInput."""
    if entity in (LOCATION, FEATURE):
        now = {**row._mapping, **columns}
        check_geometry(entity, {p.name: now[p.column] for p in entity.properties})


def _consequences(tx: Tx, entity: EntityType, row: Any, columns: dict[str, Any]) -> None:
    if "name" in columns:
        rows.set_name(tx, entity, row.id, systems.by_id(tx.connection, row.system_id).name, columns["name"])
    features.after_change(tx.connection, entity, row.id, columns)


def move_observation(tx: Tx, observation_id: int, link: Link, target_id: int) -> None:
    """Gives an Observation another Datastream, MultiDatastream or feature. Errors: InvalidResult where its result
    does not fit there."""
    row = rows.load(tx.connection, OBSERVATION, observation_id)
    _observation(tx, row, Draft(OBSERVATION, {}, {link.name: [Ref(target_id)]}))


def _observation(tx: Tx, row: Any, draft: Draft) -> Updated:
    values, columns = draft.values, dict[str, Any]()
    if values.get("phenomenonTime"):
        columns["t"], columns["t_end"] = values["phenomenonTime"]
    if "resultTime" in values:
        columns["result_time"] = values["resultTime"]
    datastream_id, feature_id = _observation_links(tx, row, draft)
    columns |= {"datastream_id": datastream_id, "feature_id": feature_id}
    extra = dict(row.extra or {})
    extra.pop("result", None)
    for name in ("parameters", "resultQuality", "validTime"):
        if name in values:
            value = list(values[name]) if name == "validTime" and values[name] else values[name]
            extra.pop(name, None)
            if value is not None:
                extra[name] = value
    result = values["result"] if "result" in values else result_value(row.result, row.kind, row.extra)
    stream = aggregates.streams(tx.connection, [datastream_id])[datastream_id]
    observations.check_result(stream, result)
    columns["result"], columns["kind"], columns["extra"] = result_columns(
        result, extra or None, multi=stream.multi, texts_apart=tx.texts_apart
    )
    linked = _add_links(tx, row, draft)
    columns = rows.changed_columns(row, columns)
    if not columns:
        return Updated(row.id, tuple(linked))
    tx.connection.execute(sa.update(observation).where(observation.c.id == row.id).values(columns))
    now = NewObservation(
        datastream_id,
        columns.get("t", start_of(row)),
        result,
        columns.get("t_end", row.t_end),
        columns.get("result_time", row.result_time),
    )
    aggregates.forget(tx.connection, row)
    aggregates.remember(tx.connection, row.id, now)
    settle_features(tx, {row.datastream_id, datastream_id}, {row.feature_id, feature_id})
    changed = {
        p.name for p in OBSERVATION.properties if p.name in values and (p.column in columns or "extra" in columns)
    }
    changed |= {
        k.name
        for k in OBSERVATION.links
        if k.name in draft.links and isinstance(k.join, ByColumn) and k.join.column in columns
    }
    return Updated(row.id, tuple(sorted(changed.union(linked))))


def _observation_links(tx: Tx, row: Any, draft: Draft) -> tuple[int, int | None]:
    """The Datastream, of either kind, and the feature that the Observation has afterwards."""
    datastream_id, feature_id = row.datastream_id, row.feature_id
    if draft.links.get("Datastream") or draft.links.get("MultiDatastream"):
        target, multi = create.stream_of(draft)
        refs = [target] if isinstance(target, Ref) else []
        kind = MULTI_DATASTREAM if multi else DATASTREAM
        datastream_id = rows.check_links(tx.connection, kind, refs, row.system_id)[0]
    if targets := draft.links.get("FeatureOfInterest"):
        refs = [t for t in targets if isinstance(t, Ref)]
        feature_id = rows.check_links(tx.connection, FEATURE, refs, row.system_id)[0]
    return datastream_id, feature_id


def _add_links(tx: Tx, row: Any, draft: Draft) -> list[str]:
    """Adds the Observation to groups and relations; the names of these links."""
    linked = []
    for link in OBSERVATION.links:
        if link.many and (targets := draft.links.get(link.name)):
            refs = [t for t in targets if isinstance(t, Ref)]
            ids = rows.check_links(tx.connection, BY_NAME[link.target], refs, row.system_id)
            links.link_many(tx, OBSERVATION, row.id, link, ids)
            linked.append(link.name)
    return linked


def settle_features(tx: Tx, datastream_ids: set[int], feature_ids: set[int | None]) -> None:
    """After changed or deleted Observations: which of these features these Datastreams still have."""
    o, pair = observation.c, datastream_feature.c
    for datastream_id in sorted(datastream_ids):
        for feature_id in sorted(i for i in feature_ids if i is not None):
            some = sa.select(o.id).where(o.datastream_id == datastream_id, o.feature_id == feature_id).limit(1)
            if tx.connection.execute(some).first() is not None:
                features.add_pairs(tx.connection, [(datastream_id, feature_id)])
                continue
            gone = sa.delete(datastream_feature).where(
                pair.datastream_id == datastream_id, pair.feature_id == feature_id
            )
            if tx.connection.execute(gone).rowcount:
                features.recompute_box(tx.connection, [datastream_id])
