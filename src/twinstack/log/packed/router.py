"""Records to partitions, and columns of a partition to packed parts of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twinstack.core.errors import InvalidInput
from twinstack.core.limits import KIB
from twinstack.log.packed.format import pack
from twinstack.log.packed.transport import Part
from twinstack.log.partitioner import partition_for
from twinstack.log.seam import DeliveryCallback, Headers

PART_RECORDS_MAX = 5_000
PART_BYTES_MAX = 512 * KIB
STICKY_RECORDS = 500
KEYS_CACHED_MAX = 65_536


class Router:
    """Partitions by key (murmur2, remembered) or, without key, one partition for STICKY_RECORDS, then the next."""

    def __init__(self, partitions_of: Callable[[str], int]) -> None:
        self._partitions_of = partitions_of
        self._known: dict[tuple[str, bytes], int] = {}
        self._unkeyed = 0

    def one(self, topic: str, key: bytes | None, given: int | None) -> int:
        """Errors: UnknownTopic, InvalidInput for a partition the topic does not have."""
        if given is not None:
            partitions = self._partitions_of(topic)
            if not 0 <= given < partitions:
                raise InvalidInput(
                    f"'{topic}' has no partition {given}.", fix=f"Its partitions are 0 to {partitions - 1}."
                )
            return given
        if key is None:
            self._unkeyed += 1
            return self._unkeyed // STICKY_RECORDS % self._partitions_of(topic)
        known = self._known.get((topic, key))
        return self._learn(topic, key) if known is None else known

    def many(self, topic: str, keys: Sequence[bytes | None]) -> list[int]:
        known = self._known
        return [
            self.one(topic, None, None)
            if key is None
            else (self._learn(topic, key) if (found := known.get((topic, key))) is None else found)
            for key in keys
        ]

    def rotate(self) -> None:
        """The next records without key go to the next partition."""
        self._unkeyed += STICKY_RECORDS

    def forget(self) -> None:
        """After a topic was deleted and made again its partitions may be others."""
        self._known.clear()

    def _learn(self, topic: str, key: bytes) -> int:
        if len(self._known) >= KEYS_CACHED_MAX:
            self._known.clear()
        partition = self._known[topic, key] = partition_for(key, self._partitions_of(topic))
        return partition


class Columns:
    """Records of one partition that are not packed yet."""

    __slots__ = ("bytes", "callbacks", "headers", "keys", "timestamps_ms", "values")

    def __init__(self) -> None:
        self.values: list[bytes | None] = []
        self.keys: list[bytes | None] = []
        self.headers: list[Headers] = []
        self.timestamps_ms: list[int] = []
        self.callbacks: list[DeliveryCallback | None] = []
        self.bytes = 0

    def parts(self, topic: str, partition: int) -> list[tuple[Part, int]]:
        """Packed, each with its number of records: at most PART_RECORDS_MAX and about PART_BYTES_MAX each."""
        count = len(self.values)
        step = count
        if count > 1:
            step = max(1, min(PART_RECORDS_MAX, count * PART_BYTES_MAX // max(self.bytes, PART_BYTES_MAX)))
        found: list[tuple[Part, int]] = []
        for at in range(0, count, step):
            window = slice(at, at + step)
            values = self.values[window]
            blob = pack(values, self.keys[window], self.headers[window], self.timestamps_ms[window])
            found.append((Part(topic, partition, blob), len(values)))
        return found
