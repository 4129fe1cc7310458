"""Reading and writing of the contract suite."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from log_backends import SETTLE_S

from twinstack.log.seam import Batch, Consumer, Headers, OutRecord, Producer


class Seen(NamedTuple):
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def flatten(batches: Iterable[Batch]) -> list[Seen]:
    seen: list[Seen] = []
    for batch in batches:
        columns = (batch.offsets, batch.timestamps_ms, batch.keys, batch.values, batch.headers)
        assert {len(column) for column in columns} == {len(batch)}
        some = range(0, len(batch), 3)
        assert batch.headers_at(some) == [batch.headers[index] for index in some]
        for offset, timestamp_ms, key, value, headers in zip(*columns, strict=True):
            seen.append(Seen(batch.partition, offset, timestamp_ms, key, value, _tuples(headers)))
        assert not len(batch) or batch.next_offset > batch.offsets[-1]
    return seen


def _tuples(headers: Headers) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, value) for name, value in headers)


def read(consumer: Consumer, count: int, timeout_s: float = SETTLE_S) -> list[Seen]:
    """Exactly `count` records: more in the last batches is an error too."""
    seen: list[Seen] = []
    end = time.monotonic() + timeout_s
    while len(seen) < count:
        assert time.monotonic() < end, f"{len(seen)} of {count} records after {timeout_s} s"
        seen += flatten(consumer.poll(0.5))
    assert len(seen) == count
    return seen


def nothing_comes(consumer: Consumer, for_s: float = 0.4) -> bool:
    end = time.monotonic() + for_s
    while (left := end - time.monotonic()) > 0:
        if flatten(consumer.poll(left)):
            return False
    return True


def write(producer: Producer, topic: str, *values: bytes | None, key: bytes | None = None) -> None:
    for value in values:
        producer.send(OutRecord(topic, value, key))
    producer.flush(SETTLE_S)
