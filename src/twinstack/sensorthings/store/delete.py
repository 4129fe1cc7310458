"""DELETE with its cascades (OGC 18-088, 10.4). A cascade never leaves a system, because links never do.

The row of `datastream_stat` goes first: it is the lock that inserts take. A Datastream with more Observations than
one transaction should hold disappears at once (`dead_datastream` hides its rows); `sweep` deletes them in slices.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from twinstack.core import limits
from twinstack.sensorthings.model import (
    DATASTREAM,
    FEATURE,
    HISTORICAL_LOCATION,
    LOCATION,
    MULTI_DATASTREAM,
    OBSERVATION,
    OBSERVED_PROPERTY,
    SENSOR,
    THING,
    EntityType,
)
from twinstack.sensorthings.staplus import CAMPAIGN, LICENSE, OBSERVATION_GROUP, PARTY, RELATION
from twinstack.sensorthings.store import aggregates, features, moves, rows, systems
from twinstack.sensorthings.store.context import WriteContext
from twinstack.sensorthings.store.tables import (
    BY_NAME,
    campaign_datastream,
    campaign_observation_group,
    datastream,
    datastream_feature,
    datastream_property,
    datastream_stat,
    dead_datastream,
    group_observation,
    group_relation,
    historical_location,
    historical_location_location,
    observation,
    relation,
    thing_location,
)
from twinstack.sensorthings.store.transaction import Tx
from twinstack.sensorthings.store.update import check_etag, settle_features


def delete(tx: Tx, entity: EntityType, entity_id: int, ctx: WriteContext, if_match: str | None = None) -> None:
    """Errors: NotFound, PermissionDenied (a received copy), Stale."""
    row = rows.load_own(tx.connection, entity, entity_id, ctx)
    check_etag(entity, row, if_match)
    remove(tx, entity, entity_id)


def remove(tx: Tx, entity: EntityType, entity_id: int) -> None:
    _REMOVE[entity.name](tx, entity_id)


def _row(tx: Tx, entity: EntityType, entity_id: int) -> None:
    table = rows.table_of(entity)
    tx.connection.execute(sa.delete(table).where(table.c.id == entity_id))
    rows.drop_name(tx.connection, entity, entity_id)


def _streams_of(tx: Tx, table: str, entity_id: int) -> None:
    """The Datastreams of an entity; together they take no more Observations along at once than one does alone."""
    ids = moves.datastreams_of(tx.connection, table, entity_id)
    s = datastream_stat.c
    query = sa.select(sa.func.coalesce(sa.func.sum(s.n), 0)).where(s.datastream_id.in_(ids))
    at_once = tx.connection.execute(query).scalar_one() <= limits.CASCADE_ROWS_MAX
    for datastream_id in ids:
        _datastream(tx, datastream_id, at_once=at_once)


def _thing(tx: Tx, thing_id: int) -> None:
    _streams_of(tx, "thing", thing_id)
    h = historical_location.c
    _histories(tx, sa.select(h.id).where(h.thing_id == thing_id))
    moves.place(tx, thing_id, ())
    _row(tx, THING, thing_id)


def _location(tx: Tx, location_id: int) -> None:
    touched = moves.datastreams_of(tx.connection, "location", location_id)
    c = historical_location_location.c
    _histories(tx, sa.select(c.historical_location_id).where(c.location_id == location_id))
    tx.connection.execute(sa.delete(thing_location).where(thing_location.c.location_id == location_id))
    features.detach_generated(tx.connection, location_id)
    _row(tx, LOCATION, location_id)
    moves.touch(tx, touched)


def _historical_location(tx: Tx, history_id: int) -> None:
    h = historical_location.c
    _histories(tx, sa.select(h.id).where(h.id == history_id))


def _histories(tx: Tx, which: sa.Select[int]) -> None:
    """HistoricalLocations by the thousand: a Thing that moves has one for each move."""
    ids = tx.connection.execute(which).scalars().all()
    for i in range(0, len(ids), limits.CASCADE_SLICE_ROWS):
        some = ids[i : i + limits.CASCADE_SLICE_ROWS]
        c = historical_location_location.c
        tx.connection.execute(sa.delete(historical_location_location).where(c.historical_location_id.in_(some)))
        tx.connection.execute(sa.delete(historical_location).where(historical_location.c.id.in_(some)))


def _sensor(tx: Tx, sensor_id: int) -> None:
    _streams_of(tx, "sensor", sensor_id)
    _row(tx, SENSOR, sensor_id)


def _observed_property(tx: Tx, property_id: int) -> None:
    _streams_of(tx, "observed_property", property_id)
    _row(tx, OBSERVED_PROPERTY, property_id)


def _datastream(tx: Tx, datastream_id: int, *, at_once: bool = True) -> None:
    """A Datastream of either kind. Not `at_once`: its Observations are hidden, and go in slices."""
    connection = tx.connection
    entity = rows.stream_type(connection, datastream_id)
    row = rows.load(connection, entity, datastream_id)
    stat = sa.delete(datastream_stat).where(datastream_stat.c.datastream_id == datastream_id)
    n = connection.execute(stat.returning(datastream_stat.c.n)).scalar_one_or_none() or 0
    _relations_in(tx, datastream_id)
    if n > limits.CASCADE_ROWS_MAX or (n and not at_once):
        connection.execute(sa.insert(dead_datastream), {"datastream_id": datastream_id})
    else:
        having = sa.select(observation.c.id).where(observation.c.datastream_id == datastream_id)
        _ungroup(tx, having)
        connection.execute(sa.delete(observation).where(observation.c.datastream_id == datastream_id))
    for table in (datastream_feature, datastream_property, campaign_datastream):
        connection.execute(sa.delete(table).where(table.c.datastream_id == datastream_id))
    # Received copies stay, frozen: what was shared was shared.
    connection.execute(
        sa.update(datastream)
        .where(datastream.c.copy_of == datastream_id)
        .values(ended=True, version=datastream.c.version + 1)
    )
    tx.outgoing.gone.append((systems.by_id(connection, row.system_id).name, row.log_key))
    _row(tx, entity, datastream_id)


def _relations_in(tx: Tx, datastream_id: int) -> None:
    """Relations end with their Subject or Object; at once, also where the Observations go in slices. The Relations
    lead, not the Observations, of which there may be millions."""
    r, o = relation.c, observation.c
    for column in (r.subject_id, r.object_id):
        ended = sa.select(r.id).join(observation, o.id == column).where(o.datastream_id == datastream_id)
        for relation_id in tx.connection.execute(ended).scalars().all():
            _relation(tx, relation_id)


def _end_links(tx: Tx, observation_ids: sa.Select[int]) -> None:
    """What STAplus links to these Observations: Relations go, groups stay."""
    r = relation.c
    for column in (r.subject_id, r.object_id):
        for relation_id in tx.connection.execute(sa.select(r.id).where(column.in_(observation_ids))).scalars().all():
            _relation(tx, relation_id)
    _ungroup(tx, observation_ids)


def _ungroup(tx: Tx, observation_ids: sa.Select[int]) -> None:
    gone = sa.delete(group_observation).where(group_observation.c.observation_id.in_(observation_ids))
    tx.connection.execute(gone)


def _feature(tx: Tx, feature_id: int) -> None:
    connection = tx.connection
    c = datastream_feature.c
    having = connection.execute(sa.select(c.datastream_id).where(c.feature_id == feature_id)).scalars().all()
    connection.execute(sa.delete(datastream_feature).where(c.feature_id == feature_id))
    o = observation.c
    for datastream_id in sorted(having):
        of_feature = (o.datastream_id == datastream_id) & (o.feature_id == feature_id)
        _end_links(tx, sa.select(o.id).where(of_feature))
        connection.execute(sa.delete(observation).where(of_feature))
        aggregates.recompute(connection, datastream_id)
    features.recompute_box(connection, having)
    _row(tx, FEATURE, feature_id)


def _observation(tx: Tx, observation_id: int) -> None:
    _end_links(tx, sa.select(observation.c.id).where(observation.c.id == observation_id))
    gone = sa.delete(observation).where(observation.c.id == observation_id)
    row = tx.connection.execute(gone.returning(*observation.c)).one()
    aggregates.forget(tx.connection, row)
    settle_features(tx, {row.datastream_id}, {row.feature_id})


def _party(tx: Tx, party_id: int) -> None:
    _unlink(tx, "party_id", party_id, ("thing", "datastream", "campaign", "observation_group"))
    _row(tx, PARTY, party_id)


def _license(tx: Tx, license_id: int) -> None:
    _unlink(tx, "license_id", license_id, ("datastream", "campaign", "observation_group"))
    _row(tx, LICENSE, license_id)


def _unlink(tx: Tx, column: str, entity_id: int, tables_of: tuple[str, ...]) -> None:
    """What belonged to a Party or License stays, without it."""
    for name in tables_of:
        table = BY_NAME[name]
        tx.connection.execute(
            sa.update(table).where(table.c[column] == entity_id).values({column: None, "version": table.c.version + 1})
        )


def _campaign(tx: Tx, campaign_id: int) -> None:
    for table in (campaign_datastream, campaign_observation_group):
        tx.connection.execute(sa.delete(table).where(table.c.campaign_id == campaign_id))
    _row(tx, CAMPAIGN, campaign_id)


def _observation_group(tx: Tx, group_id: int) -> None:
    for table in (campaign_observation_group, group_observation, group_relation):
        tx.connection.execute(sa.delete(table).where(table.c.observation_group_id == group_id))
    _row(tx, OBSERVATION_GROUP, group_id)


def _relation(tx: Tx, relation_id: int) -> None:
    tx.connection.execute(sa.delete(group_relation).where(group_relation.c.relation_id == relation_id))
    _row(tx, RELATION, relation_id)


_REMOVE: dict[str, Callable[[Tx, int], None]] = {
    THING.name: _thing,
    LOCATION.name: _location,
    HISTORICAL_LOCATION.name: _historical_location,
    DATASTREAM.name: _datastream,
    MULTI_DATASTREAM.name: _datastream,
    SENSOR.name: _sensor,
    OBSERVED_PROPERTY.name: _observed_property,
    OBSERVATION.name: _observation,
    FEATURE.name: _feature,
    PARTY.name: _party,
    LICENSE.name: _license,
    CAMPAIGN.name: _campaign,
    OBSERVATION_GROUP.name: _observation_group,
    RELATION.name: _relation,
}


def sweep(tx: Tx) -> bool:
    """Deletes one slice of the rows of deleted Datastreams; True while more may be left."""
    dead = tx.connection.execute(sa.select(dead_datastream.c.datastream_id).limit(1)).scalar_one_or_none()
    if dead is None:
        return False
    o = observation.c
    some = sa.select(o.id).where(o.datastream_id == dead).order_by(o.t, o.id).limit(limits.CASCADE_SLICE_ROWS)
    _ungroup(tx, some)
    if tx.connection.execute(sa.delete(observation).where(o.id.in_(some))).rowcount < limits.CASCADE_SLICE_ROWS:
        tx.connection.execute(sa.delete(dead_datastream).where(dead_datastream.c.datastream_id == dead))
    return True
