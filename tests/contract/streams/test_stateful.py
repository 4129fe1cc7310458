"""Joins and windows exactly once on every log, against the operators' oracles."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stateful_world import BEGIN_US, GRACE_US, StatefulWorld, texts
from stream_world import EmbeddedPlace, Place

from twinstack.log.seam import TopicPartition
from twinstack.streams import task
from twinstack.streams.spec import AppSpec

N = 600


@pytest.fixture
def timed(place: Place) -> Iterator[StatefulWorld]:
    with contextlib.closing(StatefulWorld(place)) as world:
        yield world


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[StatefulWorld]:
    with contextlib.closing(StatefulWorld(EmbeddedPlace(tmp_path / "log.sqlite"))) as world:
        yield world


def told(world: StatefulWorld, text: str, **changes: Any) -> AppSpec:
    return world.spec(text, **{"grace_us": GRACE_US, "idle_after_ms": None, **changes})


@pytest.mark.parametrize(("kind", "text"), texts(["neighbour", "asof"]))
def test_a_join_is_what_the_oracle_says(timed: StatefulWorld, kind: str, text: str) -> None:
    with timed.place.open() as log:
        timed.produce_timed(log, N)
        with timed.app(log, told(timed, text)) as app:
            app.state("running")
            timed.produce_timed(log, N)
            timed.flush_time(log)
            timed.check_pairs(log, kind)


FAILPOINTS = [
    "streams.task.between_sends",
    "streams.stage.rows_sent",
    "streams.stage.state_sent",
    "streams.task.before_commit",
    "streams.task.after_commit",
]
"""The second hit of those at a commit is that of the second stage."""


def killed(world: StatefulWorld, failpoint: str) -> None:
    (kind, text) = texts(["neighbour"])[0]
    with world.place.open() as log:
        world.produce_timed(log, N)
        world.flush_time(log)
    assert world.child(told(world, text), failpoint).wait_end() == -signal.SIGKILL
    with world.place.open() as log, world.app(log, told(world, text)):
        world.check_pairs(log, kind)


@pytest.mark.parametrize("failpoint", ["streams.stage.state_sent:2", "streams.task.after_commit:2"])
def test_a_join_is_exact_after_a_kill(timed: StatefulWorld, failpoint: str) -> None:
    killed(timed, failpoint)


@pytest.mark.parametrize("hit", [1, 2])
@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_a_join_is_exact_after_a_kill_anywhere(embedded: StatefulWorld, failpoint: str, hit: int) -> None:
    killed(embedded, f"{failpoint}:{hit}")


WINDOW = """SELECT AVG(result) AS result, COUNT(*) AS n FROM * GROUP BY full_name, TUMBLE(time, 1 MINUTE)"""


def test_a_window_is_exact_over_a_restart(timed: StatefulWorld) -> None:
    with timed.place.open() as log:
        timed.produce_timed(log, N, late=0)
        with timed.app(log, told(timed, WINDOW)) as first:
            first.wait(lambda r: r["counters"].get("records_in", 0) > 0)
        timed.produce_timed(log, N, late=0)
        timed.flush_keys(log)
        with timed.app(log, told(timed, WINDOW)):
            timed.check_windows(log)


def test_a_partition_without_records_stops_holding_after_a_while(timed: StatefulWorld) -> None:
    text = "SELECT COUNT(*) AS result FROM * WHERE datastream = 'Quantity_0' GROUP BY TUMBLE(time, 1 SECOND)"
    with timed.place.open() as log, timed.app(log, told(timed, text, idle_after_ms=400)) as app:
        app.state("running")
        for second in range(5):
            timed.put(log, 0, BEGIN_US + second * 1_000_000)
        timed.wait_output(log, 2)
        assert [o["result"] for o in timed.outputs(log)] == [1, 1]  # grace: 2 s


def test_what_stands_between_the_stages_is_purged_behind_the_second(
    embedded: StatefulWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "PURGE_EVERY_S", 0.0)
    with embedded.place.open() as log, embedded.app(log, told(embedded, WINDOW)):
        embedded.produce_timed(log, N, late=0)
        topic = f"ts.{embedded.uid}.1.1.in"

        def purged() -> bool:
            if topic not in log.admin().topics():
                return False
            tps = [TopicPartition(topic, p) for p in range(3)]
            ends = log.admin().end_offsets(tps)
            return sum(ends.values()) > 3 and log.admin().beginning_offsets(tps) == ends

        embedded.wait_for(purged, "purged")


def test_a_position_that_another_moved_stops_the_app(embedded: StatefulWorld) -> None:
    """The state says how far it goes; offsets that say otherwise are nobody's work, and no output may follow."""
    with embedded.place.open() as log:
        embedded.produce_timed(log, N)
        with embedded.app(log, told(embedded, WINDOW)) as app:
            app.wait(lambda r: r["counters"].get("records_in", 0) > 0)
        tp = TopicPartition(f"{embedded.source}.int", 1)
        with contextlib.closing(log.consumer(group=f"ts.{embedded.uid}.1")) as consumer:
            consumer.assign({tp: 1})
            consumer.commit({tp: 1})
        with embedded.app(log, told(embedded, WINDOW)) as app:
            assert "the committed position is 1" in app.state("failing")["message"]


def test_expired_positions_are_taken_from_the_state(embedded: StatefulWorld) -> None:
    with embedded.place.open() as log:
        embedded.produce_timed(log, N, late=0)
        with embedded.app(log, told(embedded, WINDOW)) as app:
            app.wait(lambda r: r["counters"].get("records_in", 0) > 0)
        log.admin().delete_group(f"ts.{embedded.uid}.1")
        embedded.produce_timed(log, N, late=0)
        embedded.flush_keys(log)
        with embedded.app(log, told(embedded, WINDOW)):
            embedded.check_windows(log)


def test_a_second_instance_fences_both_stages(timed: StatefulWorld) -> None:
    (kind, text) = texts(["asof"])[0]
    with timed.place.open() as log, timed.app(log, told(timed, text)) as first:
        timed.produce_timed(log, N)
        first.wait(lambda r: r["counters"].get("records_in", 0) > 0)
        with timed.app(log, told(timed, text)) as second:
            second.state("running")
            timed.produce_timed(log, N)
            assert first.wait(lambda r: r["state"] == "idle")["reason"] == "worker_lost"
            timed.flush_time(log)
            timed.check_pairs(log, kind)
