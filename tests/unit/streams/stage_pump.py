"""The stages of an app on logs in memory: any order of reading, any size of batches, transactions, restarts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from stream_fakes import SOURCE, MemoryBatch, MemoryCatalogue, entity, spec, system_catalogue

from twinstack.core.timestamps import format_us
from twinstack.log.partitioner import partition_for
from twinstack.log.seam import Headers, OutRecord, TopicPartition
from twinstack.streams.operator import Operator, Output
from twinstack.streams.plan import make_plan
from twinstack.streams.stages import Stages
from twinstack.streams.state import META_KEY, Meta, Saved
from twinstack.streams.states import Counters
from twinstack.streams.view import EVERYTHING, View

BEGIN_US = 1_600_000_000_000_000
S = 1_000_000
NAMES = [f"{SOURCE}.Station_{n % 2}.Quantity_{n}" for n in range(4)]
ENTITIES = [
    entity(name, n, unitOfMeasurement={"symbol": "degC"}, observationType="OM_Measurement")
    for n, name in enumerate(NAMES)
]


@dataclass
class Record:
    value: bytes | None
    key: bytes | None
    headers: Headers
    timestamp_ms: int


def record(number: int, time_us: int, result: Any, ident: int, *, logged_ms: int | None = None, **more: Any) -> Record:
    body = {
        "phenomenonTime": format_us(time_us),
        "resultTime": format_us(time_us + ident % 3),
        "result": result,
        "Datastream": {"@iot.id": number, "name": NAMES[number]},
        **more,
    }
    header = ("ts-id", f"00000000-0000-4000-8000-{ident:012d}".encode())
    stamp = logged_ms if logged_ms is not None else time_us // 1000
    return Record(json.dumps(body).encode(), NAMES[number].encode(), [header], stamp)


@dataclass
class _Run:
    """One stage since its last commit."""

    operator: Operator
    next: dict[TopicPartition, int] = field(default_factory=dict)
    records: list[OutRecord] = field(default_factory=list)
    sum: Counters = field(default_factory=Counters)


class Pump:
    """`log`: what stands on each partition. Outputs, letters, state: committed only."""

    def __init__(
        self,
        text: str,
        partitions: int = 2,
        *,
        views: Callable[[str], View] = lambda topic: EVERYTHING,
        **changes: Any,
    ) -> None:
        self.topic = f"{SOURCE}.int"
        plan = make_plan(spec(text, **changes), MemoryCatalogue(system_catalogue(*ENTITIES)), views=views)
        self.stages = Stages(plan, {self.topic: partitions})
        self.specs = {each.name: each for each in self.stages.topics}
        self.target = plan.spec.target_topic
        self.dead = plan.spec.dead_topic
        self.log: dict[TopicPartition, list[Record]] = {
            TopicPartition(self.topic, p): [] for p in range(partitions)
        } | {
            TopicPartition(name, p): []
            for name, each in self.specs.items()
            if each.cleanup == "delete"
            for p in range(each.partitions)
        }
        self.state: dict[TopicPartition, dict[bytes, bytes]] = {}
        self.committed: dict[TopicPartition, int] = {}
        self.outputs: list[Record] = []
        self.letters: list[Record] = []
        self.counters = [Counters() for _ in self.stages.stages]
        self.runs = [_Run(stage.make()) for stage in self.stages.stages]

    def put(self, partition: int, *records: Record) -> None:
        self.log[TopicPartition(self.topic, partition)].extend(records)

    # Turns

    def inputs(self, stage: int) -> list[TopicPartition]:
        return [tp for tp in self.log if tp.topic in self.runs[stage].operator.topics]

    def read(self, stage: int, tp: TopicPartition, n: int) -> int:
        """Up to `n` records of a partition; how many there were."""
        run = self.runs[stage]
        at = run.next.get(tp, self.committed.get(tp, 0))
        some = self.log[tp][at : at + n]
        if some:
            batch = MemoryBatch([r.value for r in some], [r.key for r in some], [r.headers for r in some], tp.topic)
            batch.partition, batch.timestamps_ms = tp.partition, [r.timestamp_ms for r in some]
            batch.offsets, batch.next_offset = list(range(at, at + len(some))), at + len(some)
            self._take(run, run.operator.process(batch))
            run.next[tp] = batch.next_offset
        return len(some)

    def _take(self, run: _Run, output: Output) -> None:
        while True:
            run.sum.add(output)
            for value, key, headers in zip(output.values, output.keys, output.headers, strict=True):
                run.records.append(OutRecord(self.target, value, key, headers))
            run.records += [*output.onward, *output.letters]
            if not output.more:
                return
            output = run.operator.proceed()

    def quiet(self, partitions: Sequence[int]) -> None:
        self.runs[0].operator.quiet([TopicPartition(self.topic, p) for p in partitions])

    def commit(self, stage: int) -> None:
        run = self.runs[stage]
        run.records += run.operator.closing(dict(run.next))
        for each in run.records:
            self._store(each)
        self.committed |= run.next
        self.counters[stage].take(run.sum)
        self.runs[stage] = _Run(run.operator)

    def _store(self, each: OutRecord) -> None:
        if each.topic in (self.target, self.dead):
            found = Record(each.value, each.key, each.headers, 0)
            (self.outputs if each.topic == self.target else self.letters).append(found)
        elif self.specs[each.topic].cleanup == "compact":
            assert each.partition is not None
            kept = self.state.setdefault(TopicPartition(each.topic, each.partition), {})
            if each.value is None:
                kept.pop(each.key or b"", None)
            else:
                kept[each.key or b""] = each.value
        else:
            assert each.partition is not None
            self.log[TopicPartition(each.topic, each.partition)].append(Record(each.value, each.key, each.headers, 0))

    def restart(self, stage: int) -> None:
        """Everything since the last commit is lost."""
        operator = self.stages.stages[stage].make()
        assert operator.state_topic is not None
        for partition in range(self.specs[operator.state_topic].partitions):
            records = dict(self.state.get(TopicPartition(operator.state_topic, partition), {}))
            packed = records.pop(META_KEY, None)
            meta = msgspec.msgpack.decode(packed, type=Meta) if packed else None
            for topic, offset in meta.offsets.items() if meta else ():
                assert self.committed[TopicPartition(topic, partition)] == offset, "state and position agree"
            operator.restore(partition, Saved(meta, records))
        self.runs[stage] = run = _Run(operator)
        self._take(run, operator.proceed())

    def finish(self) -> None:
        """Reads everything to its end and commits."""
        for stage in range(len(self.runs)):
            for tp in self.inputs(stage):
                while self.read(stage, tp, 1_000):
                    pass
            self.commit(stage)

    # What came out

    def observations(self) -> list[dict[str, Any]]:
        return [{**json.loads(r.value or b""), "id": dict(r.headers)["ts-id"].decode()} for r in self.outputs]

    def told(self) -> list[Mapping[str, Any]]:
        return [json.loads(dict(r.headers)["ts-dead"]) for r in self.letters]


def partition_of(number: int, partitions: int) -> int:
    return partition_for(NAMES[number].encode(), partitions)
