"""The stages of a plan: which topics each reads, and how its operator is made.

An app that judges each record by itself has one stage. A join or a window has two: the first reads the sources and
sends rows to the partition of their key (`split.py`), the second owns the state of its keys (`settle.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from twinstack.core import limits
from twinstack.log.seam import TopicPartition, TopicSpec
from twinstack.query.streamsql import CheckedQuery
from twinstack.query.streamsql.checked import (
    CheckedAggregate,
    CheckedGroup,
    CheckedSide,
    ColumnRef,
    Const,
    Term,
    columns_of,
)
from twinstack.query.streamsql.kinds import ANY, NUMBER, STRINGS, TIMES
from twinstack.query.tokens import Span
from twinstack.streams.emit import Origins, PairMaker, WindowMaker
from twinstack.streams.follow import Follower, FollowPlan, forwarder, projector
from twinstack.streams.letters import DeadLetters
from twinstack.streams.operator import Operator
from twinstack.streams.operators.join import Join
from twinstack.streams.operators.seam import Aggregate, JoinPlan, WindowPlan, source_code
from twinstack.streams.operators.windows import GroupBy
from twinstack.streams.plan import Plan, items_columns
from twinstack.streams.settle import Maker, SettlePlan, Settler
from twinstack.streams.split import AT, RESULT, RESULT_TIME, TIME, SidePlan, SplitPlan, Splitter
from twinstack.streams.state import state_spec
from twinstack.streams.watermarks import SourceClocks

_KEY_OF_ONE_DATASTREAM = "full_name"
_NOWHERE = Span(0, 0)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its number, and a maker of fresh operators for its task."""

    number: int
    make: Callable[[], Operator]


class Stages:
    """`layout`: the number of partitions of each source topic."""

    def __init__(
        self,
        plan: Plan,
        layout: Mapping[str, int],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._plan = plan
        self._layout = layout
        self._clock = clock
        self._sleep = sleep
        # Asked here, in the thread of the first stage, which the catalogue belongs to.
        self._targets = plan.targets()

    @property
    def topics(self) -> list[TopicSpec]:
        """The topics that the app needs for itself beside its dead letters."""
        if not self._plan.checked.is_stateful:
            return []
        spec, inputs = self._plan.spec, max(self._layout.values())
        return [
            state_spec(spec.state_topic(0), inputs),
            TopicSpec(
                spec.in_topic(1),
                self._in_partitions,
                retention_ms=-1,
                max_record_bytes=limits.DERIVED_RECORD_BYTES_MAX,
            ),
            state_spec(spec.state_topic(1), self._in_partitions),
        ]

    @property
    def stages(self) -> list[Stage]:
        if not self._plan.checked.is_stateful:
            return [Stage(0, self._single)]
        second = self._follower if self._plan.checked.uses_previous else self._settler
        return [Stage(0, self._splitter), Stage(1, second)]

    def _single(self) -> Operator:
        return self._plan.operator(clock=self._clock, sleep=self._sleep)

    # Layout

    @property
    def _sources(self) -> dict[TopicPartition, int]:
        """Source codes: partitions in the order of (topic, partition)."""
        return {
            TopicPartition(topic, p): source_code(rank, p)
            for rank, topic in enumerate(sorted(self._layout))
            for p in range(self._layout[topic])
        }

    @property
    def _in_partitions(self) -> int:
        """Without a key there is one series: one partition, one task."""
        keyless = any(side.keys == () for side in self._sides)
        return 1 if keyless else max(self._layout.values())

    @property
    def _sides(self) -> list[SidePlan]:
        checked = self._plan.checked
        if checked.join is not None:
            return [
                _side_of_join(number, side, frozenset(self._plan.side_topics[number]))
                for number, side in enumerate(checked.join.sides)
            ]
        if checked.group is not None:
            return [_side_of_window(checked, checked.group, frozenset(self._plan.topics))]
        return [_side_of_records(checked, frozenset(self._plan.topics))]

    @property
    def _has_key_clocks(self) -> bool:
        """Whether each key comes from one Datastream."""
        group = self._plan.checked.group
        return group is not None and any(
            isinstance(key, ColumnRef) and key.name == _KEY_OF_ONE_DATASTREAM for key in group.keys
        )

    @property
    def _grace_us(self) -> int:
        told = self._plan.spec.grace_us
        default = limits.WINDOW_GRACE_US if self._plan.checked.group is not None else 0
        return default if told is None else told

    # Operators

    def _splitter(self) -> Operator:
        plan, spec, checked = self._plan, self._plan.spec, self._plan.checked
        sides = self._sides
        read = frozenset({TIME, RESULT_TIME}).union(*(_columns_of_side(side) for side in sides))
        split = SplitPlan(
            sides=tuple(sides),
            sources=self._sources,
            in_topic=spec.in_topic(1),
            in_partitions=self._in_partitions,
            state_topic=spec.state_topic(0),
            fingerprint=plan.fingerprint,
            # PREV takes records as they come; with key clocks the window judges what is late.
            grace_us=None if checked.uses_previous or self._has_key_clocks else self._grace_us,
            future_max_us=spec.future_max_us,
        )
        return Splitter(split, plan.reader(read, self._clock, self._sleep), self._letters())

    def _follower(self) -> Operator:
        checked, spec = self._plan.checked, self._plan.spec
        plan = FollowPlan(spec.in_topic(1), spec.state_topic(1), self._plan.fingerprint)
        if checked.output is None:
            return Follower(plan, checked, forwarder(spec, self._origins))
        return Follower(plan, checked, projector(spec, checked, self._targets, self._letters(), self._origins))

    @property
    def _origins(self) -> Origins:
        places = {code: tp for tp, code in self._sources.items()}
        return Origins(places, {source.topic: source.view for source in self._plan.sources})

    def _settler(self) -> Operator:
        plan, checked, spec = self._plan, self._plan.checked, self._plan.spec
        sources = self._sources
        members = [[code for tp, code in sources.items() if tp.topic in side.topics] for side in self._sides]
        grace_us = 0 if self._has_key_clocks else self._grace_us
        given = (spec, checked, self._targets, self._letters(), self._origins)
        maker: Maker = PairMaker(*given) if checked.join is not None else WindowMaker(*given)
        return Settler(
            SettlePlan(
                in_topic=spec.in_topic(1),
                state_topic=spec.state_topic(1),
                fingerprint=plan.fingerprint,
                operator=self._operator_maker(checked),
                clocks=lambda: SourceClocks(members, grace_us),
            ),
            maker,
        )

    def _operator_maker(self, checked: CheckedQuery) -> Callable[[], Join | GroupBy]:
        if checked.join is not None:
            join = JoinPlan(kind=checked.join.kind, within_us=checked.join.within_us or limits.JOIN_WITHIN_US)
            return lambda: Join(join)
        assert checked.group is not None
        window = WindowPlan(
            size_us=checked.group.window.size_us,
            slide_us=checked.group.window.slide_us,
            aggregates=tuple(_aggregates(checked.group.aggregates)),
            clock="key" if self._has_key_clocks else "side",
            grace_us=self._grace_us,
        )
        return lambda: GroupBy(window)

    def _letters(self) -> DeadLetters:
        return DeadLetters(self._plan.spec.dead_topic, self._plan.spec.revision)


def _side_of_join(number: int, side: CheckedSide, topics: frozenset[str]) -> SidePlan:
    values: dict[str, Term] = {name: ColumnRef(ANY, _NOWHERE, name) for name in sorted(side.columns)}
    return SidePlan(number, topics, side.filter, side.keys, values)


def _side_of_records(checked: CheckedQuery, topics: frozenset[str]) -> SidePlan:
    """All records, by their Datastream: PREV comes before WHERE."""
    read = checked.columns | items_columns(checked) | {RESULT}
    values: dict[str, Term] = {name: ColumnRef(ANY, _NOWHERE, name) for name in sorted(read) if name[0] != "#"}
    return SidePlan(0, topics, None, None, values, forwards=checked.output is None)


def _side_of_window(checked: CheckedQuery, group: CheckedGroup, topics: frozenset[str]) -> SidePlan:
    values: dict[str, Term] = {}
    for aggregate in group.aggregates:
        name = _argument(aggregate)
        if name is not None and name != TIME:
            values[name] = aggregate.args[0]
    return SidePlan(0, topics, checked.where, group.keys, values, nulls=True)


def _argument(aggregate: CheckedAggregate) -> str | None:
    """The name of the column that an aggregate reads; a plain column keeps its own, which letters show."""
    if not aggregate.args:
        return None
    argument = aggregate.args[0]
    return argument.name if isinstance(argument, ColumnRef) else aggregate.column


def _aggregates(aggregates: Sequence[CheckedAggregate]) -> list[Aggregate]:
    made = [Aggregate(a.column, a.function.lower(), _argument(a), _kind(a), _fraction(a)) for a in aggregates]
    return [*made, Aggregate(AT, "max", AT, "time")]


def _kind(aggregate: CheckedAggregate) -> str:
    if aggregate.function in ("COUNT", "FIRST", "LAST", "COUNT_DISTINCT"):
        return "any"
    kinds = aggregate.args[0].kinds
    if kinds == TIMES:
        return "time"
    return "string" if not kinds & NUMBER and kinds & STRINGS else "number"


def _fraction(aggregate: CheckedAggregate) -> float:
    percent = aggregate.args[1] if aggregate.function == "PERCENTILE" else None
    return float(percent.value) / 100 if isinstance(percent, Const) and isinstance(percent.value, int | float) else 0.5


def _columns_of_side(side: SidePlan) -> frozenset[str]:
    terms = [side.filter, *(side.keys or ()), *side.values.values()]
    return frozenset[str]().union(*(columns_of(term) for term in terms if term is not None))
