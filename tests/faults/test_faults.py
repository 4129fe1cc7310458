"""Three kills of each kind on each log; `make faults` does many more."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.faults.run import KINDS, Plan, reachable, run


@pytest.mark.parametrize("log", ["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def test_kills_lose_nothing_and_repeat_nothing(log: str, tmp_path: Path) -> None:
    some = tuple(random.Random(7).sample(sorted(reachable(log)), 3))
    ledger = run(Plan(log, seed=7, kills=3 * len(KINDS), observations=9_000, names=some), tmp_path, say=print)
    assert ledger.clean, ledger.as_dict()
    assert all(ledger.kills[kind] == 3 for kind in KINDS), ledger.kills
    assert ledger.acknowledged >= 8_500
