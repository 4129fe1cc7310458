"""What a task runs: batches in, records and dead letters out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from twinstack.log.seam import Batch, Headers, OutRecord, TopicPartition
from twinstack.streams.state import Saved


@dataclass(slots=True)
class Output:
    """Of one call: records for the target as columns of one length, records for the next stage, whole dead letters.

    `taken`: inputs that count (hidden records do not). `more`: the output was cut, `proceed` gives the next part.
    """

    values: list[bytes] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    onward: list[OutRecord] = field(default_factory=list)
    letters: list[OutRecord] = field(default_factory=list)
    taken: int = 0
    arithmetic: int = 0
    """Conditions and items that were NULL because of an overflow or a division by zero."""
    null_keys: int = 0
    """Records whose key is NULL: they pair with nothing."""
    null_results: int = 0
    """Results that were NULL: no Observation."""
    more: bool = False


class Operator(Protocol):
    """One thread per object. A task that starts over makes a new one."""

    @property
    def topics(self) -> Sequence[str]:
        """The topics that the task reads."""
        ...

    @property
    def state_topic(self) -> str | None:
        """The compacted topic of its state, None for an operator without one."""
        ...

    @property
    def wants_silence(self) -> bool:
        """Whether `quiet` is of use."""
        ...

    def restore(self, partition: int, saved: Saved) -> None:
        """Takes the state of a partition, before anything else. Errors: CorruptState."""
        ...

    def process(self, batch: Batch) -> Output:
        """Never raises for what stands in a record."""
        ...

    def proceed(self) -> Output:
        """The next part of an output that was cut, also by a restart; empty when there is none."""
        ...

    def quiet(self, tps: Collection[TopicPartition]) -> bool:
        """These partitions are read to their end and were silent for `idle_after`; True if that changes anything, which
        then must be committed."""
        ...

    def closing(self, offsets: Mapping[TopicPartition, int]) -> list[OutRecord]:
        """What the open transaction has to carry besides, whose next offsets these are; the last call before commit."""
        ...

    @property
    def watermark_us(self) -> int | None:
        """How far event time has come, None before anything is known of it."""
        ...

    @property
    def state_rows(self) -> int: ...
    @property
    def state_bytes(self) -> int: ...


class Stateless:
    """The part of an operator that one without state has."""

    state_topic: str | None = None
    wants_silence = False
    watermark_us: int | None = None
    state_rows = 0
    state_bytes = 0

    def restore(self, partition: int, saved: Saved) -> None:
        """There is nothing to restore."""

    def proceed(self) -> Output:
        return Output()

    def quiet(self, tps: Collection[TopicPartition]) -> bool:
        return False

    def closing(self, offsets: Mapping[TopicPartition, int]) -> list[OutRecord]:
        return []
