"""What a log of packed batches offers below the seam; implemented in process (embedded) and over HTTP.

Producer, consumer and transaction are written once, over this protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from twinstack.log.seam import Start, TopicPartition


class Part(NamedTuple):
    """A packed batch and where it goes."""

    topic: str
    partition: int
    blob: bytes


class TopicLayout(NamedTuple):
    """What a producer must know of a topic."""

    partitions: int
    record_bytes_max: int


class Stored(NamedTuple):
    """A packed batch as it lies on the log: first offset, offsets spanned (compaction leaves gaps)."""

    topic: str
    partition: int
    base: int
    span: int
    blob: bytes


class Want(NamedTuple):
    """What is read next. `uid` is the partition's, as `resolve` told it: a topic that was made again under its name is
    another one, where an offset means nothing. 0: whatever has the name now."""

    topic: str
    partition: int
    offset: int
    uid: int = 0


class Resolved(NamedTuple):
    offset: int
    uid: int


class Membership(NamedTuple):
    group: str
    member: str
    generation: int


class Assignment(NamedTuple):
    """A member's share in a generation of its group. An empty `member` means: unknown here, join again."""

    member: str
    generation: int
    partitions: list[TopicPartition]


class Fetched(NamedTuple):
    """Batches that are there; wants whose offset is not on the log (`lost`, with the reason); the group's new state
    when it moved on (then nothing else is filled)."""

    batches: list[Stored]
    lost: list[tuple[TopicPartition, str]]
    moved: Assignment | None = None


class Transport(Protocol):
    def layout(self, topic: str) -> TopicLayout:
        """Errors: UnknownTopic."""
        ...

    def now_ms(self) -> int: ...

    def append(self, parts: Sequence[Part], producer: str, sequence: int) -> list[int]:
        """Stores the parts in one transaction and returns the first offset of each. The same producer and sequence
        again gets the former answer. Errors: Unavailable (safe to repeat), UnknownTopic, RecordTooLarge."""
        ...

    def init(self, transactional_id: str) -> int:
        """A new epoch that fences all lower ones."""
        ...

    def commit(
        self,
        transactional_id: str,
        epoch: int,
        sequence: int,
        parts: Sequence[Part],
        group: str | None,
        offsets: Mapping[TopicPartition, int],
    ) -> None:
        """Parts and offsets in one transaction; the same sequence again changes nothing.
        Errors: Fenced, RetriableLogError (the answer was lost: repeat), StorageFull, UnknownTopic."""
        ...

    def fetch(
        self, wants: Sequence[Want], wait_ms: int, records_max: int, bytes_max: int, membership: Membership | None
    ) -> Fetched:
        """At least one batch if there is one, waiting up to `wait_ms`; stops behind `records_max` or `bytes_max`.
        Errors: UnknownTopic."""
        ...

    def resolve(self, positions: Mapping[TopicPartition, int | Start]) -> dict[TopicPartition, Resolved]:
        """Start words as offsets, and whose offsets they are. Errors: UnknownTopic."""
        ...

    def join(self, group: str, topics: Sequence[str], member: str) -> Assignment:
        """Joins (empty `member`: a new one) and keeps the membership alive until `leave`. Errors: UnknownTopic."""
        ...

    def moved(self, membership: Membership) -> Assignment | None:
        """The member's new share if this side already knows that the group moved on. Never blocks for long."""
        ...

    def leave(self, group: str, member: str) -> None: ...

    def commit_offsets(self, group: str, membership: Membership | None, offsets: Mapping[TopicPartition, int]) -> None:
        """Errors: Fenced when the membership is over, or when a group with members is written from outside."""
        ...

    def committed(self, group: str) -> dict[TopicPartition, int]: ...
