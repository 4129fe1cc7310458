"""Reads of the log: one batch row a statement, so that no snapshot is held between two batches."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from twinstack.log.embedded.catalog import Catalog, Partition
from twinstack.log.embedded.database import OFFSET_BITS, OFFSET_MASK, Database, offset_of, row_id
from twinstack.log.packed.format import Columns, head
from twinstack.log.packed.transport import Fetched, Stored, Want
from twinstack.log.seam import TopicPartition

_AT = "SELECT id, span, data FROM batch WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1"
_AFTER = "SELECT id, span, data FROM batch WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1"
_TIMES_AFTER = "SELECT id, span, newest_ms, peak_ms FROM batch WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1"


class Reader:
    def __init__(self, database: Database, catalog: Catalog) -> None:
        self._database = database
        self._catalog = catalog

    def ready(self, wants: Sequence[Want]) -> bool:
        """Whether `fetch` would give something, or refuse a position, now. Memory only; errors: UnknownTopic."""
        for topic, number, offset, uid in wants:
            partition = self._catalog.partition(topic, number)
            if offset != partition.next or uid not in (0, partition.id):
                return True
        return False

    def fetch(self, wants: Sequence[Want], records_max: int, bytes_max: int) -> Fetched:
        """Batches from each wanted offset until `records_max` or `bytes_max` is passed: one at least if there is."""
        batches: list[Stored] = []
        lost: list[tuple[TopicPartition, str]] = []
        with self._database.reading() as connection:
            for topic, number, offset, uid in wants:
                partition = self._catalog.partition(topic, number)
                if uid not in (0, partition.id):
                    lost.append((TopicPartition(topic, number), f"The topic '{topic}' was deleted and made again."))
                    continue
                if not partition.begin <= offset <= partition.next:
                    lost.append((TopicPartition(topic, number), _outside(partition, offset)))
                    continue
                position, end = offset, partition.next
                while position < end and records_max > 0 and bytes_max > 0:
                    found = _batch_at(connection, partition, position, end)
                    if found is None:
                        # compaction took what was there: go on behind it
                        batches.append(Stored(topic, number, position, end - position, b""))
                        break
                    batches.append(found)
                    records_max -= found.base + found.span - position
                    bytes_max -= len(found.blob)
                    position = found.base + found.span
        return Fetched(batches, lost)

    def offset_at(self, partition: Partition, timestamp_ms: int) -> int:
        """The first offset whose timestamp is at or after `timestamp_ms`, else the end.

        Bisection on the growing `peak_ms`; a few rows more only where retention took the row of a peak."""
        end = partition.next
        last = row_id(partition.id, end) - 1
        low, high = partition.begin, end
        with self._database.reading() as connection:
            while low < high:
                middle = (low + high) // 2
                row = connection.execute(_TIMES_AFTER, (row_id(partition.id, middle), last)).fetchone()
                if row is None or row[3] >= timestamp_ms:
                    high = middle
                else:
                    low = max(middle + 1, offset_of(row[0]) + row[1])
            while low < end and (found := _batch_at(connection, partition, low, end)) is not None:
                if head(found.blob).newest_ms >= timestamp_ms:
                    columns = Columns(found.blob)
                    for offset, time_ms in zip(columns.offsets, columns.timestamps_ms, strict=True):
                        if time_ms >= timestamp_ms and found.base + offset >= partition.begin:
                            return found.base + offset
                low = found.base + found.span
        return end


def _batch_at(connection: apsw.Connection, partition: Partition, offset: int, end: int) -> Stored | None:
    """The batch that holds `offset`, else the next one before `end`."""
    first = partition.id << OFFSET_BITS
    wanted = first | offset
    # in order of the log the wanted offset is most often a batch's first: look there first
    row = connection.execute(_AFTER, (wanted, (first | end) - 1)).fetchone()
    if row is None or row[0] != wanted:
        before = connection.execute(_AT, (first, wanted)).fetchone()
        if before is not None and before[0] + before[1] > wanted:
            row = before
        if row is None:
            return None
    return Stored(partition.topic, partition.number, row[0] & OFFSET_MASK, row[1], row[2])


def _outside(partition: Partition, offset: int) -> str:
    return (
        f"Offset {offset} of partition {partition.number} of '{partition.topic}' is not on the log, "
        f"which has {partition.begin} to {partition.next}."
    )
