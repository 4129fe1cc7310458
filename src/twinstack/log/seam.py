"""The log seam: what every implementation (embedded, http, kafka) promises; proven by tests/contract/log.

All calls are synchronous and made from one thread per object (a Log may be shared). Errors are those of
`core.errors`: UnknownTopic, RecordTooLarge, QueueFull, Unreachable, TimedOut, StorageFull, and for transactions
RetriableLogError, TransactionAborted, Fenced, FatalLogError; PositionLost for a position outside the log.

Records of one key go to one partition (murmur2, Java's default partitioner) and keep their order. A consumer with
isolation read_committed (always) sees the records of committed transactions only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, runtime_checkable

Headers = Sequence[tuple[str, bytes]]
"""Record headers in order; names may repeat. `()` when there are none."""

Start = Literal["earliest", "latest"]
EARLIEST: Start = "earliest"
LATEST: Start = "latest"


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class OutRecord(NamedTuple):
    """A record to send. `timestamp_ms` None = now (when it was produced; never phenomenonTime);
    `partition` None = by key (murmur2), without key spread evenly."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp_ms: int | None = None
    partition: int | None = None


class Delivery(NamedTuple):
    """Where a record was stored."""

    topic: str
    partition: int
    offset: int


DeliveryCallback = Callable[[Delivery | Exception], None]
"""Called once per record, on the thread that calls `send`, `poll` or `flush`, with the place or the error."""


class Batch(Protocol):
    """Consecutive records of one partition as columns. Columns are computed when asked for and then kept:
    a hot path reads only `values`. Offsets may have gaps (compaction, transaction markers)."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def values(self) -> list[bytes | None]: ...
    @property
    def keys(self) -> list[bytes | None]: ...
    @property
    def headers(self) -> list[Headers]: ...
    def headers_at(self, indices: Sequence[int]) -> list[Headers]:
        """Headers of some of the records: they are the dearest column, and a filter needs few of them."""
        ...

    @property
    def timestamps_ms(self) -> list[int]: ...
    @property
    def offsets(self) -> list[int]: ...
    @property
    def next_offset(self) -> int:
        """The position behind the batch: what to commit once all of it is done."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class TopicSpec:
    name: str
    partitions: int = 1
    cleanup: Literal["delete", "compact"] = "delete"
    retention_ms: int | None = None
    max_record_bytes: int | None = None
    replication: int | None = None
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """`uuid` changes when a topic is deleted and made again."""

    name: str
    partitions: int
    uuid: str
    cleanup: str = "delete"


class Producer(Protocol):
    """At-least-once to the caller, idempotent on the log: a retry after a lost answer is not a second record."""

    def send(self, record: OutRecord, on_delivery: DeliveryCallback | None = None) -> None:
        """Queues one record. A full queue blocks up to PRODUCER_BLOCK_MS_MAX, then QueueFull: nothing is dropped."""
        ...

    def send_many(
        self,
        topic: str,
        values: Sequence[bytes],
        *,
        key: bytes | None = None,
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Headers] | None = None,
        on_delivery: DeliveryCallback | None = None,
    ) -> None:
        """Queues many records in order; `key` for all or `keys`, one each. `on_delivery` is called per record."""
        ...

    def poll(self) -> int:
        """Runs the callbacks that wait; returns how many. Never blocks."""
        ...

    def flush(self, timeout_s: float) -> None:
        """Returns when all sent records are acknowledged. Errors: Undelivered with the count of those that are not
        (records that failed for good since the last flush, and those still under way at the time-out)."""
        ...

    def close(self, timeout_s: float = 10.0) -> None:
        """flush, then release everything. May be called again."""
        ...


class Consumer(Protocol):
    def assign(self, positions: Mapping[TopicPartition, int | Start]) -> None:
        """Reads these partitions from these positions, without membership in a group's assignment."""
        ...

    def subscribe(self, topics: Sequence[str]) -> None:
        """Joins the group: partitions are shared with its other members; starts at the committed offsets, else at
        the consumer's `start`."""
        ...

    def poll(self, timeout_s: float, records_max: int = 5_000) -> list[Batch]:
        """Batches that are there, waiting up to `timeout_s` for the first. A position that fell off the log raises
        PositionLost (assigned) or restarts at `start` (subscribed)."""
        ...

    def seek(self, tp: TopicPartition, offset: int | Start) -> None: ...
    def pause(self, tps: Sequence[TopicPartition]) -> None: ...
    def resume(self, tps: Sequence[TopicPartition]) -> None: ...
    def assignment(self) -> list[TopicPartition]: ...

    def position(self, tp: TopicPartition) -> int | None:
        """The next offset that `poll` will give, None before the first record or seek."""
        ...

    def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        """Stores next offsets for the group (None = the positions), synchronously.
        Errors: Fenced when the group has moved on (rebalanced)."""
        ...

    def committed(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The group's next offsets; partitions without one are left out."""
        ...

    def close(self) -> None: ...


class Transaction(Protocol):
    """A transactional producer. Opening it (Log.transaction) fences and aborts the predecessor of its id.

    Use: send*, then commit or abort; the transaction begins by itself at the first send or commit. After
    TransactionAborted call `abort` and go back to the last committed positions; after Fenced close and stop.
    """

    def send(self, record: OutRecord) -> None: ...

    def send_many(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        headers: Sequence[Headers],
    ) -> None: ...

    def commit(self, group: str | None = None, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        """Commits the sent records and the group's next offsets (all >= 0) atomically: all or nothing."""
        ...

    def abort(self) -> None: ...
    def close(self) -> None: ...


class Admin(Protocol):
    def create_topics(self, specs: Sequence[TopicSpec]) -> dict[str, Literal["created", "exists"]]:
        """Errors: Conflict for a topic that exists with other partitions; names are checked first."""
        ...

    def delete_topics(self, names: Sequence[str]) -> None:
        """Missing topics are ignored."""
        ...

    def topics(self) -> dict[str, TopicInfo]: ...

    def describe(self, topic: str) -> TopicInfo:
        """Errors: UnknownTopic."""
        ...

    def beginning_offsets(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]: ...

    def end_offsets(self, tps: Sequence[TopicPartition], *, committed: bool = True) -> dict[TopicPartition, int]:
        """The offset behind the last record; `committed` False also counts open transactions."""
        ...

    def offsets_at(self, tps: Sequence[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        """The first offset whose log timestamp (arrival) is at or after `timestamp_ms`, else the end offset."""
        ...

    def delete_records(self, before: Mapping[TopicPartition, int]) -> None: ...
    def delete_group(self, group: str) -> None: ...
    def group_offsets(self, group: str) -> dict[TopicPartition, int]: ...


@runtime_checkable
class Log(Protocol):
    def producer(self, *, client_id: str = "twinstack", linger_ms: int = 5) -> Producer: ...

    def consumer(
        self, *, group: str | None = None, client_id: str = "twinstack", start: Start = LATEST
    ) -> Consumer: ...

    def transaction(self, transactional_id: str, *, timeout_ms: int = 30_000) -> Transaction: ...
    def admin(self) -> Admin: ...

    def ping(self, timeout_s: float = 5.0) -> None:
        """Errors: Unreachable that names the address, within the time-out."""
        ...

    def close(self) -> None: ...
