"""A look at the last records of the sources: which attributes they have."""

from __future__ import annotations

from collections.abc import Sequence

from twinstack.core.errors import InvalidRecord
from twinstack.core.observations import RESERVED_KEYS, decode
from twinstack.log.seam import Log, TopicPartition
from twinstack.streams.reading import read_to

LAST_RECORDS = 10_000


def attributes_of(log: Log, topics: Sequence[str], last: int = LAST_RECORDS) -> frozenset[str]:
    """The attributes (keys beside SensorThings' own) of the last `last` records of each topic. Errors: the log's."""
    admin = log.admin()
    found: set[str] = set()
    for topic in topics:
        partitions = [TopicPartition(topic, p) for p in range(admin.describe(topic).partitions)]
        ends, beginnings = admin.end_offsets(partitions), admin.beginning_offsets(partitions)
        share = -(-last // len(partitions))
        starts = {tp: max(beginnings[tp], ends[tp] - share) for tp in partitions}
        found |= _attributes(log, starts, ends)
    return frozenset(found)


def _attributes(log: Log, starts: dict[TopicPartition, int], ends: dict[TopicPartition, int]) -> set[str]:
    found: set[str] = set()
    positions = {tp: offset for tp, offset in starts.items() if offset < ends[tp]}
    if not positions:
        return found
    consumer = log.consumer(client_id="twinstack-sample")
    try:
        consumer.assign(positions)
        for batch in read_to(consumer, positions, {tp: ends[tp] for tp in positions}):
            for value in batch.values:
                found.update(_keys(value))
    finally:
        consumer.close()
    return found


def _keys(value: bytes | None) -> list[str]:
    try:
        return [key for key in decode(value or b"") if key not in RESERVED_KEYS]
    except InvalidRecord:
        return []
