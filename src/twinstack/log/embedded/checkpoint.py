"""Copies the write-ahead log into the file, in a thread of its own, and holds producers when it cannot keep up."""

from __future__ import annotations

import contextlib
import threading
import time

import apsw

from twinstack.core.errors import TwinstackError
from twinstack.core.limits import LOG_WAL_BYTES_MAX, MIB
from twinstack.log.embedded.database import PAGE_BYTES, Database, mapped_errors
from twinstack.log.embedded.writer import Writer

CHECKPOINT_WAL_BYTES = 4 * MIB
RESTART_WAL_BYTES = 48 * MIB
RESTART_WAIT_MS = 1_000


class Checkpointer:
    """Copies the write-ahead log into the file. When it cannot keep up, `after_transaction` holds the
    writer."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._wake = threading.Event()
        self._done = threading.Event()
        self._stopping = threading.Event()
        self._connection = database.new_connection()
        self._connection.set_busy_timeout(RESTART_WAIT_MS)
        self._wal_pages = 0
        database.writer.set_wal_hook(self._committed)
        self._thread = threading.Thread(target=self._run, name="twinstack-log-checkpoint", daemon=True)
        self._thread.start()

    def _committed(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def after_transaction(self) -> None:
        """Called by the writer after each transaction, outside of it."""
        wal_bytes = self._wal_pages * PAGE_BYTES
        if wal_bytes >= CHECKPOINT_WAL_BYTES:
            self._wake.set()
        if wal_bytes >= LOG_WAL_BYTES_MAX and not self._stopping.is_set():
            self._done.clear()
            self._wake.set()
            self._done.wait(1.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            if self._stopping.is_set():
                break
            try:
                with mapped_errors():
                    self._checkpoint()
            except TwinstackError:
                time.sleep(0.2)  # a full or failing disk: the writer reports it to those who write; try again
            self._done.set()
        self._connection.close()

    def _checkpoint(self) -> None:
        frames, _ = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        if frames * PAGE_BYTES >= RESTART_WAL_BYTES:
            # under steady writes the log would grow for ever: finish the rest while the writer stands still
            with self._writer.transaction_lock, contextlib.suppress(apsw.BusyError):
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        self._thread.join()
