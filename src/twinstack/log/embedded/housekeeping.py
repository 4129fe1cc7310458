"""The background: checkpoints in one thread; sessions, retention, compaction, joining and deleted topics in another.

Everything happens in small steps, each its own transaction in the writer's queue, so producers never wait long. A step
leaves the log right: a kill between two steps only leaves work to be done again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import apsw

from twinstack.core.errors import FatalLogError, TwinstackError
from twinstack.core.failpoints import hit
from twinstack.core.limits import IDEMPOTENCE_WINDOW_MS, KIB, LOG_WAL_BYTES_MAX, MIB
from twinstack.log.embedded.catalog import Catalog, Partition
from twinstack.log.embedded.database import (
    OFFSET_BITS,
    PAGE_BYTES,
    Database,
    every,
    mapped_errors,
    offset_of,
    row_id,
)
from twinstack.log.embedded.groups import Groups
from twinstack.log.embedded.writer import SMALL_RECORDS, Action, Writer
from twinstack.log.packed.format import Columns, head, pack

CHECKPOINT_WAL_BYTES = 4 * MIB
RESTART_WAL_BYTES = 48 * MIB
RESTART_WAIT_MS = 1_000
STEP_ROWS = 64
TICK_S = 0.5
JOIN_ROWS_MIN = 64
JOINED_RECORDS_MAX = 1_000
JOINED_BYTES_MAX = 256 * KIB
RETENTION_EVERY_MS = 60_000
TOMBSTONE_MS_DEFAULT = 3_600_000
COMPACT_RECORDS_MIN = 500
STEP_BYTES = 256 * KIB
_ROWS = "SELECT id, span, newest_ms, peak_ms, data FROM batch WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
_Row = tuple[int, int, int, int, bytes]


class Checkpointer:
    """Copies the write-ahead log into the file. When it cannot keep up, `slow_down` holds the writer."""

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


class Housekeeping:
    def __init__(
        self, database: Database, catalog: Catalog, groups: Groups, writer: Writer, now_ms: Callable[[], int]
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._groups = groups
        self._writer = writer
        self._now_ms = now_ms
        self._clock_s = time.thread_time
        self._stop = threading.Event()
        self._paused = threading.Event()
        self._retained_ms = now_ms()
        self.leave: Callable[[str, list[str]], None] = lambda group, members: None
        self._thread = threading.Thread(target=self._run, name="twinstack-log-housekeeping", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def pause(self) -> None:
        """From now on only what is called runs."""
        self._paused.set()
        if self._thread.is_alive():
            self._thread.join()

    def stop(self) -> None:
        self._stop.set()
        self.pause()

    def _run(self) -> None:
        while not self._paused.wait(TICK_S):
            try:
                self.tick()
            except TwinstackError:
                self._paused.wait(1.0)  # full disk, or the log is closing; the steps are repeated

    def tick(self) -> None:
        """One round of what is due."""
        for group, members in self._groups.silent():
            self.leave(group, members)
        now_ms = self._now_ms()
        if abs(now_ms - self._retained_ms) >= RETENTION_EVERY_MS:
            self._retained_ms = now_ms
            self.retain()
        self.remove_doomed()
        for partition in list(self._catalog.by_id.values()):
            if partition.loose_rows >= JOIN_ROWS_MIN:
                self.join(partition)
            if self._stop.is_set():
                return

    # Steps in the writer's queue

    def _do(self, run: Callable[[apsw.Connection], Any]) -> Any:
        if self._stop.is_set():
            raise FatalLogError("The log is closing.")
        result = self._writer.call(lambda done: Action(run, done))
        hit("log.housekeeping.between_steps")
        return result

    # Deleted topics

    def remove_doomed(self) -> None:
        """Rows of deleted topics."""
        for uid in list(self._catalog.doomed):
            while self._do(partial(_delete_rows, partition_id=uid, before=1 << OFFSET_BITS)) == STEP_ROWS:
                pass
            self._do(partial(_forget_partition, partition_id=uid))
            self._catalog.doomed.remove(uid)

    # Retention

    def retain(self) -> None:
        """Drops whole rows that are older than their topic's retention or lie before the partition's beginning, and
        compacts what is due."""
        now_ms = self._now_ms()
        self._do(lambda connection: self._writer.forget_producers(connection, now_ms - IDEMPOTENCE_WINDOW_MS))
        for topic in list(self._catalog.topics.values()):
            for partition in topic.partitions:
                if topic.info.cleanup == "delete" and topic.retention_ms is not None:
                    self._drop_old(partition, now_ms - topic.retention_ms)
                self._drop_before_begin(partition)
                if topic.info.cleanup == "compact" and partition.next - partition.compacted >= COMPACT_RECORDS_MIN:
                    tombstone_ms = int(topic.config.get("delete.retention.ms", TOMBSTONE_MS_DEFAULT))
                    self.compact(partition, now_ms - tombstone_ms)

    def _drop_old(self, partition: Partition, before_ms: int) -> None:
        """Moves `begin` behind the leading rows that are old; the rows follow in `_drop_before_begin`."""
        begin = partition.begin
        for row in self._rows(partition, begin, partition.next):
            if row[2] >= before_ms:
                break
            begin = offset_of(row[0]) + row[1]
        if begin > partition.begin:
            self._do(lambda connection: set_begin(connection, partition, begin))

    def _drop_before_begin(self, partition: Partition) -> None:
        if partition.begin == 0:
            return
        while self._do(partial(_delete_rows, partition_id=partition.id, before=partition.begin)) == STEP_ROWS:
            pass

    # Joining small rows

    def join(self, partition: Partition) -> None:
        """Runs of rows with few records become rows of many; reading few large rows costs a twentieth."""
        run = _Run(partition)
        joined = partition.joined
        started_s = self._clock_s()
        for row in self._rows(partition, joined, partition.next):
            small = row[1] < SMALL_RECORDS or head(row[4]).records < SMALL_RECORDS
            if small:
                run.add(row, keep=None)
            joined = offset_of(row[0]) + row[1]
            if run.rows and (run.full or not small):
                self._replace(partition, run, joined=joined)
                run = _Run(partition)
                # reading is not urgent, writing is: joining takes a quarter of a core at most
                self._stop.wait(3 * (self._clock_s() - started_s))
                started_s = self._clock_s()
            elif not run.rows:
                partition.joined = joined  # stored with the next run
        if run.rows >= JOIN_ROWS_MIN:
            self._replace(partition, run)  # `joined` stays before it: while it is small it grows by what comes next
            partition.loose_rows = 1
        else:
            partition.loose_rows = run.rows

    def _replace(
        self, partition: Partition, run: _Run, joined: int | None = None, compacted: int | None = None
    ) -> None:
        row = run.joined() if run.rows > 1 or run.changed else None
        first, last, changed = run.first, run.last, run.rows > 1 or run.changed

        def step(connection: apsw.Connection) -> Callable[[], None]:
            if partition.id not in self._catalog.by_id:
                return lambda: None
            if changed:
                connection.execute("DELETE FROM batch WHERE id BETWEEN ? AND ?", (first, last))
                if row is not None:
                    connection.execute("INSERT INTO batch VALUES (?, ?, ?, ?, ?)", row)
                else:
                    connection.execute("UPDATE partition SET next = ? WHERE id = ?", (partition.next, partition.id))
            if joined is not None:
                connection.execute("UPDATE partition SET joined = ? WHERE id = ?", (joined, partition.id))
            if compacted is not None:
                connection.execute("UPDATE partition SET compacted = ? WHERE id = ?", (compacted, partition.id))

            def publish() -> None:
                partition.joined = partition.joined if joined is None else joined
                partition.compacted = partition.compacted if compacted is None else compacted

            return publish

        if changed or joined is not None or compacted is not None:
            self._do(step)

    # Compaction

    def compact(self, partition: Partition, tombstones_before_ms: int) -> None:
        """Keeps each key's last record; tombstones go once they are older than `tombstones_before_ms`.

        Two passes: where each key's last record lies, then rows rewritten without the others."""
        end = partition.next
        newest: dict[bytes, int] = {}
        for row in self._rows(partition, partition.begin, end):
            base = offset_of(row[0])
            columns = Columns(row[4])
            for offset, key in zip(columns.offsets, columns.keys, strict=True):
                if key is not None:
                    newest[key] = base + offset
        run = _Run(partition)
        for row in self._rows(partition, partition.begin, end):
            base = offset_of(row[0])
            columns = Columns(row[4])
            keep = [
                key is None or (newest[key] == base + offset and not (value is None and time_ms < tombstones_before_ms))
                for offset, key, value, time_ms in zip(
                    columns.offsets, columns.keys, columns.values, columns.timestamps_ms, strict=True
                )
            ]
            run.add(row, keep)
            if run.full:
                self._replace(partition, run)
                run = _Run(partition)
        if run.rows:
            self._replace(partition, run)
        self._replace(partition, _Run(partition), joined=max(end, partition.joined), compacted=end)

    def _rows(self, partition: Partition, position: int, end: int) -> Iterator[_Row]:
        """Rows in order, STEP_ROWS small ones or one large one a statement."""
        last = row_id(partition.id, end) - 1
        while position < end and not self._stop.is_set():
            with self._database.reading() as connection:
                cursor = connection.execute(_ROWS, (row_id(partition.id, position), last, STEP_ROWS))
                rows, size = [], 0
                for row in cursor:
                    rows.append(row)
                    size += len(row[4])
                    if size > STEP_BYTES:
                        break
                cursor.close()
            if not rows:
                return
            yield from rows
            position = offset_of(rows[-1][0]) + rows[-1][1]


class _Run:
    """Consecutive rows that become one."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self.rows = 0
        self.changed = False
        self.first = self.last = 0
        self._span_end = self._peak_ms = 0
        self._bytes = 0
        self._values: list[bytes | None] = []
        self._keys: list[bytes | None] = []
        self._headers: list[Any] = []
        self._times: list[int] = []
        self._offsets: list[int] = []

    def add(self, row: _Row, keep: list[bool] | None) -> None:
        """`keep` says which records stay; None: all."""
        uid, span, _, peak_ms, blob = row
        if not self.rows:
            self.first = uid
        self.last, self._span_end, self._peak_ms = uid, uid + span, peak_ms
        self.rows += 1
        columns = Columns(blob)
        base = uid - self.first
        chosen = range(len(columns)) if keep is None else [index for index, stays in enumerate(keep) if stays]
        self.changed = self.changed or len(chosen) < len(columns)
        offsets = columns.offsets
        self._values += [columns.values[index] for index in chosen]
        self._keys += [columns.keys[index] for index in chosen]
        self._headers += [columns.headers[index] for index in chosen]
        self._times += [columns.timestamps_ms[index] for index in chosen]
        self._offsets += [base + offsets[index] for index in chosen]
        self._bytes += columns.head.raw_bytes

    @property
    def full(self) -> bool:
        return len(self._values) >= JOINED_RECORDS_MAX or self._bytes >= JOINED_BYTES_MAX

    def joined(self) -> _Row | None:
        """The one row; None when no record stays."""
        if not self._values:
            return None
        span = self._span_end - self.first
        dense = len(self._offsets) == span
        blob = pack(self._values, self._keys, self._headers, self._times, None if dense else self._offsets)
        return self.first, span, max(self._times), self._peak_ms, blob


def set_begin(connection: apsw.Connection, partition: Partition, begin: int) -> Callable[[], None]:
    """Readers see nothing before `begin` any more; the rows go later."""
    connection.execute(
        "UPDATE partition SET begin = max(begin, ?), next = max(next, ?) WHERE id = ?",
        (begin, partition.next, partition.id),
    )

    def publish() -> None:
        partition.begin = max(partition.begin, begin)

    return publish


def _delete_rows(connection: apsw.Connection, partition_id: int, before: int) -> int:
    """One step: up to STEP_ROWS rows that end at or before `before`. Returns how many went."""
    low, high = row_id(partition_id, 0), row_id(partition_id, 0) + before - 1
    ids = [
        (uid,)
        for uid, span in every(
            connection, "SELECT id, span FROM batch WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?", low, high, STEP_ROWS
        )
        if uid + span - 1 <= high
    ]
    connection.executemany("DELETE FROM batch WHERE id = ?", ids)
    return len(ids)


def _forget_partition(connection: apsw.Connection, partition_id: int) -> None:
    connection.execute("DELETE FROM partition WHERE id = ?", (partition_id,))
