"""A write transaction: its connection, its clock, new ids, and what it will put into the outbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from twinstack.core import limits
from twinstack.sensorthings.store import chunks
from twinstack.sensorthings.store.outbox import Outgoing
from twinstack.sensorthings.store.tables import id_block

OBSERVATION = "observation"


def dialect_insert(connection: sa.Connection, table: sa.Table) -> Any:
    """An INSERT that knows ON CONFLICT, of this database."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # brings three drivers: not where SQLite is used

        return postgresql.insert(table)
    return sqlite.insert(table)


def insert_or_ignore(connection: sa.Connection, table: sa.Table) -> sa.Insert:
    """`INSERT ... ON CONFLICT DO NOTHING` of this database."""
    statement: sa.Insert = dialect_insert(connection, table).on_conflict_do_nothing()
    return statement


def take_ids(connection: sa.Connection, name: str, n: int = 1) -> int:
    """The first of `n` new ids of a table: from 1, never used before."""
    values = {"name": name, "next_id": 1 + n}
    statement = dialect_insert(connection, id_block).values(values)
    taken = statement.on_conflict_do_update(index_elements=["name"], set_={"next_id": id_block.c.next_id + n})
    return int(connection.execute(taken.returning(id_block.c.next_id)).scalar_one()) - n


def take_observation_ids(connection: sa.Connection | sa.Engine, n: int) -> int:
    """The first of `n` new ids of Observations; on PostgreSQL they have their partitions then.

    There a short transaction of its own reserves them, so that no writer waits for another's commit. It need not
    reach the disk before the commit that uses the ids does, which comes later in the same write-ahead log.
    """
    if connection.dialect.name != "postgresql":
        assert isinstance(connection, sa.Connection)  # there is one writer: its transaction reserves
        return take_ids(connection, OBSERVATION, n)
    with connection.engine.begin() as own:
        own.exec_driver_sql("SET LOCAL synchronous_commit = off")
        first = take_ids(own, OBSERVATION, n)
        chunks.ensure(own, first + n)
    return first


class ObservationIds:
    """Ids of Observations from reserved blocks, so that most commits need no update of `id_block`.

    One per writer thread. `forget` after a rollback: the block may have been reserved in what was undone.
    """

    def __init__(self) -> None:
        self._next = self._end = 0

    def take(self, connection: sa.Connection | sa.Engine, n: int) -> list[int]:
        ids = list(range(self._next, min(self._next + n, self._end)))
        missing = n - len(ids)
        self._next += len(ids)
        if missing:
            size = max(limits.ID_BLOCK, missing)
            self._next = take_observation_ids(connection, size)
            self._end = self._next + size
            ids.extend(range(self._next, self._next + missing))
            self._next += missing
        return ids

    def give_back(self, ids: Sequence[int]) -> None:
        """Ids just taken that nobody used."""
        if ids and ids[-1] - ids[0] == len(ids) - 1 and ids[-1] + 1 == self._next:
            self._next = ids[0]

    def forget(self) -> None:
        self._next = self._end = 0


@dataclass(slots=True)
class Tx:
    """What a write gets: it reads and writes by `connection`, and never commits itself."""

    connection: sa.Connection
    now_us: int
    observation_ids: ObservationIds
    outgoing: Outgoing = field(default_factory=Outgoing)

    @property
    def texts_apart(self) -> bool:
        """PostgreSQL's column `result` holds numbers only (`values.result_columns`)."""
        return self.connection.dialect.name == "postgresql"

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
