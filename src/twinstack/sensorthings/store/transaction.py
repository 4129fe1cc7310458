"""A write transaction: its connection, its clock, new ids, and what it will put into the outbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from twinstack.core import limits
from twinstack.sensorthings.store.outbox import Outgoing
from twinstack.sensorthings.store.tables import id_block

OBSERVATION = "observation"


def insert_or_ignore(connection: sa.Connection, table: sa.Table) -> sa.Insert:
    """`INSERT ... ON CONFLICT DO NOTHING` of this database."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # brings three drivers: not where SQLite is used

        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


def take_ids(connection: sa.Connection, name: str, n: int = 1) -> int:
    """The first of `n` new ids of a table: from 1, never used before."""
    statement = (
        sa.update(id_block)
        .where(id_block.c.name == name)
        .values(next_id=id_block.c.next_id + n)
        .returning(id_block.c.next_id)
    )
    after = connection.execute(statement).scalar_one_or_none()
    if after is None:
        connection.execute(sa.insert(id_block), {"name": name, "next_id": 1 + n})
        after = 1 + n
    return int(after) - n


class ObservationIds:
    """Ids of Observations from reserved blocks, so that most commits need no update of `id_block`.

    One per writer thread. `forget` after a rollback: the block may have been reserved in what was undone.
    """

    def __init__(self) -> None:
        self._next = self._end = 0

    def take(self, connection: sa.Connection, n: int) -> list[int]:
        ids = list(range(self._next, min(self._next + n, self._end)))
        missing = n - len(ids)
        self._next += len(ids)
        if missing:
            size = max(limits.ID_BLOCK, missing)
            self._next = take_ids(connection, OBSERVATION, size)
            self._end = self._next + size
            ids.extend(range(self._next, self._next + missing))
            self._next += missing
        return ids

    def forget(self) -> None:
        self._next = self._end = 0


@dataclass(slots=True)
class Tx:
    """What a write gets: it reads and writes by `connection`, and never commits itself."""

    connection: sa.Connection
    now_us: int
    observation_ids: ObservationIds
    outgoing: Outgoing = field(default_factory=Outgoing)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undoes everything of the block when it raises: rows, ids and outgoing records."""
        mark = self.outgoing.mark()
        savepoint = self.connection.begin_nested()
        try:
            yield
        except BaseException:
            savepoint.rollback()
            self.outgoing.back_to(mark)
            self.observation_ids.forget()
            raise
        savepoint.commit()

    def new_id(self, table: str) -> int:
        return take_ids(self.connection, table)
