"""kill -9 at any instant loses nothing that was acknowledged, repeats nothing and leaves no half transaction."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from twinstack.core.failpoints import NAMES
from twinstack.log.embedded import EmbeddedLog
from twinstack.log.seam import EARLIEST, TopicPartition

CHILD = Path(__file__).parent / "log_children.py"
SOURCE = TopicPartition("t", 0)
POINTS = [name for name in NAMES if name.startswith("log.") and name != "log.http.after_commit"]


def run_until_killed(path: Path, failpoint: str | None, after_s: float | None) -> list[str]:
    """What the child said; it dies by the failpoint, or by our kill some time after it began."""
    env = {**os.environ, "TWINSTACK_FAILPOINT": failpoint or ""}
    with subprocess.Popen([sys.executable, str(CHILD), "write", str(path)], stdout=subprocess.PIPE, env=env) as child:
        said = b""
        if after_s is not None:
            said = child.stdout.readline()
            time.sleep(after_s)
            child.kill()
        out, _ = child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL
    lines = (said + out).decode().split("\n")[:-1]
    assert not [line for line in lines if line.startswith("error")]
    return lines


def values_of(log: EmbeddedLog, topic: str) -> list[str]:
    consumer = log.consumer()
    consumer.assign({TopicPartition(topic, 0): EARLIEST})
    values: list[str] = []
    expected = 0
    while batches := consumer.poll(0):
        for batch in batches:
            assert batch.offsets == list(range(expected, expected + len(batch)))
            expected += len(batch)
            values += [value.decode() for value in batch.values]
    return values


def check(path: Path, said: list[str]) -> None:
    log = EmbeddedLog(path)
    try:
        if "ready" not in said and "t" not in log.admin().topics():
            return
        t, u = values_of(log, "t"), values_of(log, "u")
        produced = [int(value[1:]) for value in t if value[0] == "p"]
        assert produced == sorted(set(produced))
        missing = {int(line[2:]) for line in said if line.startswith("p ")} - set(produced)
        assert not missing
        committed = log.committed("g").get(SOURCE, 0)
        wanted = Counter({number: 1 + number % 3 for number in range(committed)})
        for values in (t, u):
            assert Counter(int(value[1:]) for value in values if value[0] == "x") == wanted
        assert all(int(line[2:]) < committed for line in said if line.startswith("x "))
    finally:
        log.close()


@pytest.mark.parametrize("point", POINTS)
def test_every_failpoint(tmp_path: Path, point: str) -> None:
    said: list[str] = []
    for count in (1, 40):
        said += run_until_killed(tmp_path / "log.sqlite", f"{point}:{count}", None)
        check(tmp_path / "log.sqlite", said)


def test_any_instant(tmp_path: Path) -> None:
    dice = random.Random(11)
    said: list[str] = []
    for _ in range(6):
        said += run_until_killed(tmp_path / "log.sqlite", None, dice.uniform(0.0, 1.0))
        check(tmp_path / "log.sqlite", said)
    assert sum(line.startswith("x ") for line in said) > 20
