"""The stage behind a repartition topic: a join or a window operator for each partition, and the Observations it makes.

A partition's operator takes rows and marks in the order in which they stand there; what is settled goes to the target.
A transaction may end between any two parts of an output: rows that were taken are in the state from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from twinstack.log.seam import Batch, OutRecord, TopicPartition
from twinstack.streams.onward import unpack
from twinstack.streams.operator import Output
from twinstack.streams.operators.seam import Letters, Rows, Stateful
from twinstack.streams.state import Meta, Saved, change_records, meta_record
from twinstack.streams.watermarks import SourceClocks


class Maker(Protocol):
    """What becomes of settled rows and of rows that leave the state."""

    def make(self, settled: Any, output: Output) -> None: ...
    def bury(self, letters: Sequence[Letters], output: Output) -> None: ...


@dataclass(frozen=True, slots=True)
class SettlePlan:
    """`operator`: makes a fresh one. `clocks`: likewise the watermarks of a partition."""

    in_topic: str
    state_topic: str
    fingerprint: str
    operator: Callable[[], Stateful[Any]]
    clocks: Callable[[], SourceClocks]


@dataclass(slots=True)
class _Part:
    operator: Stateful[Any]
    clocks: SourceClocks
    sequence: int = 0
    offsets: dict[str, int] = field(default_factory=dict)
    more: bool = False
    touched: bool = False


class Settler:
    """Operator of the second stage's task."""

    wants_silence = False

    def __init__(self, plan: SettlePlan, maker: Maker) -> None:
        self._plan = plan
        self._maker = maker
        self._parts: dict[int, _Part] = {}

    @property
    def topics(self) -> Sequence[str]:
        return (self._plan.in_topic,)

    @property
    def state_topic(self) -> str:
        return self._plan.state_topic

    @property
    def watermark_us(self) -> int | None:
        return min((part.operator.settled_us for part in self._parts.values()), default=None)

    @property
    def state_rows(self) -> int:
        return sum(part.operator.rows for part in self._parts.values())

    @property
    def state_bytes(self) -> int:
        return sum(part.operator.nbytes for part in self._parts.values())

    def restore(self, partition: int, saved: Saved) -> None:
        if saved.meta is None and not saved.records:
            return
        part = self._part(partition)
        part.operator.restore(saved.records)
        if saved.meta is not None:
            part.sequence, part.offsets = saved.meta.sequence, dict(saved.meta.offsets)
            part.clocks.hear(saved.meta.marks)
        part.more = True  # what the last transaction's limit cut short

    def _part(self, partition: int) -> _Part:
        part = self._parts.get(partition)
        if part is None:
            part = self._parts[partition] = _Part(self._plan.operator(), self._plan.clocks())
        return part

    def process(self, batch: Batch) -> Output:
        part = self._part(batch.partition)
        rows: list[Rows] = []
        for value in batch.values:
            unpacked = unpack(value or b"")
            if isinstance(unpacked, Rows):
                rows.append(unpacked)
            else:
                part.clocks.hear(unpacked)
        output = Output(taken=sum(map(len, rows)))
        self._step(part, rows, output)
        return output

    def proceed(self) -> Output:
        output = Output()
        part = next((part for part in self._parts.values() if part.more), None)
        if part is not None:
            self._step(part, (), output)
        return output

    def _step(self, part: _Part, rows: Sequence[Rows], output: Output) -> None:
        step = part.operator.process(rows, part.clocks.watermarks())
        part.touched = True
        part.more = step.more
        output.more = any(other.more for other in self._parts.values())
        output.null_keys += step.null_keys
        output.arithmetic += step.arithmetic
        if len(step.settled):
            self._maker.make(step.settled, output)
        self._maker.bury(step.letters, output)

    def quiet(self, tps: Collection[TopicPartition]) -> bool:
        return False

    def closing(self, offsets: Mapping[TopicPartition, int]) -> list[OutRecord]:
        for tp, offset in offsets.items():
            part = self._part(tp.partition)
            part.offsets[tp.topic], part.touched = offset, True
        records: list[OutRecord] = []
        for partition, part in sorted(self._parts.items()):
            if not part.touched:
                continue
            part.touched = False
            part.sequence += 1
            records += change_records(self._plan.state_topic, partition, part.operator.changes())
            meta = Meta(self._plan.fingerprint, part.sequence, part.offsets, part.clocks.marks)
            records.append(meta_record(self._plan.state_topic, partition, meta))
        return records
