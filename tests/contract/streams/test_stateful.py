"""Joins and windows exactly once on every log, against the operators' oracles."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stateful_world import GRACE_US, StatefulWorld, texts
from stream_world import EmbeddedPlace, Place

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
