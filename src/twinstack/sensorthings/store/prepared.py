"""Statements of the hot path: written in SQLAlchemy Core, compiled once, run by the driver itself.

Core's execution of one statement costs several times what SQLite needs for it, and a commit of one Observation runs
eight. Values go to the driver as they are: JSON is dumped by the caller, lists of ids travel as JSON (`in_ids`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

_ID_END = 2**63


class InIds(FunctionElement[bool]):
    """`column` is among the ids of a JSON array, which is one parameter: one SQL text for any number of ids."""

    type = sa.Boolean()
    inherit_cache = True
    name = "in_ids"


@compiles(InIds, "sqlite")
def _in_ids_sqlite(element: InIds, compiler: Any, **kw: Any) -> str:
    column, array = (compiler.process(part, **kw) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({array}))"  # noqa: S608  # both are SQLAlchemy's own text


@compiles(InIds, "postgresql")
def _in_ids_postgresql(element: InIds, compiler: Any, **kw: Any) -> str:
    # A JSON array of numbers in braces is an array of PostgreSQL: an index serves it, and no row is made of each id.
    column, array = (compiler.process(part, **kw) for part in element.clauses)
    return f"{column} = ANY (translate({array}, '[]', '{{}}')::bigint[])"


def in_ids(column: sa.ColumnElement[Any], parameter: str = "ids") -> sa.ColumnElement[bool]:
    return InIds(column, sa.bindparam(parameter, type_=sa.Text()))


def ids(numbers: Iterable[int]) -> str:
    """The parameter of `in_ids`; ids that no table can hold are left out, as any unknown id."""
    return json.dumps(sorted(n for n in numbers if -_ID_END <= n < _ID_END))


class Prepared:
    def __init__(self, statement: sa.sql.ClauseElement) -> None:
        self._statement = statement
        self._compiled: dict[str, tuple[str, list[str], dict[str, Any]]] = {}

    def _sql(self, connection: sa.Connection) -> tuple[str, list[str], dict[str, Any]]:
        """The text, the names of its parameters in order, and the values of those that are literals in Core."""
        known = self._compiled.get(connection.dialect.name)
        if known is None:
            compiled = self._statement.compile(dialect=connection.dialect)
            names = getattr(compiled, "positiontup", None)
            assert names is not None  # a driver with positional parameters
            known = str(compiled), list(names), dict(compiled.params or {})
            self._compiled[connection.dialect.name] = known
        return known

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
            cursor = driver.cursor()
            getattr(cursor, method)(sql, values)
            return cursor
        except dbapi.Error as error:
            raise sa.exc.DBAPIError.instance(sql, None, error, dbapi.Error, dialect=connection.dialect) from error
