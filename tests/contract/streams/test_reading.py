"""Reading the catalogue and samples: to the end that was asked for, however slow the log is."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import pytest
from stream_world import World

from twinstack.core.errors import TimedOut
from twinstack.log.seam import EARLIEST, Batch, OutRecord, TopicPartition
from twinstack.streams.catalogue import MetaCatalogue
from twinstack.streams.reading import PATIENCE_S, read_to
from twinstack.streams.sample import attributes_of


class Slow:
    """A consumer that gives something at every n-th poll only."""

    def __init__(self, inner: Any, every: int) -> None:
        self._inner, self._every, self._polls = inner, every, 0

    def poll(self, timeout_s: float, records_max: int = 5_000) -> list[Batch]:
        self._polls += 1
        return [] if self._polls % self._every else self._inner.poll(1.0, 2)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def ends_of(world: World, log: Any, topic: str) -> Mapping[TopicPartition, int]:
    partitions = range(log.admin().describe(topic).partitions)
    return log.admin().end_offsets([TopicPartition(topic, p) for p in partitions])


def test_silence_is_not_the_end(embedded_world: World) -> None:
    topic = f"{embedded_world.source}.meta"
    with embedded_world.place.open() as log, contextlib.closing(log.consumer()) as consumer:
        ends = ends_of(embedded_world, log, topic)
        starts = dict.fromkeys(ends, 0)
        consumer.assign(starts)
        batches = list(read_to(Slow(consumer, 5), starts, ends))  # type: ignore[arg-type]
        assert sum(map(len, batches)) == 6


def test_a_log_that_says_nothing_is_an_error(embedded_world: World) -> None:
    topic = f"{embedded_world.source}.meta"
    ticks = iter(range(1000))
    with embedded_world.place.open() as log, contextlib.closing(log.consumer()) as consumer:
        ends = ends_of(embedded_world, log, topic)
        consumer.assign(dict.fromkeys(ends, EARLIEST))
        deaf = Slow(consumer, 10_000)
        with pytest.raises(TimedOut):
            list(read_to(deaf, dict.fromkeys(ends, 0), ends, clock=lambda: float(next(ticks))))  # type: ignore[arg-type]
        assert PATIENCE_S < next(ticks) < 20


def test_the_catalogue_follows_its_topic(world: World) -> None:
    with world.place.open() as log, contextlib.closing(MetaCatalogue(log)) as catalogue:
        unknown = "it.nobody.knows.This"
        systems = catalogue.snapshot([world.source, unknown])
        own = systems[world.source]
        assert sorted(own.by_key) == sorted(world.log_key(n) for n in range(6))
        assert not systems[unknown].exists
        assert not catalogue.refresh()
        world.register(log, 6)
        with contextlib.closing(log.producer()) as producer:
            producer.send(OutRecord(f"{world.source}.meta", None, world.log_key(0).encode()))
            producer.send(OutRecord(f"{world.source}.meta", b"no entity", world.log_key(1).encode()))
        assert catalogue.refresh()
        assert sorted(own.by_key) == sorted(world.log_key(n) for n in range(1, 7))
        assert own.by_key[world.log_key(6)].unit == "degC"


def test_an_empty_topic_has_an_end_too(world: World) -> None:
    with world.place.open() as log:
        assert attributes_of(log, [f"{world.source}.int"]) == frozenset()
        world.produce(log, 50)
        assert attributes_of(log, [f"{world.source}.int"]) == {"longitude"}
        tps = [TopicPartition(f"{world.source}.int", p) for p in range(3)]
        log.admin().delete_records(log.admin().end_offsets(tps))
        assert attributes_of(log, [f"{world.source}.int"]) == frozenset()
