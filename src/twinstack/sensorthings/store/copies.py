"""Received copies: what is shared with a system appears there as entities of its own, marked `copy_of`.

A copy keeps the source's names and log key and has an id of its own; the archive files `.ext` records under it. So
every Observation has exactly one system, and nothing is decided at read time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from twinstack.sensorthings.model import BY_TABLE
from twinstack.sensorthings.store import features, links, moves, rows, systems
from twinstack.sensorthings.store.systems import SystemRow
from twinstack.sensorthings.store.tables import (
    BY_NAME,
    datastream,
    datastream_stat,
)
from twinstack.sensorthings.store.transaction import Tx

_NOT_COPIED = frozenset(
    {"id", "system_id", "version", "copy_of", "grant_id", "ended", "visibility", "retention_ms", "registered_by"}
    # of the source's system, and not shared with the Datastream
    | {"party_id", "license_id"}
)


def ensure(tx: Tx, source: str, target: str) -> list[int]:
    """Makes the copies at `target` that are missing; ids of the new ones.

    Everything of a Datastream is copied: the view of a grant decides what `source` shows before this is called.
    Errors: UnknownSystem.
    """
    giver, taker = systems.get(tx.connection, source), systems.get(tx.connection, target)
    if giver.id == taker.id:
        return []
    copy = datastream.alias()
    missing = (
        sa.select(datastream.c.id)
        .outerjoin(copy, (copy.c.copy_of == datastream.c.id) & (copy.c.system_id == taker.id))
        .where(datastream.c.system_id == giver.id, datastream.c.copy_of.is_(None), copy.c.id.is_(None))
        .order_by(datastream.c.id)
    )
    return [_datastream(tx, i, taker) for i in tx.connection.execute(missing).scalars().all()]


def ensure_one(tx: Tx, target: str, log_keys: Sequence[str], source_id: int | None = None) -> int | None:
    """The copy at `target` of another system's Datastream, found by one of the log keys, else by its id; made when it
    is missing. None when no system has it."""
    taker = systems.get(tx.connection, target)
    d = datastream.c
    foreign = sa.select(d.id).where(d.copy_of.is_(None), d.system_id != taker.id).order_by(d.id)
    source = tx.connection.execute(foreign.where(d.log_key.in_(log_keys))).scalar()
    if source is None and source_id is not None:
        source = tx.connection.execute(foreign.where(d.id == source_id)).scalar()
    return None if source is None else _datastream(tx, source, taker)


def follow(tx: Tx, since: int) -> None:
    """Brings the copies of the Datastreams up to date that this transaction touched (outgoing meta from `since`)."""
    touched = sorted({datastream_id for _, datastream_id in tx.outgoing.meta[since:]})
    if not touched:
        return
    d = datastream.c
    query = sa.select(d.copy_of, d.system_id).where(d.copy_of.in_(touched), d.ended.is_(False))
    for source_id, system_id in tx.connection.execute(query).all():
        _datastream(tx, source_id, systems.by_id(tx.connection, system_id))


def _datastream(tx: Tx, source_id: int, taker: SystemRow) -> int:
    source = tx.connection.execute(sa.select(datastream).where(datastream.c.id == source_id)).one()
    thing_id, _ = _row(tx, "thing", source.thing_id, taker)
    sensor_id, _ = _row(tx, "sensor", source.sensor_id, taker)
    places = [_row(tx, "location", i, taker) for i in moves.locations_of(tx.connection, source.thing_id)]
    if sorted(i for i, _ in places) != moves.locations_of(tx.connection, thing_id):
        moves.place(tx, thing_id, [i for i, _ in places])
    observed = [_row(tx, "observed_property", i, taker)[0] for i in links.properties_of(tx.connection, source_id)]
    copy_id, new = _row(tx, "datastream", source_id, taker, {"thing_id": thing_id, "sensor_id": sensor_id})
    if new:
        tx.connection.execute(sa.insert(datastream_stat), {"datastream_id": copy_id})
    links.set_properties(tx, copy_id, observed)
    tx.outgoing.meta.append((taker.name, copy_id))
    return copy_id


def _row(
    tx: Tx, table_name: str, source_id: int, taker: SystemRow, refs: dict[str, Any] | None = None
) -> tuple[int, bool]:
    """The copy of one row at the taker, made or brought up to date; whether it is new."""
    table = BY_NAME[table_name]
    source = tx.connection.execute(sa.select(table).where(table.c.id == source_id)).one()
    columns = {k: v for k, v in source._mapping.items() if k not in _NOT_COPIED} | (refs or {})
    existing = tx.connection.execute(
        sa.select(table).where(table.c.system_id == taker.id, table.c.copy_of == source_id)
    ).one_or_none()
    if existing is None:
        copy_id = tx.new_id(table_name)
        tx.connection.execute(sa.insert(table), {**columns, "id": copy_id, "system_id": taker.id, "copy_of": source_id})
        return copy_id, True
    if changed := rows.changed_columns(existing, columns):
        entity = BY_TABLE[table_name]
        rows.bump(tx.connection, entity, existing.id, changed)
        features.after_change(tx.connection, entity, existing.id, changed)
    return int(existing.id), False
