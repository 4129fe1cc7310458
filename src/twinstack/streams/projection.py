"""The operator of an app that makes one Observation of each record that passes (SELECT with items)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from twinstack.log.seam import Batch
from twinstack.query.streamsql import CheckedQuery, compile_columns
from twinstack.streams.derived import Targets, single_group
from twinstack.streams.headers import SOURCE_SUFFIX, TS_ID, TS_SOURCE, app_header
from twinstack.streams.letters import DeadLetters
from twinstack.streams.making import MADE_BYTES_MAX, Items, ident_maker, observation
from twinstack.streams.operator import Output, Stateless
from twinstack.streams.rows import take
from twinstack.streams.sources import Read, Reader
from twinstack.streams.spec import AppSpec


class Projection(Stateless):
    """Operator of one task. phenomenonTime and resultTime are the source's; a NULL result makes no Observation."""

    def __init__(self, spec: AppSpec, checked: CheckedQuery, reader: Reader, targets: Targets) -> None:
        assert checked.output is not None
        self._condition = None if checked.constant else compile_columns(checked)
        self._items = Items(checked.output)
        self._letters = DeadLetters(spec.dead_topic, spec.revision)
        self._app = app_header(spec.uid, spec.revision)
        self._ident = ident_maker(spec.uid)
        self._reader = reader
        self._targets = targets
        self._group = single_group(checked)

    @property
    def topics(self) -> Sequence[str]:
        return self._reader.topics

    def process(self, batch: Batch) -> Output:
        read = self._reader.read(batch)
        output = Output(taken=read.taken)
        there = list(range(len(batch))) if read.rows is None else np.flatnonzero(read.rows).tolist()
        columns = take(read.columns, there)
        if self._condition is not None and there:
            passed, output.arithmetic = self._condition(columns)
            places = np.flatnonzero(passed).tolist()
            columns, there = take(columns, places), [there[i] for i in places]
        if there:
            results, parameters, arithmetic = self._items(columns)
            output.arithmetic += arithmetic
            self._make(read, there, results, parameters, output)
        output.letters = self._letters.of(read)
        return output

    def _make(
        self,
        read: Read,
        chosen: list[int],
        results: Sequence[object],
        parameters: Sequence[dict[str, object] | None],
        output: Output,
    ) -> None:
        key, datastream = self._targets.of(self._group)
        times, result_times = (read.texts(field, chosen) for field in ("phenomenonTime", "resultTime"))
        idents, _ = read.facts(chosen)
        prefixes, granted = read.source.context.source_prefixes, read.source.view.headers
        for i, place in enumerate(chosen):
            if results[i] is None:
                output.null_results += 1
                continue
            value = observation(times[i], result_times[i], results[i], datastream, parameters[i])
            if len(value) > MADE_BYTES_MAX:
                message = f"What was made of the record is too large: at most {MADE_BYTES_MAX} bytes fit."
                read.blame([place], "size", message)
                continue
            source = prefixes[read.codes[place]] + idents[i] + SOURCE_SUFFIX
            output.values.append(value)
            output.keys.append(key)
            output.headers.append([(TS_ID, self._ident(idents[i])), self._app, (TS_SOURCE, source), *granted])
