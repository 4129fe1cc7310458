"""The log's side of a store that takes another one's place: identity, outbox, archive positions and what was copied.

With them the new store goes on where the old one stopped: the archive reads on, and records that the old store had
sent are recognised as its own.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from twinstack.sensorthings.store import tables
from twinstack.sensorthings.store.transaction import Tx, insert_or_ignore

# Every store has these rows from its first start: the other's values replace them.
_REPLACED = frozenset({"store_info", "id_block", "outbox_head"})


def is_unused(connection: sa.Connection) -> bool:
    """Whether nothing was ever sent from this store or archived into it."""
    sent = sa.select(tables.outbox_head).where(tables.outbox_head.c.seq > 0).limit(1)
    read = sa.select(tables.archive_offset).limit(1)
    return connection.execute(sent).first() is None and connection.execute(read).first() is None


def store(tx: Tx, table: sa.Table, rows: list[dict[str, Any]]) -> int:
    """Stores rows as they were."""
    if table.name in _REPLACED:
        keys = [column.name for column in table.primary_key.columns]
        for row in rows:
            same = sa.and_(*(table.c[key] == row[key] for key in keys))
            if not tx.connection.execute(sa.update(table).where(same).values(row)).rowcount:
                tx.connection.execute(sa.insert(table), row)
    elif rows:
        tx.connection.execute(insert_or_ignore(tx.connection, table), rows)
    return len(rows)
