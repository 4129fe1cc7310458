"""The one operator of a stateless app: decode, view, condition, forward.

A whole batch is judged as columns. Of the records that do not pass nothing is touched but what the condition reads;
those that pass are forwarded as their bytes, under the log key of their Datastream, with headers that are facts.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from twinstack.core import limits
from twinstack.core.errors import RetriableLogError, Unavailable
from twinstack.log.seam import Batch, Headers
from twinstack.query.streamsql import CheckedQuery, Columns, compile_columns
from twinstack.streams.catalogue import Catalogue, SystemCatalogue
from twinstack.streams.columns import columns_of
from twinstack.streams.context import FOREIGN, Codes, SourceContext
from twinstack.streams.decode import Decoded, Decoder
from twinstack.streams.headers import SOURCE_SUFFIX, TS_ID, TS_META, TS_SOURCE, app_header, passed_on, placed_id
from twinstack.streams.letters import DeadLetters, Fault
from twinstack.streams.operator import Output
from twinstack.streams.spec import AppSpec
from twinstack.streams.view import View

Mask = npt.NDArray[np.bool_]

FORWARD_BYTES_MAX = limits.DERIVED_RECORD_BYTES_MAX - 64 * limits.KIB
"""Key, headers and the batch around a value must fit into the target's topic too."""
REFRESH_EVERY_S = 10.0
REFRESH_UNKNOWN_EVERY_S = 1.0
WAIT_STEP_S = 0.1


class Filter:
    """Operator of one task. `sources`: topic, system, view of each."""

    def __init__(
        self,
        spec: AppSpec,
        checked: CheckedQuery,
        sources: Sequence[tuple[str, str, View]],
        catalogue: Catalogue,
        *,
        reads_metadata: bool,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._condition = None if checked.constant else compile_columns(checked)
        self._columns = checked.columns
        self._letters = DeadLetters(spec.dead_topic, spec.revision)
        self._app = app_header(spec.uid, spec.revision)
        self._registry = _Registry(catalogue, clock, sleep)
        known = catalogue.snapshot([system for _, system, _ in sources])
        self._sources = {
            topic: _Source(view, self._registry.context(topic, known[system], needed=reads_metadata))
            for topic, system, view in sources
        }

    @property
    def topics(self) -> Sequence[str]:
        return tuple(self._sources)

    def process(self, batch: Batch) -> Output:
        source = self._sources[batch.topic]
        view = source.view
        values = batch.values
        decoded = source.decoder.decode(values)
        codes = self._registry.resolve(source.context, decoded, batch)
        faults = [Fault(p.place, p.error.reason, p.error.message) for p in decoded.poison]
        good = _good(decoded, codes, faults)
        columns = columns_of(self._columns | view.columns, decoded, source.context, codes)
        visible = view.visible(columns)
        output = Output()
        passed = self._judge(columns, _both(good, visible), output)
        chosen = np.flatnonzero(passed).tolist()
        if chosen:
            self._forward(batch, source, codes, chosen, output, faults)
        if faults and view.own:
            output.letters = self._letters.letters(batch, sorted(faults))
        return output

    def _judge(self, columns: Columns, rows: Mask | None, output: Output) -> Mask:
        if self._condition is None:
            return np.ones(columns.n, np.bool_) if rows is None else rows
        passed, output.arithmetic = self._condition(columns)
        return passed if rows is None else passed & rows

    def _forward(
        self, batch: Batch, source: _Source, codes: Codes, chosen: list[int], output: Output, faults: list[Fault]
    ) -> None:
        values = batch.values
        forwarded = [values[i] for i in chosen]
        if max(map(len, forwarded)) > FORWARD_BYTES_MAX:  # type: ignore[arg-type]  # poison never passes
            large = [i for i in chosen if len(values[i] or b"") > FORWARD_BYTES_MAX]
            message = f"The record is too large for the target's topic: at most {FORWARD_BYTES_MAX} bytes fit."
            faults.extend(Fault(i, "size", message) for i in large)
            chosen = sorted(set(chosen).difference(large))
            forwarded = [values[i] for i in chosen]
        log_keys, prefixes = source.context.keys, source.context.source_prefixes
        streams = codes[chosen].tolist()
        output.values = forwarded  # type: ignore[assignment]
        output.keys = [log_keys[c] for c in streams]
        output.headers = self._facts(batch, source.view, chosen, [prefixes[c] for c in streams])

    def _facts(self, batch: Batch, view: View, chosen: list[int], prefixes: list[bytes]) -> list[Headers]:
        app, granted = self._app, view.headers
        claimed, metas = passed_on(batch.headers_at(chosen))
        idents = _complete(claimed, batch, chosen)
        facts: list[Headers] = [
            [(TS_ID, ident), app, (TS_SOURCE, prefix + ident + SOURCE_SUFFIX), *granted]
            for ident, prefix in zip(idents, prefixes, strict=True)
        ]
        for i, meta in enumerate(metas):
            if meta is not None:
                facts[i] = [*facts[i], (TS_META, meta)]
        return facts


def _complete(claimed: list[bytes | None], batch: Batch, chosen: list[int]) -> list[bytes]:
    """The ids, derived from the record's place where it has none."""
    if None not in claimed:
        return claimed  # type: ignore[return-value]
    topic, partition, offsets = batch.topic, batch.partition, batch.offsets
    return [
        placed_id(topic, partition, offsets[place]) if ident is None else ident
        for ident, place in zip(claimed, chosen, strict=True)
    ]


class _Source:
    def __init__(self, view: View, context: SourceContext) -> None:
        self.view = view
        self.context = context
        self.decoder = Decoder()


class _Registry:
    """The contexts of all sources over one catalogue, refreshed now and then, and when an unknown Datastream appears.

    Registration may race with the first record: before a record is judged foreign the task waits for the catalogue up
    to 2 s; after a wait in vain not again for 10 s, so that wrong records cannot stall an app.
    """

    def __init__(self, catalogue: Catalogue, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._sleep = sleep
        self._contexts: list[SourceContext] = []
        self._refreshed_s = clock()
        self._wait_from_s = 0.0

    def context(self, topic: str, catalogue: SystemCatalogue, *, needed: bool) -> SourceContext:
        context = SourceContext(topic, catalogue, needed=needed)
        self._contexts.append(context)
        return context

    def resolve(self, context: SourceContext, decoded: Decoded, batch: Batch) -> Codes:
        if self._clock() - self._refreshed_s >= REFRESH_EVERY_S:
            self._refresh()
        codes = context.resolve(decoded, lambda: batch.keys)
        if not context.can_grow or _foreign(decoded, codes) == 0:
            return codes
        if self._clock() < self._wait_from_s:
            if self._clock() - self._refreshed_s >= REFRESH_UNKNOWN_EVERY_S and self._refresh():
                codes = context.resolve(decoded, lambda: batch.keys)
            return codes
        return self._wait(context, decoded, batch, codes)

    def _wait(self, context: SourceContext, decoded: Decoded, batch: Batch, codes: Codes) -> Codes:
        deadline_s = self._clock() + limits.CATALOGUE_WAIT_MS / 1000
        while True:
            if self._refresh():
                codes = context.resolve(decoded, lambda: batch.keys)
                if _foreign(decoded, codes) == 0:
                    return codes
            if self._clock() >= deadline_s:
                self._wait_from_s = self._clock() + limits.CATALOGUE_WAIT_PAUSE_MS / 1000
                return codes
            self._sleep(WAIT_STEP_S)

    def _refresh(self) -> bool:
        """A log that does not answer now leaves what is known."""
        self._refreshed_s = self._clock()
        changed = False
        with contextlib.suppress(Unavailable, RetriableLogError):
            changed = self._catalogue.refresh()
        if changed:
            for context in self._contexts:
                context.rebuild()
        return changed


def _foreign(decoded: Decoded, codes: Codes) -> int:
    """Records without a Datastream; poison has none either and is told by its own reason."""
    return int(np.count_nonzero(codes == FOREIGN)) - len(decoded.poison)


def _good(decoded: Decoded, codes: Codes, faults: list[Fault]) -> Mask | None:
    """The records that are neither poison nor foreign, None for all; foreign ones join the faults."""
    if codes.min(initial=0) != FOREIGN:
        return None
    good: Mask = codes != FOREIGN
    poison = {p.place for p in decoded.poison}
    faults.extend(
        Fault(i, "foreign_datastream", "The record belongs to no Datastream of the topic's system.")
        for i in np.flatnonzero(~good).tolist()
        if i not in poison
    )
    return good


def _both(a: Mask | None, b: Mask | None) -> Mask | None:
    if a is None or b is None:
        return b if a is None else a
    both: Mask = a & b
    return both
