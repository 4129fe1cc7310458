"""One suite of exactly-once tests, every log: `pytest tests/contract/streams -k embedded`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "log"))

from log_backends import BACKENDS
from stream_world import EmbeddedPlace, Place, RunningPlace, World

from twinstack.log.embedded import EmbeddedLog


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=pytest.mark.kafka) if name == "kafka" else name for name in BACKENDS],
)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A log that outlives the processes of the apps; the embedded one lives in whoever opens its file."""
    folder = tmp_path_factory.mktemp(f"streams-{request.param}")
    if request.param == "embedded":
        yield EmbeddedPlace(folder / "log.sqlite")
        return
    with BACKENDS[request.param](folder) as backend:
        yield RunningPlace(backend)


@pytest.fixture
def world(place: Place) -> Iterator[World]:
    """Fresh systems and an app on the log, closed at the end of the test."""
    with contextlib.closing(World(place)) as world:
        yield world


@pytest.fixture
def embedded_world(tmp_path: Path) -> Iterator[World]:
    """For what is the same on every log."""
    with contextlib.closing(World(EmbeddedPlace(tmp_path / "log.sqlite"))) as world:
        yield world


__all__ = ["EmbeddedLog", "embedded_world", "place", "world"]
