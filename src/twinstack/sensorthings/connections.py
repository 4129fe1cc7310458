"""Connections that only read: raw cursors with a deadline, for the event loop and for a few threads.

Short statements run on the loop (a thread costs more than they do); what may take long runs in a thread, at most
`READERS_MAX` at a time, and is interrupted when its time is over or its client has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, QueueFull, TimedOut, TwinstackError, Unavailable
from twinstack.query.sqlgeo import note_postgis
from twinstack.sensorthings.plan import Statement

Row = tuple[Any, ...]
T = TypeVar("T")
_PROGRESS_STEPS = 20_000


def mapped(error: Exception) -> TwinstackError:
    """The project's error for one of the driver."""
    text = str(error)
    if isinstance(error, OverflowError):
        return InvalidInput("A number is beyond 64 bits.", fix="Use a smaller number.")
    if "interrupted" in text:
        return TimedOut(
            f"The query took longer than {limits.STATEMENT_TIMEOUT_MS / 1000:g} s.",
            fix="Narrow $filter, order by phenomenonTime or id, or ask for less.",
        )
    if any(words in text for words in ("too large", "too many", "too complex", "parser stack overflow", "too big")):
        return InvalidInput("The query has too many parts for the database.", fix="Ask in several requests.")
    return Unavailable(f"The store does not answer: {text}.", fix="Repeat it; see the server's log if it persists.")


class Session(Protocol):
    """One connection while it reads; every statement sees the same state of the store.

    Errors: TimedOut, InvalidInput, Unavailable; never the driver's.
    """

    def interrupt(self) -> None:
        """From any thread: the running statement ends with an error."""

    def snapshot(self) -> contextlib.AbstractContextManager[None]: ...

    def rows(self, statement: Statement, values: dict[str, Any]) -> list[Row]: ...

    def each(self, statement: Statement, values: dict[str, Any]) -> Iterator[Row]:
        """Rows one by one: the caller may stop early."""

    def first(self, statement: Statement, values: dict[str, Any]) -> Row | None: ...

    def close(self) -> None: ...


class SqliteSession:
    def __init__(self, engine: sa.Engine) -> None:
        self._raw = engine.raw_connection()
        errors: tuple[type[Exception], ...] = (engine.dialect.loaded_dbapi.Error, OverflowError)
        connection: Any = self._raw.driver_connection
        self._connection = connection
        self._cursor = connection.cursor()
        self._errors = errors
        self._deadline = 0.0
        connection.set_progress_handler(self._is_late, _PROGRESS_STEPS)

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline

    def close(self) -> None:
        self._raw.close()

    def interrupt(self) -> None:
        self._deadline = 0.0
        self._connection.interrupt()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        self._deadline = time.monotonic() + limits.STATEMENT_TIMEOUT_MS / 1000
        try:
            self._cursor.execute("BEGIN")
            yield
        except self._errors as error:
            raise mapped(error) from error
        finally:
            self._cursor.execute("COMMIT") if self._connection.in_transaction else None

    def rows(self, statement: Statement, values: dict[str, Any]) -> list[Row]:
        return list(self._cursor.execute(statement.text, statement.bind(values)))

    def each(self, statement: Statement, values: dict[str, Any]) -> Iterator[Row]:
        return iter(self._cursor.execute(statement.text, statement.bind(values)))

    def first(self, statement: Statement, values: dict[str, Any]) -> Row | None:
        row = next(iter(self._cursor.execute(statement.text, statement.bind(values))), None)
        return None if row is None else tuple(row)


def _session_type(engine: sa.Engine) -> Callable[[sa.Engine], Session]:
    if engine.dialect.name == "postgresql":
        from twinstack.sensorthings.postgresql import PostgresSession  # psycopg is imported where it is used

        return PostgresSession
    return SqliteSession


class Readers:
    """The reading connections of one process."""

    def __init__(self, engine: sa.Engine) -> None:
        self.dialect = engine.dialect
        self._session = partial(_session_type(engine), engine)
        if engine.dialect.name == "postgresql":
            note_postgis(engine)
        # A file answers faster than a thread starts; a server may be far away.
        self._on_loop = engine.dialect.name == "sqlite"
        self._here: Session = self._session()
        self._long = _Threads(self._session, "sensorthings-read")
        # Of their own, so that what is short never waits behind what is long.
        self._short = self._long if self._on_loop else _Threads(self._session, "sensorthings-read-short")
        self._waiting = 0

    def close(self) -> None:
        self._long.close()
        self._short.close()
        self._here.close()

    def here(self, work: Callable[[Session], T]) -> T:
        """Runs short work on the calling thread."""
        with self._here.snapshot():
            return work(self._here)

    async def soon(self, work: Callable[[Session], T]) -> T:
        """Runs short work: at once where the store is a file, in a thread where it is a server."""
        return self.here(work) if self._on_loop else await self._short.run(work)

    async def apart(self, work: Callable[[Session], T], gone: Callable[[], Awaitable[None]] | None = None) -> T:
        """Runs work in a thread; `gone` returns when the client has left. Errors: QueueFull."""
        if self._waiting >= limits.READS_WAITING_MAX:
            raise QueueFull("Too many queries wait for the store.", fix="Repeat it in a moment.")
        self._waiting += 1
        try:
            return await self._long.run(work, gone)
        finally:
            self._waiting -= 1


class _Threads:
    """Threads with a session each."""

    def __init__(self, session: Callable[[], Session], name: str) -> None:
        self._sessions = [session() for _ in range(limits.READERS_MAX)]
        self._idle: queue.SimpleQueue[Session] = queue.SimpleQueue()
        for each in self._sessions:
            self._idle.put(each)
        self._threads = ThreadPoolExecutor(limits.READERS_MAX, thread_name_prefix=name)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        for each in self._sessions:
            each.close()

    async def run(self, work: Callable[[Session], T], gone: Callable[[], Awaitable[None]] | None = None) -> T:
        running: list[Session] = []
        left = False

        def run() -> T:
            session = self._idle.get()
            try:
                with session.snapshot():
                    running.append(session)
                    if left:
                        session.interrupt()
                    return work(session)
            finally:
                running.clear()
                self._idle.put(session)

        done = asyncio.get_running_loop().run_in_executor(self._threads, run)
        if gone is None:
            return await done
        watch = asyncio.ensure_future(gone())
        both: set[asyncio.Future[Any]] = {done, watch}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                left = True
                for session in list(running):
                    session.interrupt()
            return await done
        finally:
            watch.cancel()
