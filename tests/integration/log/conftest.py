"""Logs in a folder of the test, and a clock that the test moves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from twinstack.log.embedded import EmbeddedLog


class Clock:
    """Milliseconds that move when told."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


@pytest.fixture
def open_log(path: Path, clock: Clock) -> Iterator[Callable[..., EmbeddedLog]]:
    """Opens the log of this test (again); the one before is closed first. Housekeeping runs only when it is called:
    its own thread is stopped."""
    opened: list[EmbeddedLog] = []

    def open_it(*, background: bool = False, **options: object) -> EmbeddedLog:
        for log in opened:
            log.close()
        log = EmbeddedLog(path, now_ms=clock, **options)
        if not background:
            log.housekeeping.pause()
        opened.append(log)
        return log

    yield open_it
    for log in opened:
        log.close()
