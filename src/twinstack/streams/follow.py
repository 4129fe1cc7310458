"""The stage behind a repartition topic where PREV, DELTA or RATE are used: records in the order of their Datastream.

Each record meets the one before it, then WHERE, then it is forwarded as its bytes or becomes an Observation. Nothing
waits here: no watermark, no window.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from twinstack.log.seam import Batch, Headers, OutRecord, TopicPartition
from twinstack.query.streamsql import CheckedQuery, Column, Columns, compile_columns
from twinstack.query.streamsql.checked import ELAPSED_S, PREVIOUS
from twinstack.streams.derived import Targets, single_group
from twinstack.streams.emit import Origins, column_of, times_text, value_at
from twinstack.streams.headers import SOURCE_SUFFIX, TS_ID, TS_META, TS_SOURCE, app_header, source_prefix
from twinstack.streams.letters import DeadLetters
from twinstack.streams.making import MADE_BYTES_MAX, Items, ident_maker, observation
from twinstack.streams.onward import unpack
from twinstack.streams.operator import Output
from twinstack.streams.operators.previous import PreviousRecord
from twinstack.streams.operators.seam import BEGINNING_US, Rows
from twinstack.streams.rows import take
from twinstack.streams.spec import AppSpec
from twinstack.streams.split import AT, ID, KEY, META, RESULT, VALUE
from twinstack.streams.state import Meta, Saved, change_records, meta_record


@dataclass(frozen=True, slots=True)
class FollowPlan:
    in_topic: str
    state_topic: str
    fingerprint: str


class Maker(Protocol):
    """What becomes of the rows that pass."""

    def __call__(self, rows: Rows, columns: Columns, chosen: Sequence[int], output: Output) -> None: ...


@dataclass(slots=True)
class _Part:
    operator: PreviousRecord = field(default_factory=PreviousRecord)
    sequence: int = 0
    offsets: dict[str, int] = field(default_factory=dict)
    touched: bool = False


class Follower:
    """Operator of the second stage's task."""

    wants_silence = False
    state_bytes = 0

    def __init__(self, plan: FollowPlan, checked: CheckedQuery, make: Maker) -> None:
        self._plan = plan
        self._condition = compile_columns(checked) if checked.where is not None else None
        self._make = make
        self._parts: dict[int, _Part] = {}
        self._high_us = BEGINNING_US

    @property
    def topics(self) -> Sequence[str]:
        return (self._plan.in_topic,)

    @property
    def state_topic(self) -> str:
        return self._plan.state_topic

    @property
    def watermark_us(self) -> int | None:
        return self._high_us if self._high_us > BEGINNING_US else None

    @property
    def state_rows(self) -> int:
        return sum(part.operator.rows for part in self._parts.values())

    def restore(self, partition: int, saved: Saved) -> None:
        if saved.meta is None and not saved.records:
            return
        part = self._parts.setdefault(partition, _Part())
        part.operator.restore(saved.records)
        if saved.meta is not None:
            part.sequence, part.offsets = saved.meta.sequence, dict(saved.meta.offsets)

    def process(self, batch: Batch) -> Output:
        part = self._parts.setdefault(batch.partition, _Part())
        output = Output()
        for value in batch.values:
            unpacked = unpack(value or b"")
            if isinstance(unpacked, Rows):
                output.taken += len(unpacked)
                self._follow(part, unpacked, output)
                part.touched = True
        return output

    def _follow(self, part: _Part, rows: Rows, output: Output) -> None:
        kept = Rows(rows.side, rows.keys, rows.times_us, rows.sources, rows.offsets, {RESULT: rows.values[RESULT]})
        before = part.operator.process(kept)
        self._high_us = max(self._high_us, int(rows.times_us.max()))
        results = before.values.get(RESULT)
        known = before.valid if results is not None else np.zeros(len(rows), np.bool_)
        columns = {name: column_of(name, values) for name, values in rows.values.items() if not name.startswith("#")}
        columns["time"] = Column(rows.times_us, None, "time")
        if results is not None:
            columns[PREVIOUS] = _where(column_of(PREVIOUS, results), known)
        columns[ELAPSED_S] = Column(before.elapsed_us / 1e6, known, "float")
        there = Columns(len(rows), columns)
        chosen = list(range(len(rows)))
        if self._condition is not None:
            passed, arithmetic = self._condition(there)
            output.arithmetic += arithmetic
            chosen = np.flatnonzero(passed).tolist()
        if chosen:
            self._make(rows, take(there, chosen), chosen, output)

    def proceed(self) -> Output:
        return Output()

    def quiet(self, tps: Collection[TopicPartition]) -> bool:
        return False

    def closing(self, offsets: Mapping[TopicPartition, int]) -> list[OutRecord]:
        for tp, offset in offsets.items():
            part = self._parts.setdefault(tp.partition, _Part())
            part.offsets[tp.topic], part.touched = offset, True
        records: list[OutRecord] = []
        for partition, part in sorted(self._parts.items()):
            if part.touched:
                part.touched = False
                part.sequence += 1
                records += change_records(self._plan.state_topic, partition, part.operator.changes())
                meta = Meta(self._plan.fingerprint, part.sequence, part.offsets, [])
                records.append(meta_record(self._plan.state_topic, partition, meta))
        return records


def _where(column: Column, known: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Column:
    valid = known if column.valid is None else known & column.valid
    return Column(column.values, valid, column.kind)


class _Facts:
    """Headers of what is made of rows."""

    def __init__(self, spec: AppSpec, origins: Origins) -> None:
        self._app = app_header(spec.uid, spec.revision)
        self._origins = origins
        self._prefixes: dict[bytes, bytes] = {}

    def __call__(self, rows: Rows, i: int, ident: bytes) -> Headers:
        key = rows.values[KEY][i]
        prefix = self._prefixes.get(key)
        if prefix is None:
            prefix = self._prefixes[key] = source_prefix(key.decode())
        source = prefix + rows.values[ID][i] + SOURCE_SUFFIX
        return [(TS_ID, ident), self._app, (TS_SOURCE, source), *self._origins.granted(int(rows.sources[i]))]


def forwarder(spec: AppSpec, origins: Origins) -> Maker:
    """The records as they came."""
    facts = _Facts(spec, origins)

    def make(rows: Rows, columns: Columns, chosen: Sequence[int], output: Output) -> None:
        values, keys, idents, metas = (rows.values[name] for name in (VALUE, KEY, ID, META))
        for i in chosen:
            output.values.append(values[i])
            output.keys.append(keys[i])
            meta = [(TS_META, metas[i])] if metas[i] is not None else []
            output.headers.append([*facts(rows, i, idents[i]), *meta])

    return make


def projector(spec: AppSpec, checked: CheckedQuery, targets: Targets, letters: DeadLetters, origins: Origins) -> Maker:
    """Observations of the app's own Datastream."""
    assert checked.output is not None
    facts, items, identify = _Facts(spec, origins), Items(checked.output), ident_maker(spec.uid)
    group = single_group(checked)
    text: Callable[[int], str | None] = times_text

    def make(rows: Rows, columns: Columns, chosen: Sequence[int], output: Output) -> None:
        results, parameters, arithmetic = items(columns)
        output.arithmetic += arithmetic
        key, datastream = targets.of(group)
        for place, i in enumerate(chosen):
            if results[place] is None:
                output.null_results += 1
                continue
            at = value_at(rows.values, AT, i)
            value = observation(
                text(int(rows.times_us[i])),
                text(int(at)) if at is not None else None,
                results[place],
                datastream,
                parameters[place],
            )
            ident = identify(rows.values[ID][i])
            if len(value) > MADE_BYTES_MAX:
                told: dict[str, object] = {"error": "size", "message": f"At most {MADE_BYTES_MAX} bytes fit."}
                output.letters.append(letters.letter(value, key, told, ident))
                continue
            output.values.append(value)
            output.keys.append(key)
            output.headers.append(facts(rows, i, ident))

    return make
