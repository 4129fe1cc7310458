"""From text to plan: the sources with their views, the condition, and what of the records must be read for it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from twinstack.core import names
from twinstack.core.errors import InvalidName, QueryError
from twinstack.query import streamsql
from twinstack.query.streamsql import STAR, CheckedQuery, Query, SourceRef
from twinstack.query.streamsql.catalogue import METADATA
from twinstack.query.streamsql.checked import Term, columns_of
from twinstack.query.streamsql.match import matching
from twinstack.query.streamsql.statement import Side
from twinstack.streams.catalogue import Catalogue, Datastream
from twinstack.streams.derived import Derived, Targets, derived_streams
from twinstack.streams.filter import Filter
from twinstack.streams.operator import Operator
from twinstack.streams.projection import Projection
from twinstack.streams.sources import Reader
from twinstack.streams.spec import AppSpec
from twinstack.streams.view import EVERYTHING, View

Attributes = Callable[[Sequence[str]], Iterable[str]]
"""The names of attributes that the last records of these topics had."""


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """One topic that is read, and the view that stands directly above the read."""

    topic: str
    system: str
    view: View = EVERYTHING


@dataclass(frozen=True, slots=True)
class Plan:
    spec: AppSpec
    checked: CheckedQuery
    sources: tuple[SourcePlan, ...]
    catalogue: Catalogue
    inputs: tuple[tuple[Datastream, ...], ...] = ()
    """The Datastreams that the sources of each side are known to have."""
    side_topics: tuple[tuple[str, ...], ...] = ()

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(source.topic for source in self.sources)

    @property
    def fingerprint(self) -> str:
        """Changes with the text, the sources and the target: what a state of the app would depend on."""
        parts = (self.spec.text.strip(), self.spec.target, *self.topics)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    @property
    def reads_metadata(self) -> bool:
        """Whether a record's Datastream must be known to judge it."""
        return bool(self._read_columns & frozenset(METADATA))

    @property
    def _read_columns(self) -> frozenset[str]:
        own = self.checked.columns | items_columns(self.checked)
        return own.union(*(source.view.columns for source in self.sources))

    @property
    def derived(self) -> list[Derived]:
        """The Datastreams at the target that the app writes to."""
        checked = self.checked
        conditions = [checked.where] if checked.join is None else [side.filter for side in checked.join.sides]
        inputs = [
            stream
            for condition, streams in zip(conditions, self.inputs, strict=True)
            for stream in _matching(condition, streams)
        ]
        return derived_streams(checked, list(dict.fromkeys(inputs)))

    def operator(
        self, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> Operator:
        checked = self.checked
        columns = checked.columns | items_columns(checked)
        reader = self.reader(columns, clock, sleep)
        if checked.output is None:
            return Filter(self.spec, checked, reader)
        return Projection(self.spec, checked, reader, self.targets())

    def targets(self) -> Targets:
        target = self.spec.target
        return Targets(target, self.spec.name, self.catalogue.snapshot([target])[target])

    def reader(self, columns: frozenset[str], clock: Callable[[], float], sleep: Callable[[float], None]) -> Reader:
        read = columns.union(*(source.view.columns for source in self.sources))
        return Reader(
            [(source.topic, source.system, source.view) for source in self.sources],
            self.catalogue,
            columns,
            # Whether a record's Datastream must be known to judge it.
            reads_metadata=bool(read & frozenset(METADATA)),
            clock=clock,
            sleep=sleep,
        )


def items_columns(checked: CheckedQuery) -> frozenset[str]:
    if checked.output is None:
        return frozenset()
    items = (checked.output.result, *checked.output.parameters)
    return frozenset[str]().union(*(columns_of(item.term) for item in items))


def _matching(condition: Term | None, streams: Sequence[Datastream]) -> list[Datastream]:
    """The Datastreams whose records can pass the condition."""
    wanted = {stream.full_name for stream in matching(condition, _as_columns(streams))}
    return [stream for stream in streams if stream.full_name in wanted]


def make_plan(
    spec: AppSpec,
    catalogue: Catalogue,
    *,
    views: Callable[[str], View] = lambda topic: EVERYTHING,
    attributes: Attributes | None = None,
) -> Plan:
    """The plan of the app's text. `views` gives the view of a topic. `attributes` is asked only if the text reads a
    column that no Datastream registered.

    Errors: QueryError with place and fix; those of the log when the catalogue is read.
    """
    query = streamsql.parse(spec.text)
    sides = [query.side] if query.join is None else [query.side, query.join.side]
    read = [_sources(spec, query, side) for side in sides]
    refs = {ref.topic: ref for side in read for ref in side}
    sources = tuple(SourcePlan(ref.topic, ref.system, views(ref.topic)) for ref in refs.values())
    streams = [_datastreams(catalogue, side) for side in read]
    try:
        checked = streamsql.check(query, *map(_as_columns, streams))
    except QueryError:
        seen = frozenset(attributes([s.topic for s in sources])) if attributes is not None else frozenset()
        if not seen:
            raise
        checked = streamsql.check(query, *(_as_columns(side, seen) for side in streams))
    return Plan(
        spec,
        checked,
        sources,
        catalogue,
        tuple(tuple(side) for side in streams),
        tuple(tuple(ref.topic for ref in side) for side in read),
    )


def _sources(spec: AppSpec, query: Query, side: Side) -> list[SourceRef]:
    """The topics of FROM: `*` is every source system's own data. Errors: QueryError."""
    named = side.sources
    refs = [SourceRef(system) for system in spec.sources] if named is STAR else list(named)
    wanted: dict[str, SourceRef] = {}
    for ref in refs:
        try:
            names.parse_system(ref.system, allow_reserved=True)
        except InvalidName as error:
            raise query.source.error(error.message, ref.span, expected="a system", fix=error.fix) from None
        if ref.system not in spec.sources:
            raise query.source.error(
                f"'{ref.system}' is no source of this app.",
                ref.span,
                fix=f"Sources are {', '.join(spec.sources)}; add the system to them.",
            )
        if ref.topic == spec.target_topic:
            raise query.source.error(
                f"The app writes '{ref.topic}': it would read its own output without an end.",
                ref.span,
                fix=f"Read {ref.system}, or choose another target.",
            )
        wanted.setdefault(ref.topic, ref)
    return list(wanted.values())


def _datastreams(catalogue: Catalogue, sources: Sequence[SourceRef]) -> list[Datastream]:
    """What the sources' catalogues know: of `.int` the system's own, of `.ext` also what it received."""
    known = catalogue.snapshot([source.system for source in sources])
    found: dict[tuple[str, str], Datastream] = {}
    for source in sources:
        for datastream in known[source.system].by_key.values():
            if datastream.system == source.system or source.topic.endswith(".ext"):
                found[source.topic, datastream.log_key] = datastream
    return list(found.values())


def _as_columns(datastreams: Sequence[Datastream], attributes: Iterable[str] = ()) -> streamsql.Catalogue:
    seen = dict.fromkeys(attributes, "any")
    made = tuple(
        streamsql.CatalogueDatastream(
            name=d.name,
            full_name=d.full_name,
            system=d.system,
            thing=d.thing,
            datastream=d.datastream,
            observed_property=d.observed_property,
            unit=d.unit or "",
            result_kind=_result_kind(d.observation_type),
            attributes={**seen, **dict.fromkeys(d.attributes, "any")},
        )
        for d in datastreams
    )
    if seen and not made:
        made = (streamsql.CatalogueDatastream(name="", attributes=seen),)
    return streamsql.Catalogue(made)


_RESULT_KINDS = {
    "OM_Measurement": "float",
    "OM_CountObservation": "int",
    "OM_TruthObservation": "bool",
    "OM_CategoryObservation": "string",
}


def _result_kind(observation_type: str) -> str:
    return _RESULT_KINDS.get(observation_type.rsplit("/", 1)[-1], "any")
