"""Reading a source: decode, the Datastreams behind the records, the view, and the columns that the plan reads.

What is wrong with a record of an own source is a fault; of a foreign source such a record is outside every view.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from twinstack.core import limits
from twinstack.core.errors import RetriableLogError, Unavailable
from twinstack.core.ids import derived_id
from twinstack.log.seam import Batch
from twinstack.query.streamsql import Columns
from twinstack.streams.catalogue import Catalogue, SystemCatalogue
from twinstack.streams.columns import columns_of
from twinstack.streams.context import FOREIGN, Codes, SourceContext
from twinstack.streams.decode import Decoded, Decoder
from twinstack.streams.headers import passed_on, placed_id
from twinstack.streams.letters import Fault
from twinstack.streams.view import View

Mask = npt.NDArray[np.bool_]

REFRESH_EVERY_S = 10.0
REFRESH_UNKNOWN_EVERY_S = 1.0
WAIT_STEP_S = 0.1


@dataclass(slots=True)
class Read:
    """One batch as the app sees it. `rows`: which of its records exist for the app, None for all; `faults` grows with
    what is found wrong later."""

    batch: Batch
    source: Source
    decoded: Decoded
    codes: Codes
    columns: Columns
    rows: Mask | None
    faults: list[Fault]

    @property
    def taken(self) -> int:
        """Records that count: of an own source all, of a foreign one those that its view shows."""
        if self.source.view.own or self.rows is None:
            return len(self.batch)
        return int(np.count_nonzero(self.rows))

    def facts(self, chosen: Sequence[int]) -> tuple[list[bytes], list[bytes | None]]:
        """ts-id and ts-meta of some of the records. An id that is missing is derived: of an own record from its place,
        of a foreign one, whose place would tell how much was withheld, from what it says."""
        claimed, metas = passed_on(self.batch.headers_at(chosen))
        if None not in claimed:
            return claimed, metas  # type: ignore[return-value]
        return [
            self._derived(place) if ident is None else ident for ident, place in zip(claimed, chosen, strict=True)
        ], metas

    def blame(self, places: Sequence[int], error: str, message: str) -> None:
        """These records fail: they passed the view, so also those of a foreign source are told."""
        self.faults.extend(Fault(place, error, message) for place in places)

    def _derived(self, place: int) -> bytes:
        batch = self.batch
        if self.source.view.own:
            return placed_id(batch.topic, batch.partition, batch.offsets[place])
        digest = hashlib.sha256(batch.values[place] or b"").hexdigest()
        return derived_id(batch.topic, digest).encode()

    def texts(self, field: str, chosen: Sequence[int]) -> list[Any]:
        """A top-level field of some of the records as it stands there, None for what is no text."""
        column = self.decoded.column((field,))
        return [item if isinstance(item := column[i], str) else None for i in chosen]


class Source:
    """One topic of the plan with its view; its Datastreams may grow."""

    def __init__(self, topic: str, view: View, context: SourceContext) -> None:
        self.topic = topic
        self.view = view
        self.context = context
        self.decoder = Decoder()


class Reader:
    """The sources of a task. `sources`: topic, system, view of each; `columns`: what is read of each record."""

    def __init__(
        self,
        sources: Sequence[tuple[str, str, View]],
        catalogue: Catalogue,
        columns: frozenset[str],
        *,
        reads_metadata: bool,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._columns = columns
        self._registry = _Registry(catalogue, clock, sleep)
        known = catalogue.snapshot([system for _, system, _ in sources])
        self._sources = {
            topic: Source(topic, view, self._registry.context(topic, known[system], needed=reads_metadata))
            for topic, system, view in sources
        }

    @property
    def topics(self) -> Sequence[str]:
        return tuple(self._sources)

    def read(self, batch: Batch) -> Read:
        """Never raises for what stands in a record."""
        source = self._sources[batch.topic]
        view = source.view
        decoded = source.decoder.decode(batch.values)
        codes = self._registry.resolve(source.context, decoded, batch)
        faults = [Fault(p.place, p.error.reason, p.error.message) for p in decoded.poison] if view.own else []
        good = _good(decoded, codes, faults if view.own else None)
        columns = columns_of(self._columns | view.columns, decoded, source.context, codes)
        rows = _both(good, view.visible(columns))
        return Read(batch, source, decoded, codes, columns, rows, faults)


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


def _good(decoded: Decoded, codes: Codes, faults: list[Fault] | None) -> Mask | None:
    """The records that are neither poison nor foreign, None for all; foreign ones join the faults, where there are."""
    if codes.min(initial=0) != FOREIGN:
        return None
    good: Mask = codes != FOREIGN
    if faults is None:
        return good
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
