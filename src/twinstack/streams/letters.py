"""Dead letters: the raw bytes of a record that does not fit, with its place and what was wrong (`ts.<uid>.dead`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from twinstack.core import limits
from twinstack.log.seam import Batch, Headers, OutRecord
from twinstack.streams.headers import TS_DEAD, dead_header


class Fault(NamedTuple):
    """What is wrong with the record at `place` of a batch; `error` is a stable word for counters and filters."""

    place: int
    error: str
    message: str


class DeadLetters:
    """Makes the letters of one app. The value is the record's, up to 64 KiB; a longer one is cut, and the header has
    the SHA-256 of the whole. The record's own headers are kept, for the replay."""

    def __init__(self, topic: str, revision: int) -> None:
        self._topic = topic
        self._revision = revision

    def letters(self, batch: Batch, faults: Iterable[Fault]) -> list[OutRecord]:
        values, keys, offsets = batch.values, batch.keys, batch.offsets
        headers, timestamps_ms = batch.headers, batch.timestamps_ms
        made: list[OutRecord] = []
        for fault in faults:
            i = fault.place
            value = values[i]
            facts: dict[str, object] = {
                "topic": batch.topic,
                "partition": batch.partition,
                "offset": offsets[i],
                "timestamp_ms": timestamps_ms[i],
                "error": fault.error,
                "message": fault.message,
                "revision": self._revision,
            }
            if value is not None and len(value) > limits.DEAD_LETTER_RAW_BYTES_MAX:
                facts |= {"bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
                value = value[: limits.DEAD_LETTER_RAW_BYTES_MAX]
            own: Headers = [h for h in headers[i] if h[0] != TS_DEAD][: limits.HEADERS_PER_RECORD_MAX - 1]
            made.append(OutRecord(self._topic, value, keys[i], [*own, dead_header(facts)]))
        return made
