"""Statements of the hot path: written in SQLAlchemy Core, compiled once, run by the driver itself.

Core's execution of one statement costs several times what SQLite needs for it, and a commit of one Observation runs
eight. Values go to the driver as they are: JSON is dumped by the caller, lists of ids travel as JSON (`in_ids`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa


def in_ids(column: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """`column` is among the parameter `ids`, a JSON array: one SQL text for any number of ids."""
    each = sa.func.json_each(sa.bindparam("ids")).table_valued("value")
    return column.in_(sa.select(each.c.value))


def ids(numbers: Iterable[int]) -> str:
    return json.dumps(sorted(numbers))


class Prepared:
    def __init__(self, statement: sa.sql.ClauseElement) -> None:
        self._statement = statement
        self._compiled: tuple[str, list[str], dict[str, Any]] | None = None

    def _sql(self, connection: sa.Connection) -> tuple[str, list[str], dict[str, Any]]:
        """The text, the names of its parameters in order, and the values of those that are literals in Core."""
        if self._compiled is None:
            compiled = self._statement.compile(dialect=connection.dialect)
            names = getattr(compiled, "positiontup", None)
            assert names is not None  # a driver with positional parameters
            self._compiled = str(compiled), list(names), dict(compiled.params or {})
        return self._compiled

    def rows(self, connection: sa.Connection, **values: Any) -> list[tuple[Any, ...]]:
        result: list[tuple[Any, ...]] = self._one(connection, values).fetchall()
        return result

    def run(self, connection: sa.Connection, **values: Any) -> None:
        self._one(connection, values)

    def _one(self, connection: sa.Connection, values: dict[str, Any]) -> Any:
        sql, names, literals = self._sql(connection)
        return self._do(connection, "execute", sql, [values[n] if n in values else literals[n] for n in names])

    def many(self, connection: sa.Connection, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Once per row; `columns` names the places of each row's values, which are all the parameters there are."""
        sql, names, _ = self._sql(connection)
        if tuple(names) != tuple(columns):
            order = [columns.index(name) for name in names]
            rows = [tuple(row[i] for i in order) for row in rows]
        self._do(connection, "executemany", sql, rows)

    def _do(self, connection: sa.Connection, method: str, sql: str, values: Any) -> Any:
        driver: Any = connection.connection.driver_connection
        dbapi: Any = connection.dialect.loaded_dbapi
        try:
            return getattr(driver, method)(sql, values)
        except dbapi.Error as error:
            raise sa.exc.DBAPIError.instance(sql, None, error, dbapi.Error, dialect=connection.dialect) from error
