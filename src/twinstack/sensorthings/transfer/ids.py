"""Ids of another store that are kept: used once, and never given to anything new."""

from __future__ import annotations

import sqlalchemy as sa

from twinstack.sensorthings.store import chunks
from twinstack.sensorthings.store.tables import id_block
from twinstack.sensorthings.store.transaction import OBSERVATION


def keep(connection: sa.Connection, table: sa.Table, wanted: int) -> bool:
    """Whether `wanted` is free here; new ids then come from behind it."""
    if wanted < 1 or connection.execute(sa.select(table.c.id).where(table.c.id == wanted)).first() is not None:
        return False
    reserve(connection, table.name, wanted)
    return True


def reserve(connection: sa.Connection, name: str, upto: int) -> None:
    """No new id of the table is `upto` or below; Observations have their partitions then."""
    if name == OBSERVATION and connection.dialect.name == "postgresql":
        # In a transaction of its own, as all ids of Observations: no other writer waits for this one's commit.
        with connection.engine.begin() as own:
            _raise(own, name, upto)
            chunks.ensure(own, upto)
    else:
        _raise(connection, name, upto)


def _raise(connection: sa.Connection, name: str, upto: int) -> None:
    row = connection.execute(sa.select(id_block.c.next_id).where(id_block.c.name == name)).scalar_one_or_none()
    if row is None:
        connection.execute(sa.insert(id_block), {"name": name, "next_id": upto + 1})
    elif row <= upto:
        connection.execute(sa.update(id_block).where(id_block.c.name == name).values(next_id=upto + 1))
