"""Ids of another store that are kept: used once, and never given to anything new."""

from __future__ import annotations

import sqlalchemy as sa

from twinstack.sensorthings.store.tables import id_block


def keep(connection: sa.Connection, table: sa.Table, wanted: int) -> bool:
    """Whether `wanted` is free here; new ids then come from behind it."""
    if wanted < 1 or connection.execute(sa.select(table.c.id).where(table.c.id == wanted)).first() is not None:
        return False
    reserve(connection, table.name, wanted)
    return True


def reserve(connection: sa.Connection, name: str, upto: int) -> None:
    """No new id of the table is `upto` or below."""
    row = connection.execute(sa.select(id_block.c.next_id).where(id_block.c.name == name)).scalar_one_or_none()
    if row is None:
        connection.execute(sa.insert(id_block), {"name": name, "next_id": upto + 1})
    elif row <= upto:
        connection.execute(sa.update(id_block).where(id_block.c.name == name).values(next_id=upto + 1))
