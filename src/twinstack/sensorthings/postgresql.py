"""Reading from PostgreSQL: one psycopg connection in a thread, binary rows, JSON as the text that the store has."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.adapt import Loader
from psycopg.pq import Format

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, TimedOut, TwinstackError, Unavailable
from twinstack.sensorthings.plan import Statement
from twinstack.sensorthings.store.errors import message, of_sqlstate

Row = tuple[Any, ...]
_TOO_COMPLEX = "54"  # program limits: too many columns, a statement that nests too deep


class _JsonText(Loader):
    """jsonb in its binary form is a version byte and the text."""

    format = Format.BINARY

    def load(self, data: Any) -> str:
        return str(memoryview(data)[1:], "utf-8")


def mapped(error: Exception) -> TwinstackError:
    """The project's error for one of the driver."""
    text, code = message(error), getattr(error, "sqlstate", None)
    if isinstance(error, OverflowError):
        return InvalidInput("A number is beyond 64 bits.", fix="Use a smaller number.")
    if code == "57014":
        return _late()
    if code is not None and code.startswith("22"):
        return InvalidInput(f"The query cannot be computed: {text}.", fix="Check its numbers and texts.")
    if code is not None and code.startswith(_TOO_COMPLEX):
        return InvalidInput("The query has too many parts for the database.", fix="Ask in several requests.")
    if code is not None and (known := of_sqlstate(code, text)) is not None:
        return known
    return Unavailable(f"The store does not answer: {text}.", fix="Repeat it; see the server's log if it persists.")


def _late() -> TimedOut:
    return TimedOut(
        f"The query took longer than {limits.STATEMENT_TIMEOUT_MS / 1000:g} s.",
        fix="Narrow $filter, order by phenomenonTime or id, or ask for less.",
    )


class PostgresSession:
    """One connection while it reads, as `connections.Session`. A broken or interrupted one is opened again."""

    def __init__(self, engine: sa.Engine) -> None:
        _, self._arguments = engine.dialect.create_connect_args(engine.url)
        self._connection: psycopg.Connection[Row] | None = None
        self._deadline = 0.0
        self._lock = threading.Lock()
        self._left = False

    def _open(self) -> psycopg.Connection[Row]:
        options = f"-c statement_timeout={limits.STATEMENT_TIMEOUT_MS} -c timezone=UTC"
        arguments = {**self._arguments, "connect_timeout": limits.STORE_CONNECT_S_MAX, "options": options}
        connection = psycopg.connect(**arguments, application_name="twinstack-read")
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.adapters.register_loader("jsonb", _JsonText)
        return connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def interrupt(self) -> None:
        with self._lock:
            self._left = True
            if self._connection is not None and not self._connection.closed:
                with contextlib.suppress(psycopg.Error):
                    self._connection.cancel_safe(timeout=limits.STORE_CONNECT_S_MAX)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        self._deadline = time.monotonic() + limits.STATEMENT_TIMEOUT_MS / 1000
        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._open()
            yield
        except (psycopg.Error, OverflowError) as error:
            raise mapped(error) from error
        finally:
            self._finish()

    def _finish(self) -> None:
        with self._lock:
            connection, left, self._left = self._connection, self._left, False
            if connection is None:
                return
            try:
                # A cancellation may still be under way: it must not hit the next reader's statement.
                connection.close() if left else connection.rollback()
            except psycopg.Error:
                connection.close()

    def _run(self, statement: Statement, values: dict[str, Any]) -> psycopg.Cursor[Row]:
        if self._left or time.monotonic() > self._deadline:
            raise _late()
        assert self._connection is not None  # only called within `snapshot`
        cursor = self._connection.cursor(binary=True)
        return cursor.execute(statement.text.encode(), statement.bind(values))

    def rows(self, statement: Statement, values: dict[str, Any]) -> list[Row]:
        return self._run(statement, values).fetchall()

    def each(self, statement: Statement, values: dict[str, Any]) -> Iterator[Row]:
        return iter(self._run(statement, values))

    def first(self, statement: Statement, values: dict[str, Any]) -> Row | None:
        return self._run(statement, values).fetchone()
