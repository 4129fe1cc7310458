"""The state topic of a stage, `ts.<app>.<rev>.<stage>.state` (compacted): partition p has the state of its keys.

Keys `k/` and `b/` are the operator's; `m` is the last record of each transaction: next offsets and how far event time
has come. Restoring ends when the position has reached the end that was asked for, never by counting: markers and
compaction leave gaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from twinstack.core import limits
from twinstack.core.errors import CorruptState
from twinstack.log.seam import EARLIEST, Log, OutRecord, TopicPartition, TopicSpec
from twinstack.streams.onward import Mark
from twinstack.streams.reading import read_to

META_KEY = b"m"

CONFIG = {
    "segment.bytes": str(16 * limits.MIB),
    "segment.ms": "600000",
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": "600000",
    "delete.retention.ms": "3600000",
}


class Meta(msgspec.Struct, array_like=True):
    """`offsets`: topic -> next offset of this partition; `marks`: what is known of each source partition."""

    fingerprint: str
    sequence: int
    offsets: dict[str, int]
    marks: list[Mark]


class Saved(msgspec.Struct):
    """What a state topic's partition holds; `meta` None: nothing was ever written."""

    meta: Meta | None
    records: dict[bytes, bytes]


def state_spec(topic: str, partitions: int) -> TopicSpec:
    return TopicSpec(
        topic, partitions, cleanup="compact", max_record_bytes=limits.DERIVED_RECORD_BYTES_MAX, config=CONFIG
    )


def meta_record(topic: str, partition: int, meta: Meta) -> OutRecord:
    return OutRecord(topic, msgspec.msgpack.encode(meta), META_KEY, partition=partition)


def change_records(topic: str, partition: int, changes: Mapping[bytes, bytes | None]) -> list[OutRecord]:
    return [OutRecord(topic, value, key, partition=partition) for key, value in changes.items()]


def read_state(log: Log, topic: str, partitions: Sequence[int], fingerprint: str) -> dict[int, Saved]:
    """The state of these partitions. Call it behind the fence: what the predecessor left open is aborted then.

    Errors: CorruptState, also for a state of another text; those of the log.
    """
    tps = [TopicPartition(topic, p) for p in partitions]
    admin = log.admin()
    ends, begins = admin.end_offsets(tps, committed=False), admin.beginning_offsets(tps)
    found: dict[int, dict[bytes, bytes]] = {p: {} for p in partitions}
    starts = {tp: begins[tp] for tp in tps if begins[tp] < ends[tp]}
    if starts:
        consumer = log.consumer(client_id="twinstack-state", start=EARLIEST)
        try:
            consumer.assign(starts)
            for batch in read_to(consumer, starts, {tp: ends[tp] for tp in starts}):
                _apply(found[batch.partition], batch.keys, batch.values)
        finally:
            consumer.close()
    return {p: _saved(topic, records, fingerprint) for p, records in found.items()}


def _apply(records: dict[bytes, bytes], keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> None:
    for key, value in zip(keys, values, strict=True):
        if key is None:
            continue
        if value is None:
            records.pop(key, None)
        else:
            records[key] = value


def _saved(topic: str, records: dict[bytes, bytes], fingerprint: str) -> Saved:
    packed = records.pop(META_KEY, None)
    if packed is None:
        return Saved(None, records)
    try:
        meta = msgspec.msgpack.decode(packed, type=Meta)
    except msgspec.DecodeError as error:
        raise CorruptState(f"The state on '{topic}' cannot be read: {error}.", fix="Deploy the app again.") from None
    if meta.fingerprint != fingerprint:
        raise CorruptState(
            f"The state on '{topic}' belongs to another text.",
            fix="Deploy it as a new revision, or under another name.",
        )
    return Saved(meta, records)
