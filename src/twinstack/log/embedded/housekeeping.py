"""The background: sessions, retention, compaction, joining of small rows and what deleted topics left.

Everything happens in small steps, each its own transaction in the writer's queue, so producers never wait long. A step
leaves the log right: a kill between two steps only leaves work to be done again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import apsw

from twinstack.core.errors import FatalLogError, TwinstackError
from twinstack.core.failpoints import hit
from twinstack.core.limits import IDEMPOTENCE_WINDOW_MS, KIB
from twinstack.log.embedded.calls import Action
from twinstack.log.embedded.catalog import JOIN_ROWS_MIN, Catalog, Partition, Topic
from twinstack.log.embedded.database import (
    OFFSET_BITS,
    Database,
    offset_of,
    row_id,
)
from twinstack.log.embedded.groups import Groups
from twinstack.log.embedded.rewrite import STEP_ROWS, BatchRow, Run, delete_rows, forget_partition, set_begin
from twinstack.log.embedded.writer import SMALL_RECORDS, Writer
from twinstack.log.packed.format import Columns

log = logging.getLogger(__name__)

TICK_S = 0.5
FAILED_PAUSE_S = 1.0
RETENTION_EVERY_MS = 60_000
TOMBSTONE_MS_DEFAULT = 3_600_000
COMPACT_RECORDS_MIN = 500
STEP_BYTES = 256 * KIB
COMPACT_RATIO_DEFAULT = 0.5
_ROWS = "SELECT id, span, newest_ms, peak_ms, data FROM batch WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
_SMALL_ROWS = _ROWS.replace(" data ", f" iif(span < {SMALL_RECORDS}, data, x'') ")
"""Without the contents of large rows, which then are not read."""
_BARE_ROWS = _ROWS.replace(" data ", " x'' ")


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
                self._paused.wait(FAILED_PAUSE_S)  # full disk, or the log is closing; the steps are repeated
            except Exception:
                # A defect in one step must not end sessions, retention and joining for good: it is said each time.
                log.exception("a step of the log's housekeeping failed and is repeated")
                self._paused.wait(FAILED_PAUSE_S)

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
            while self._do(partial(delete_rows, partition_id=uid, before=1 << OFFSET_BITS)) == STEP_ROWS:
                pass
            self._do(partial(forget_partition, partition_id=uid))
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
                if topic.info.cleanup == "compact" and self._worth_compacting(topic, partition):
                    tombstone_ms = int(topic.config.get("delete.retention.ms", TOMBSTONE_MS_DEFAULT))
                    self.compact(partition, now_ms - tombstone_ms)
        self._do(self._store_joined)

    @staticmethod
    def _worth_compacting(topic: Topic, partition: Partition) -> bool:
        """Enough is new, in number and against what the last compaction left."""
        ratio = float(topic.config.get("min.cleanable.dirty.ratio", COMPACT_RATIO_DEFAULT))
        return partition.next - partition.compacted >= max(COMPACT_RECORDS_MIN, ratio * partition.live_records)

    def _store_joined(self, connection: apsw.Connection) -> None:
        moved = [each for each in self._catalog.by_id.values() if each.joined != each.joined_stored]
        connection.executemany(
            "UPDATE partition SET joined = ? WHERE id = ?", [(partition.joined, partition.id) for partition in moved]
        )
        for partition in moved:
            partition.joined_stored = partition.joined

    def _drop_old(self, partition: Partition, before_ms: int) -> None:
        """Moves `begin` behind the leading rows that are old; the rows follow in `_drop_before_begin`."""
        begin = partition.begin
        for row in self._rows(partition, begin, partition.next, _BARE_ROWS):
            if row[2] >= before_ms:
                break
            begin = offset_of(row[0]) + row[1]
        if begin > partition.begin:
            self._do(lambda connection: set_begin(connection, partition, begin))

    def _drop_before_begin(self, partition: Partition) -> None:
        if partition.begin == 0:
            return
        while self._do(partial(delete_rows, partition_id=partition.id, before=partition.begin)) == STEP_ROWS:
            pass

    # Joining small rows

    def join(self, partition: Partition) -> None:
        """Runs of rows with few records become rows of many; reading few large rows costs a twentieth."""
        run = Run(partition)
        joined = partition.joined
        started_s = self._clock_s()
        for row in self._rows(partition, joined, partition.next, _SMALL_ROWS):
            small = row[1] < SMALL_RECORDS
            if small:
                run.add(row, keep=None)
            joined = offset_of(row[0]) + row[1]
            if run.rows and (run.full or not small):
                self._replace(partition, run, joined=joined)
                run = Run(partition)
                # reading is not urgent, writing is: joining takes a quarter of a core at most
                self._stop.wait(3 * (self._clock_s() - started_s))
                started_s = self._clock_s()
            elif not run.rows:
                partition.joined = joined
        if run.rows >= JOIN_ROWS_MIN:
            self._replace(partition, run)  # `joined` stays before it: while it is small it grows by what comes next
            partition.loose_rows = 1
        else:
            partition.loose_rows = run.rows

    def _replace(self, partition: Partition, run: Run, joined: int | None = None, compacted: int | None = None) -> None:
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
        run = Run(partition)
        live = 0
        for row in self._rows(partition, partition.begin, end):
            base = offset_of(row[0])
            columns = Columns(row[4])
            keep = [
                key is None or (newest[key] == base + offset and not (value is None and time_ms < tombstones_before_ms))
                for offset, key, value, time_ms in zip(
                    columns.offsets, columns.keys, columns.values, columns.timestamps_ms, strict=True
                )
            ]
            live += sum(keep)
            run.add(row, keep)
            if run.full:
                self._replace(partition, run)
                run = Run(partition)
        if run.rows:
            self._replace(partition, run)
        self._replace(partition, Run(partition), joined=max(end, partition.joined), compacted=end)
        partition.live_records = live

    def _rows(self, partition: Partition, position: int, end: int, select: str = _ROWS) -> Iterator[BatchRow]:
        """Rows in order, STEP_ROWS small ones or one large one a statement."""
        last = row_id(partition.id, end) - 1
        while position < end and not self._stop.is_set():
            with self._database.reading() as connection:
                cursor = connection.execute(select, (row_id(partition.id, position), last, STEP_ROWS))
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
