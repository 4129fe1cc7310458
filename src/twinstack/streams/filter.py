"""The operator of an app that forwards: decode, view, condition, the record's own bytes.

A whole batch is judged as columns. Of the records that do not pass nothing is touched but what the condition reads;
those that pass are forwarded as their bytes, under the log key of their Datastream, with headers that are facts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from twinstack.core import limits
from twinstack.log.seam import Batch, Headers
from twinstack.query.streamsql import CheckedQuery, Columns, compile_columns
from twinstack.streams.headers import SOURCE_SUFFIX, TS_ID, TS_META, TS_SOURCE, app_header
from twinstack.streams.letters import DeadLetters
from twinstack.streams.operator import Output, Stateless
from twinstack.streams.sources import Mask, Read, Reader
from twinstack.streams.spec import AppSpec

FORWARD_BYTES_MAX = limits.DERIVED_RECORD_BYTES_MAX - 64 * limits.KIB
"""Key, headers and the batch around a value must fit into the target's topic too."""


class Filter(Stateless):
    """Operator of one task."""

    def __init__(self, spec: AppSpec, checked: CheckedQuery, reader: Reader) -> None:
        self._condition = None if checked.constant else compile_columns(checked)
        self._letters = DeadLetters(spec.dead_topic, spec.revision)
        self._app = app_header(spec.uid, spec.revision)
        self._reader = reader

    @property
    def topics(self) -> Sequence[str]:
        return self._reader.topics

    def process(self, batch: Batch) -> Output:
        read = self._reader.read(batch)
        output = Output(taken=read.taken)
        passed = self._judge(read.columns, read.rows, output)
        chosen = np.flatnonzero(passed).tolist()
        if chosen:
            self._forward(read, chosen, output)
        output.letters = self._letters.of(read)
        return output

    def _judge(self, columns: Columns, rows: Mask | None, output: Output) -> Mask:
        if self._condition is None:
            return np.ones(columns.n, np.bool_) if rows is None else rows
        passed, output.arithmetic = self._condition(columns)
        return passed if rows is None else passed & rows

    def _forward(self, read: Read, chosen: list[int], output: Output) -> None:
        values = read.batch.values
        forwarded = [values[i] for i in chosen]
        if max(map(len, forwarded)) > FORWARD_BYTES_MAX:  # type: ignore[arg-type]  # poison never passes
            large = [i for i in chosen if len(values[i] or b"") > FORWARD_BYTES_MAX]
            message = f"The record is too large for the target's topic: at most {FORWARD_BYTES_MAX} bytes fit."
            read.blame(large, "size", message)
            chosen = sorted(set(chosen).difference(large))
            forwarded = [values[i] for i in chosen]
        context = read.source.context
        streams = read.codes[chosen].tolist()
        output.values = forwarded  # type: ignore[assignment]
        output.keys = [context.keys[c] for c in streams]
        output.headers = self._facts(read, chosen, [context.source_prefixes[c] for c in streams])

    def _facts(self, read: Read, chosen: list[int], prefixes: list[bytes]) -> list[Headers]:
        app, granted = self._app, read.source.view.headers
        idents, metas = read.facts(chosen)
        facts: list[Headers] = [
            [(TS_ID, ident), app, (TS_SOURCE, prefix + ident + SOURCE_SUFFIX), *granted]
            for ident, prefix in zip(idents, prefixes, strict=True)
        ]
        for i, meta in enumerate(metas):
            if meta is not None:
                facts[i] = [*facts[i], (TS_META, meta)]
        return facts
