"""How large a record may be, told before it is queued: a broker that refuses one later fails a whole batch with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from twinstack.core import limits
from twinstack.core.errors import RecordTooLarge, TimedOut, Unreachable
from twinstack.log.seam import Headers

RecordBytesMax = Callable[[str], int]

BATCH_OVERHEAD_BYTES = 128
"""Of a batch with one record: 61 bytes of the batch, some of the record's lengths, and room for both to grow."""
_ASSUMED_FOR_S = 10.0


def size_of(value: bytes | None, key: bytes | None, headers: Headers) -> int:
    size = len(value or b"") + len(key or b"")
    for name, content in headers:
        size += len(name) * 4 + len(content) + 4
    return size


def too_large(topic: str, size: int, limit: int) -> RecordTooLarge:
    return RecordTooLarge(
        f"A record of {size} bytes does not fit on the topic '{topic}', which takes {limit} bytes.",
        fix="Send smaller records.",
        topic=topic,
        size=size,
        limit=limit,
    )


class TopicLimits:
    """The largest record of each topic, asked once; assumed for a while when no broker answers."""

    def __init__(self, record_bytes_max: RecordBytesMax) -> None:
        self._ask = record_bytes_max
        self.known: dict[str, int] = {}
        self._assumed_until = 0.0

    def of(self, topic: str) -> int:
        """Errors: UnknownTopic, InvalidName."""
        limit = self.known.get(topic)
        if limit is not None:
            return limit
        if time.monotonic() < self._assumed_until:
            return limits.DERIVED_RECORD_BYTES_MAX
        try:
            limit = self._ask(topic) - BATCH_OVERHEAD_BYTES
        except (Unreachable, TimedOut):
            # The producer's promise is to queue while the brokers are away.
            self._assumed_until = time.monotonic() + _ASSUMED_FOR_S
            return limits.DERIVED_RECORD_BYTES_MAX
        self.known[topic] = limit
        return limit


def check_sizes(
    topic: str,
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None],
    headers: Sequence[Headers] | None,
    limit: int,
) -> None:
    """All or none: raises RecordTooLarge before the first record is queued."""
    # A bound over whole columns: the sizes one by one cost as much as sending the records.
    largest = max(map(len, filter(None, values)), default=0) + max(map(len, filter(None, keys)), default=0)
    if headers:
        names = {name for own in headers for name, _ in own}
        longest = max([len(content) for own in headers for _, content in own], default=0)
        largest += max(map(len, headers)) * (max(map(len, names), default=0) * 4 + longest + 4)
    if largest <= limit:
        return
    for i, value in enumerate(values):
        size = size_of(value, keys[i] if len(keys) == len(values) else keys[0], headers[i] if headers else ())
        if size > limit:
            raise too_large(topic, size, limit)
