"""What a write transaction locks on PostgreSQL, where several processes write (SQLite has one writer anyway).

One advisory lock: writers of entities take it alone, writers of Observations share it. So whatever an entity's write
touches, in whatever order, meets no other write. Writers of Observations lock the stat rows of all their Datastreams
first, in the order of ids; what they lock later (ids, heads of the outbox) has one order, too.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from twinstack.sensorthings.store.prepared import Prepared, ids, in_ids
from twinstack.sensorthings.store.tables import datastream_stat

_WRITERS: sa.ColumnElement[int] = sa.literal_column("8317421955230741")
"""The advisory lock's number: any that others in the same database will not use."""
MIGRATION: sa.ColumnElement[int] = sa.literal_column("8317421955230742")

_ALONE = Prepared(sa.select(sa.func.pg_advisory_xact_lock(_WRITERS)))
_SHARED = Prepared(sa.select(sa.func.pg_advisory_xact_lock_shared(_WRITERS)))
_s = datastream_stat.c
_STATS = Prepared(
    sa.select(_s.datastream_id)
    .where(in_ids(_s.datastream_id))
    .order_by(_s.datastream_id)
    .with_for_update(key_share=True)
)


def take(connection: sa.Connection, datastream_ids: Iterable[int] | None) -> None:
    """Takes the locks of a transaction at its beginning: alone (None), or for Observations of these Datastreams."""
    if connection.dialect.name != "postgresql":
        return
    if datastream_ids is None:
        _ALONE.run(connection)
        return
    _SHARED.run(connection)
    if wanted := set(datastream_ids):
        _STATS.run(connection, ids=ids(wanted))
