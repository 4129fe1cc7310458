"""Changing what lies on disk: consecutive rows that become one, rows that go, beginnings that move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw

from twinstack.core.limits import KIB
from twinstack.log.embedded.catalog import Partition
from twinstack.log.embedded.database import every, row_id
from twinstack.log.packed.format import Columns, pack

STEP_ROWS = 64
JOINED_RECORDS_MAX = 1_000
JOINED_BYTES_MAX = 256 * KIB
BatchRow = tuple[int, int, int, int, bytes]
"""id, span, newest_ms, peak_ms, data"""


class Run:
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

    def add(self, row: BatchRow, keep: list[bool] | None) -> None:
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

    def joined(self) -> BatchRow | None:
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


def delete_rows(connection: apsw.Connection, partition_id: int, before: int) -> int:
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


def forget_partition(connection: apsw.Connection, partition_id: int) -> None:
    connection.execute("DELETE FROM partition WHERE id = ?", (partition_id,))
