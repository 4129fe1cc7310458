"""Partitions of `observation` on PostgreSQL: chunks of 2^24 ids, made ahead of the ids that are reserved.

A chunk is made beside the table and then attached: that takes no lock which a running insert would wait for.
"""

from __future__ import annotations

import sqlalchemy as sa

from twinstack.core import limits
from twinstack.sensorthings.store.tables import observation_chunk

_AHEAD = 1


def ensure(connection: sa.Connection, upto: int) -> int:
    """Makes the chunks of all ids up to `upto` and one more; returns the first id that has none.

    The caller holds the row `observation` of `id_block`, so that two processes never make the same chunk.
    """
    size = limits.OBSERVATION_CHUNK_IDS
    end: int = connection.execute(sa.select(sa.func.coalesce(sa.func.max(observation_chunk.c.hi), 0))).scalar_one()
    first = end // size
    last = upto // size + 1 + _AHEAD
    for number in range(first, last):
        _make(connection, number, number * size, (number + 1) * size)
    return max(first, last) * size


def _make(connection: sa.Connection, number: int, lo: int, hi: int) -> None:
    name = f"observation_{number:06d}"
    connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE observation INCLUDING ALL)")
    connection.exec_driver_sql(f"ALTER TABLE observation ATTACH PARTITION {name} FOR VALUES FROM ({lo}) TO ({hi})")
    connection.execute(sa.insert(observation_chunk), {"lo": lo, "hi": hi})
