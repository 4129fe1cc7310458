"""The first stage of a stateful app: read, view, FILTER, event time, key; rows go to the partition of their key.

Lateness is judged here, against the record's own source partition, where the order is that of the log: so it depends on
nothing but that partition's records. (Where each key has a clock of its own, the window judges it.) What the view hides
moves no clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from twinstack.core.errors import CorruptState
from twinstack.log.partitioner import partition_for
from twinstack.log.seam import Batch, OutRecord, TopicPartition
from twinstack.query.streamsql import Columns, compile_condition, compile_values
from twinstack.query.streamsql.checked import Term
from twinstack.query.streamsql.kinds import TIMES
from twinstack.streams.letters import DeadLetters
from twinstack.streams.onward import Mark, pack_marks, pack_rows, select
from twinstack.streams.operator import Output
from twinstack.streams.operators.keys import encode_group, encode_key
from twinstack.streams.operators.seam import BEGINNING_US, Integers, Rows, as_values, objects
from twinstack.streams.rows import take
from twinstack.streams.sources import Read, Reader
from twinstack.streams.state import Meta, Saved, meta_record

TIME, RESULT_TIME = "time", "result_time"
ID, KEY, AT = "#id", "#key", "#result_time"
"""Columns of every row: its ts-id, its Datastream's log key, and its resultTime in microseconds."""
VALUE, META = "#value", "#meta"
"""Where records are forwarded: the record's bytes and its ts-meta."""


@dataclass(frozen=True, slots=True)
class SidePlan:
    """What one side takes of a topic's records. `keys` None: the Datastream's log key. `nulls`: NULL is a key too.
    `values`: what the next stage needs of each row, by name. `forwards`: also the record's bytes."""

    number: int
    topics: frozenset[str]
    filter: Term | None
    keys: tuple[Term, ...] | None
    values: Mapping[str, Term]
    nulls: bool = False
    forwards: bool = False


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """`sources`: the source code of each partition. `grace_us` None: lateness is judged later, by key."""

    sides: tuple[SidePlan, ...]
    sources: Mapping[TopicPartition, int]
    in_topic: str
    in_partitions: int
    state_topic: str
    fingerprint: str
    grace_us: int | None
    future_max_us: int


class _Side:
    def __init__(self, plan: SidePlan) -> None:
        self.plan = plan
        self.condition = compile_condition(plan.filter) if plan.filter is not None else None
        self.keys = compile_values(plan.keys) if plan.keys is not None else None
        self.values = compile_values(list(plan.values.values()))
        self.encode = encode_group if plan.nulls else encode_key


class Splitter:
    """Operator of the first stage's task."""

    wants_silence = True
    state_rows = state_bytes = 0

    def __init__(self, plan: SplitPlan, reader: Reader, letters: DeadLetters) -> None:
        self._plan = plan
        self._reader = reader
        self._letters = letters
        self._sides = [_Side(side) for side in plan.sides]
        self._highs = dict.fromkeys(plan.sources, BEGINNING_US)
        self._idle: set[TopicPartition] = set()
        self._dirty: set[TopicPartition] = set()
        self._sequences: dict[int, int] = {}
        self._offsets: dict[TopicPartition, int] = {}
        self._partitions: dict[bytes, int] = {}

    @property
    def topics(self) -> Sequence[str]:
        return self._reader.topics

    @property
    def state_topic(self) -> str:
        return self._plan.state_topic

    @property
    def watermark_us(self) -> int | None:
        known = [high for tp, high in self._highs.items() if high > BEGINNING_US and tp not in self._idle]
        return min(known) - (self._plan.grace_us or 0) if known else None

    def restore(self, partition: int, saved: Saved) -> None:
        if saved.meta is None:
            return
        by_code = {code: tp for tp, code in self._plan.sources.items()}
        self._sequences[partition] = saved.meta.sequence
        for topic, offset in saved.meta.offsets.items():
            self._offsets[TopicPartition(topic, partition)] = offset
        for mark in saved.meta.marks:
            tp = by_code.get(mark.source)
            if tp is None:
                raise CorruptState("The state knows a source that the plan does not.", fix="Deploy the app again.")
            self._highs[tp] = mark.high_us
            if mark.idle:
                self._idle.add(tp)

    # Records

    def process(self, batch: Batch) -> Output:
        read = self._reader.read(batch)
        output = Output(taken=read.taken)
        tp = TopicPartition(batch.topic, batch.partition)
        there = np.arange(len(batch)) if read.rows is None else np.flatnonzero(read.rows)
        if len(there):
            there, times, highs = self._in_time(read, tp, there)
            if len(there):
                self._split(read, tp, there, times, highs, output)
        output.letters = self._letters.of(read)
        return output

    def _in_time(self, read: Read, tp: TopicPartition, there: Integers) -> tuple[Integers, Integers, Integers]:
        """The records that take part, their event times, and the greatest event time up to and with each."""
        column = read.columns.columns[TIME]
        given = column.values
        known = [given[i] for i in there.tolist()]
        if None in known:
            missing = [i for i, time in zip(there.tolist(), known, strict=True) if time is None]
            read.blame(missing, "time", "The record has no phenomenonTime that can be read.")
            there = np.array([i for i, time in zip(there.tolist(), known, strict=True) if time is not None], np.intp)
            known = [time for time in known if time is not None]
        times = np.array(known, np.int64)
        stamps = read.batch.timestamps_ms
        logged = np.array([stamps[i] for i in there.tolist()], np.int64) * 1000
        future = times > logged + self._plan.future_max_us
        if future.any():
            read.blame(
                there[future].tolist(),
                "future",
                f"Its phenomenonTime is more than {self._plan.future_max_us // 1_000_000} s ahead of its arrival.",
            )
            there, times = there[~future], times[~future]
        if not len(there):
            return there, times, times
        highs = np.maximum.accumulate(np.concatenate(([self._highs[tp]], times)))
        self._advance(tp, int(highs[-1]))
        if self._plan.grace_us is not None:
            late = times < highs[:-1] - self._plan.grace_us
            if late.any():
                read.blame(there[late].tolist(), "late", "It came after the watermark of its source had passed it.")
                return there[~late], times[~late], highs[1:][~late]
        return there, times, highs[1:]

    def _advance(self, tp: TopicPartition, high_us: int) -> None:
        if high_us > self._highs[tp] or tp in self._idle:
            self._highs[tp] = max(high_us, self._highs[tp])
            self._idle.discard(tp)
            self._dirty.add(tp)

    def _split(
        self, read: Read, tp: TopicPartition, there: Integers, times: Integers, highs: Integers, output: Output
    ) -> None:
        columns = take(read.columns, there.tolist())
        offsets = read.batch.offsets
        placed = np.array([offsets[i] for i in there.tolist()], np.int64)
        for side in self._sides:
            if tp.topic not in side.plan.topics:
                continue
            chosen = np.arange(len(there))
            if side.condition is not None:
                passed, arithmetic = side.condition(columns)
                chosen = np.flatnonzero(passed)
                output.arithmetic += arithmetic
            if not len(chosen):
                continue
            places = there[chosen].tolist()
            keys = self._keys(read, side, take(columns, chosen.tolist()), places, output)
            paired = [i for i, key in enumerate(keys) if key is not None]
            if len(paired) < len(keys):
                output.null_keys += len(keys) - len(paired)
                chosen, keys = chosen[paired], [key for key in keys if key is not None]
                places = there[chosen].tolist()
            if not keys:
                continue
            self._send(
                Rows(
                    side.plan.number,
                    keys,
                    times[chosen],
                    np.full(len(keys), self._plan.sources[tp], np.int64),
                    placed[chosen],
                    self._values(read, side, take(columns, chosen.tolist()), places, output),
                    highs[chosen] if self._plan.grace_us is None else None,
                ),
                output,
            )

    def _keys(self, read: Read, side: _Side, columns: Columns, places: list[int], output: Output) -> list[bytes | None]:
        if side.keys is None:
            log_keys = read.source.context.keys
            return [log_keys[code] for code in read.codes[places].tolist()]
        values, arithmetic = side.keys(columns)
        output.arithmetic += arithmetic
        if not values:
            return [_ONLY] * len(places)
        encode, known = side.encode, dict[tuple[object, ...], bytes | None]()
        keys: list[bytes | None] = []
        for row in zip(*values, strict=True):
            # True equals 1 as a key of a dict, and is another value.
            entry = (*row, *map(type, row))
            if entry not in known:
                known[entry] = encode(row)
            keys.append(known[entry])
        return keys

    def _values(
        self, read: Read, side: _Side, columns: Columns, places: list[int], output: Output
    ) -> dict[str, np.ndarray[tuple[int], np.dtype[np.generic]]]:
        values, arithmetic = side.values(columns)
        output.arithmetic += arithmetic
        made = {name: as_values(items) for name, items in zip(side.plan.values, values, strict=True)}
        idents, metas = read.facts(places)
        log_keys = read.source.context.keys
        result_times = columns.columns[RESULT_TIME].values
        made[ID] = objects(idents)
        made[KEY] = objects([log_keys[code] for code in read.codes[places].tolist()])
        made[AT] = as_values(list(result_times))
        if side.plan.forwards:
            values_of = read.batch.values
            made[VALUE], made[META] = objects([values_of[i] for i in places]), objects(metas)
        return made

    def _send(self, rows: Rows, output: Output) -> None:
        for partition, part in self._by_partition(rows):
            for packed in pack_rows(part):
                output.onward.append(OutRecord(self._plan.in_topic, packed, partition=partition))

    def _by_partition(self, rows: Rows) -> list[tuple[int, Rows]]:
        if self._plan.in_partitions == 1:
            return [(0, rows)]
        known = self._partitions
        if len(known) > _KEYS_KNOWN_MAX:
            known.clear()
        destinations = np.empty(len(rows), np.int64)
        for i, key in enumerate(rows.keys):
            assert key is not None
            partition = known.get(key)
            if partition is None:
                partition = known[key] = partition_for(key, self._plan.in_partitions)
            destinations[i] = partition
        return [(p, select(rows, np.flatnonzero(destinations == p))) for p in np.unique(destinations).tolist()]

    # Transactions

    def proceed(self) -> Output:
        return Output()

    def quiet(self, tps: Collection[TopicPartition]) -> bool:
        fresh = {tp for tp in tps if tp in self._highs} - self._idle
        self._idle |= fresh
        self._dirty |= fresh
        return bool(fresh)

    def closing(self, offsets: Mapping[TopicPartition, int]) -> list[OutRecord]:
        """Marks to every partition of the next topic, and for each partition read what it depends on."""
        self._offsets.update(offsets)
        records: list[OutRecord] = []
        if self._dirty:
            packed = pack_marks([self._mark(tp) for tp in sorted(self._dirty)])
            records = [OutRecord(self._plan.in_topic, packed, partition=p) for p in range(self._plan.in_partitions)]
        for partition in sorted({tp.partition for tp in (*offsets, *self._dirty)}):
            records.append(self._meta(partition))
        self._dirty.clear()
        return records

    def _mark(self, tp: TopicPartition) -> Mark:
        return Mark(self._plan.sources[tp], self._highs[tp], tp in self._idle)

    def _meta(self, partition: int) -> OutRecord:
        sequence = self._sequences[partition] = self._sequences.get(partition, 0) + 1
        offsets = {tp.topic: offset for tp, offset in self._offsets.items() if tp.partition == partition}
        marks = [self._mark(tp) for tp in self._plan.sources if tp.partition == partition]
        meta = Meta(self._plan.fingerprint, sequence, offsets, marks)
        return meta_record(self._plan.state_topic, partition, meta)


_ONLY = b"\x90"
"""The key of a side without keys: an empty list."""
_KEYS_KNOWN_MAX = 100_000


def time_terms(values: Mapping[str, Term]) -> frozenset[str]:
    """Which of the columns hold times."""
    return frozenset(name for name, term in values.items() if term.kinds == TIMES)
