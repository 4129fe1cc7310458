"""Features of interest: the one generated from a Thing's Location, and which features a Datastream has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import sqlalchemy as sa

from twinstack.sensorthings.geojson import Box
from twinstack.sensorthings.model import FEATURE, GEOJSON_ENCODINGS, LOCATION, EntityType
from twinstack.sensorthings.store.prepared import Prepared, ids, in_ids
from twinstack.sensorthings.store.tables import (
    datastream,
    datastream_feature,
    datastream_stat,
    feature,
    location,
    thing_location,
)
from twinstack.sensorthings.store.transaction import Tx

# The Thing's lowest-id Location with a GeoJSON encoding, else its lowest-id Location.
_OTHER_ENCODING = sa.case((sa.or_(*(location.c.encoding_type == e for e in sorted(GEOJSON_ENCODINGS))), 0), else_=1)
_LOCATIONS = Prepared(
    sa.select(datastream.c.id, location.c.id.label("location_id"), feature.c.id.label("feature_id"))
    .join(thing_location, thing_location.c.thing_id == datastream.c.thing_id)
    .join(location, location.c.id == thing_location.c.location_id)
    .outerjoin(feature, feature.c.gen_location_id == location.c.id)
    .where(in_ids(datastream.c.id))
    .order_by(datastream.c.id, _OTHER_ENCODING, location.c.id)
)


def generated(connection: sa.Connection, datastream_ids: Sequence[int]) -> dict[int, tuple[int, int | None]]:
    """Datastream -> (Location its feature comes from, that feature if there is one). Without Location: left out."""
    found: dict[int, tuple[int, int | None]] = {}
    for datastream_id, location_id, feature_id in _LOCATIONS.rows(connection, ids=ids(datastream_ids)):
        found.setdefault(datastream_id, (location_id, feature_id))
    return found


def generate(tx: Tx, location_id: int) -> int:
    """The feature of a Location: made as an exact copy, unless another write made it meanwhile."""
    connection = tx.connection
    have = sa.select(feature.c.id).where(feature.c.gen_location_id == location_id)
    if (existing := connection.execute(have).scalar_one_or_none()) is not None:
        return int(existing)
    row = connection.execute(sa.select(location).where(location.c.id == location_id)).one()
    feature_id = tx.new_id("feature")
    connection.execute(
        sa.insert(feature),
        {
            "id": feature_id,
            "name": row.name,
            "description": row.description,
            "encoding_type": row.encoding_type,
            "feature": row.location,
            "properties": row.properties,
            "gen_location_id": location_id,
            "system_id": row.system_id,
            "copy_of": None,
            "grant_id": row.grant_id,
            **{side: row._mapping[side] for side in ("bbox_w", "bbox_s", "bbox_e", "bbox_n")},
        },
    )
    return feature_id


def after_change(connection: sa.Connection, entity: EntityType, entity_id: int, columns: Collection[str]) -> None:
    """What follows from changed columns of a Location or a feature."""
    if entity is LOCATION and "location" in columns:
        detach_generated(connection, entity_id)
    elif entity is FEATURE and "feature" in columns:
        c = datastream_feature.c
        having = connection.execute(sa.select(c.datastream_id).where(c.feature_id == entity_id)).scalars().all()
        recompute_box(connection, having)


def detach_generated(connection: sa.Connection, location_id: int) -> None:
    """After a changed or deleted Location: old Observations keep the feature, the next one gets a new one."""
    connection.execute(
        sa.update(feature)
        .where(feature.c.gen_location_id == location_id)
        .values(gen_location_id=None, version=feature.c.version + 1)
    )


def systems_of(connection: sa.Connection, feature_ids: Sequence[int]) -> Mapping[int, int]:
    """Feature -> its system, for those that exist and are no received copies."""
    rows = connection.execute(
        sa.select(feature.c.id, feature.c.system_id).where(feature.c.id.in_(feature_ids), feature.c.copy_of.is_(None))
    )
    return {row.id: row.system_id for row in rows}


_PAIRS = Prepared(sa.select(datastream_feature).where(in_ids(datastream_feature.c.datastream_id)))


def add_pairs(connection: sa.Connection, pairs: Iterable[tuple[int, int]]) -> None:
    """Records which features a Datastream has; a new pair widens the Datastream's bounding box."""
    wanted = set(pairs)
    if not wanted:
        return
    have = _PAIRS.rows(connection, ids=ids({d for d, _ in wanted}))
    new = sorted(wanted.difference(have))
    if not new:
        return
    connection.execute(sa.insert(datastream_feature), [{"datastream_id": d, "feature_id": f} for d, f in new])
    boxes = _boxes(connection, sorted({f for _, f in new}))
    for datastream_id, feature_id in new:
        if (box := boxes.get(feature_id)) is not None:
            _widen(connection, datastream_id, box)


def recompute_box(connection: sa.Connection, datastream_ids: Sequence[int]) -> None:
    """The bounding boxes of these Datastreams from all their features: after a feature moved or went."""
    for datastream_id in datastream_ids:
        ids = connection.execute(
            sa.select(datastream_feature.c.feature_id).where(datastream_feature.c.datastream_id == datastream_id)
        ).scalars()
        whole: Box | None = None
        for box in _boxes(connection, list(ids)).values():
            whole = box if whole is None else whole.union(box)
        _set_box(connection, datastream_id, whole)


def _boxes(connection: sa.Connection, feature_ids: Sequence[int]) -> dict[int, Box]:
    f = feature.c
    rows = connection.execute(
        sa.select(f.id, f.bbox_w, f.bbox_s, f.bbox_e, f.bbox_n).where(f.id.in_(feature_ids), f.bbox_w.is_not(None))
    )
    return {row[0]: Box(*row[1:]) for row in rows}


def _widen(connection: sa.Connection, datastream_id: int, box: Box) -> None:
    s = datastream_stat.c
    row = connection.execute(
        sa.select(s.bbox_w, s.bbox_s, s.bbox_e, s.bbox_n).where(s.datastream_id == datastream_id)
    ).one_or_none()
    if row is not None:
        _set_box(connection, datastream_id, box if row.bbox_w is None else Box(*row).union(box))


def _set_box(connection: sa.Connection, datastream_id: int, box: Box | None) -> None:
    sides = box or (None, None, None, None)
    connection.execute(
        sa.update(datastream_stat)
        .where(datastream_stat.c.datastream_id == datastream_id)
        .values(dict(zip(("bbox_w", "bbox_s", "bbox_e", "bbox_n"), sides, strict=True)))
    )
