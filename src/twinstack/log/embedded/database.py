"""The one SQLite file of the log: its lock, connections, tables, and SQLite's errors as ours.

Batch rows are keyed partition << 40 | first offset: one B-tree, a partition's rows side by side, in order.
`newest_ms` is the row's newest timestamp, `peak_ms` the newest of all rows of the partition so far: it only grows, so
a time is found by bisection. A partition's `next` is stored only when its last row goes; else the last row says it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import apsw

from twinstack.core.errors import Conflict, FatalLogError, StorageFull, TwinstackError, Unavailable

OFFSET_BITS = 40
OFFSET_MASK = (1 << OFFSET_BITS) - 1
FORMAT = 1
BUSY_MS = 10_000
PAGE_BYTES = 8192

Fsync = Literal["normal", "full"]

_TABLES = """
CREATE TABLE IF NOT EXISTS topic (
    name TEXT PRIMARY KEY, uuid TEXT NOT NULL, partitions INTEGER NOT NULL, cleanup TEXT NOT NULL,
    retention_ms INTEGER, record_bytes_max INTEGER, config TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS partition (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT, number INTEGER NOT NULL,
    begin INTEGER NOT NULL DEFAULT 0, next INTEGER NOT NULL DEFAULT 0, joined INTEGER NOT NULL DEFAULT 0,
    compacted INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS batch (
    id INTEGER PRIMARY KEY, span INTEGER NOT NULL, newest_ms INTEGER NOT NULL, peak_ms INTEGER NOT NULL,
    data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS producer (
    id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, answer BLOB NOT NULL, time_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS owner (
    id TEXT PRIMARY KEY, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, time_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS committed (
    grp TEXT, partition INTEGER, next INTEGER NOT NULL, PRIMARY KEY (grp, partition)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS committed_partition ON committed (partition);
CREATE INDEX IF NOT EXISTS partition_topic ON partition (topic);
CREATE TABLE IF NOT EXISTS grp (name TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS member (
    grp TEXT, id TEXT, joined INTEGER NOT NULL, topics TEXT NOT NULL, local INTEGER NOT NULL,
    PRIMARY KEY (grp, id)) WITHOUT ROWID;
"""


class Database:
    """Opens the file for this process alone; another process gets Conflict that names ours."""

    def __init__(self, path: Path, fsync: Fsync) -> None:
        self.path = path / "log.sqlite" if path.is_dir() else path
        self.fsync = fsync
        self._pool: deque[apsw.Connection] = deque()
        self._closed = False
        self._open_lock = threading.Lock()
        self._lock_fd = _lock(self.path)
        try:
            with mapped_errors():
                self.writer = self._connect()
                self._prepare()
        except BaseException:
            os.close(self._lock_fd)
            raise

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path))
        connection.set_busy_timeout(BUSY_MS)
        for pragma in (
            f"page_size={PAGE_BYTES}",
            "journal_mode=WAL",
            f"synchronous={self.fsync.upper()}",
            "wal_autocheckpoint=0",
            "cache_size=-16384",
            "journal_size_limit=67108864",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return connection

    def _prepare(self) -> None:
        (version,) = one(self.writer, "PRAGMA user_version")
        if version not in (0, FORMAT):
            raise FatalLogError(
                f"{self.path} has format {version}, this version reads {FORMAT}.", fix="Use the version that wrote it."
            )
        with self.writer:
            self.writer.execute(_TABLES)
            self.writer.execute(f"PRAGMA user_version={FORMAT}")

    def new_connection(self) -> apsw.Connection:
        """A connection the caller owns and closes."""
        with mapped_errors():
            return self._connect()

    @contextlib.contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """A connection for reads, from the pool; one statement at a time, so that no snapshot outlives it."""
        if self._closed:
            raise FatalLogError("The log is closed.", fix="Open it again.")
        try:
            connection = self._pool.pop()
        except IndexError:
            connection = self.new_connection()
        try:
            with mapped_errors():
                yield connection
        finally:
            self._pool.append(connection)
            self._close_pool_if_closed()

    def close(self) -> None:
        with self._open_lock:
            if self._closed:
                return
            self._closed = True
        self._close_pool()
        with contextlib.suppress(apsw.Error):
            self.writer.close()  # the last connection checkpoints
        os.close(self._lock_fd)

    def _close_pool_if_closed(self) -> None:
        if self._closed:  # meanwhile, by another thread
            self._close_pool()

    def _close_pool(self) -> None:
        while self._pool:
            with contextlib.suppress(IndexError, apsw.Error):
                self._pool.pop().close()


def _lock(path: Path) -> int:
    """A lock the kernel drops when the process dies; the file holds the owner's process id for people."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise Conflict(
            f"The log {path} is open in process {owner}.",
            fix="Use the server's address (http://host:port), or stop that process first.",
            pid=owner,
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return fd


@contextlib.contextmanager
def mapped_errors() -> Iterator[None]:
    """SQLite's errors as those of the project."""
    try:
        yield
    except apsw.Error as error:
        raise as_log_error(error) from error


def as_log_error(error: apsw.Error) -> TwinstackError:
    if isinstance(error, apsw.FullError):
        return StorageFull(
            "The disk of the log is full; nothing of this call was stored.",
            fix="Free space or shorten the topics' retention; the log goes on by itself.",
        )
    if isinstance(error, apsw.BusyError | apsw.LockedError | apsw.NoMemError):
        return Unavailable(f"The log's file cannot be used now: {error}.", fix="Repeat the call.")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return FatalLogError(f"The log's file is damaged: {error}.", fix="Restore it from a backup (see docs).")
    return FatalLogError(f"The log's file cannot be used: {error}.", fix="Check the disk and the file's permissions.")


def one(connection: apsw.Connection, sql: str, *values: apsw.SQLiteValue) -> Any:
    """The first row as a tuple, or None; the statement is over when this returns."""
    return connection.execute(sql, values).fetchone()


def every(connection: apsw.Connection, sql: str, *values: apsw.SQLiteValue) -> list[Any]:
    return connection.execute(sql, values).fetchall()


def row_id(partition_id: int, offset: int) -> int:
    return partition_id << OFFSET_BITS | offset


def offset_of(row: int) -> int:
    return row & OFFSET_MASK
