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
from twinstack.streams.sources import Mask, Read, Reader
from twinstack.streams.state import Meta, Saved, meta_record

TIME, RESULT_TIME, RESULT = "time", "result_time", "result"
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


@dataclass(slots=True)
class _Timed:
    """`good`: the records that take part; `faults`: word, message and which, of the others."""

    times: Integers
    highs: Integers
    good: Mask
    faults: list[tuple[str, str, Mask]]


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
        there = np.arange(len(batch)) if read.rows is None else np.flatnonzero(read.rows)
        if len(there):
            self._split(read, TopicPartition(batch.topic, batch.partition), there, output)
        output.letters = self._letters.of(read)
        return output

    def _split(self, read: Read, tp: TopicPartition, there: Integers, output: Output) -> None:
        columns = take(read.columns, there.tolist())
        timed = self._in_time(read, tp, columns, there)
        passed = [self._filter(side, tp, columns, output) for side in self._sides]
        # What no side wants moves the clock and is nobody's loss.
        wanted = np.logical_or.reduce(passed)
        for error, message, which in timed.faults:
            read.blame(there[which & wanted].tolist(), error, message)
        offsets = read.batch.offsets
        placed = np.array([offsets[i] for i in there.tolist()], np.int64)
        for side, passes in zip(self._sides, passed, strict=True):
            chosen = np.flatnonzero(passes & timed.good)
            if len(chosen):
                self._rows(read, tp, side, columns, there, timed, placed, chosen, output)

    def _filter(self, side: _Side, tp: TopicPartition, columns: Columns, output: Output) -> Mask:
        if tp.topic not in side.plan.topics:
            return np.zeros(columns.n, np.bool_)
        if side.condition is None:
            return np.ones(columns.n, np.bool_)
        passed, arithmetic = side.condition(columns)
        output.arithmetic += arithmetic
        return passed

    def _in_time(self, read: Read, tp: TopicPartition, columns: Columns, there: Integers) -> _Timed:
        """Event times, the greatest one up to and with each record, and which records take no part."""
        given = list(columns.columns[TIME].values)
        known = np.array([time is not None for time in given], np.bool_)
        times = np.array([0 if time is None else time for time in given], np.int64)
        stamps = read.batch.timestamps_ms
        logged = np.array([stamps[i] for i in there.tolist()], np.int64) * 1000
        future = known & (times > logged + self._plan.future_max_us)
        good = known & ~future
        highs = np.maximum.accumulate(np.concatenate(([self._highs[tp]], np.where(good, times, BEGINNING_US))))
        late = np.zeros(len(times), np.bool_)
        if good.any():
            self._advance(tp, int(highs[-1]))
            if self._plan.grace_us is not None:
                late = good & (times < highs[:-1] - self._plan.grace_us)
        ahead_s = self._plan.future_max_us // 1_000_000
        faults = [
            ("time", "The record has no phenomenonTime that can be read.", ~known),
            ("future", f"Its phenomenonTime is more than {ahead_s} s ahead of its arrival.", future),
            ("late", "It came after the watermark of its source had passed it.", late),
        ]
        return _Timed(times, highs[1:], good & ~late, [fault for fault in faults if fault[2].any()])

    def _advance(self, tp: TopicPartition, high_us: int) -> None:
        if high_us > self._highs[tp] or tp in self._idle:
            self._highs[tp] = max(high_us, self._highs[tp])
            self._idle.discard(tp)
            self._dirty.add(tp)

    def _rows(
        self,
        read: Read,
        tp: TopicPartition,
        side: _Side,
        columns: Columns,
        there: Integers,
        timed: _Timed,
        placed: Integers,
        chosen: Integers,
        output: Output,
    ) -> None:
        """The chosen records as rows of a side, on their way to the partitions of their keys."""
        keys = self._keys(read, side, take(columns, chosen.tolist()), there[chosen].tolist(), output)
        paired = [i for i, key in enumerate(keys) if key is not None]
        if len(paired) < len(keys):
            output.null_keys += len(keys) - len(paired)
            chosen, keys = chosen[paired], [keys[i] for i in paired]
        if not keys:
            return
        rows = Rows(
            side.plan.number,
            keys,
            timed.times[chosen],
            np.full(len(keys), self._plan.sources[tp], np.int64),
            placed[chosen],
            self._values(read, side, take(columns, chosen.tolist()), there[chosen].tolist(), output),
            timed.highs[chosen] if self._plan.grace_us is None else None,
        )
        self._send(rows, output)

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
