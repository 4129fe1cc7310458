"""Failpoints kill by SIGKILL at the wanted hit, every name is used, and unset ones cost next to nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import timeit
from pathlib import Path

import pytest

from twinstack.core import failpoints

SOURCE = Path(failpoints.__file__).parents[1]


def _run(code: str, failpoint: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TWINSTACK_FAILPOINT": failpoint},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(("failpoint", "lines"), [("{}", 0), ("{}:3", 2), ("{}:9", 5)])
def test_the_process_dies_at_the_wanted_hit(failpoint: str, lines: int) -> None:
    name = next(iter(failpoints.NAMES))
    code = f"from twinstack.core.failpoints import hit\nfor n in range(5):\n hit({name!r}); print(n, flush=True)"
    done = _run(code, failpoint.format(name))
    assert len(done.stdout.splitlines()) == lines
    assert done.returncode == (0 if lines == 5 else -signal.SIGKILL)


@pytest.mark.parametrize("failpoint", ["no.such.name", "log.http.after_commit:x", "log.http.after_commit:0"])
def test_a_wrong_variable_is_an_error_at_start(failpoint: str) -> None:
    done = _run("import twinstack.core.failpoints", failpoint)
    assert done.returncode == 1
    assert "TWINSTACK_FAILPOINT" in done.stderr


def test_names_in_the_table_and_in_the_code_are_the_same() -> None:
    used: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        used |= set(re.findall(r'(?:failpoints\.)?\bhit\("([^"]+)"\)', path.read_text()))
    assert used == set(failpoints.NAMES)


def test_unset_costs_next_to_nothing() -> None:
    seconds = min(timeit.repeat(lambda: failpoints.hit("log.http.after_commit"), number=10_000, repeat=5))
    assert seconds / 10_000 < 2e-6


def test_once_lets_the_next_process_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINSTACK_FAILPOINT_ONCE", str(tmp_path / "once"))
    name = next(iter(failpoints.NAMES))
    code = f"from twinstack.core.failpoints import hit\nhit({name!r}); print('alive')"
    assert _run(code, name).returncode == -signal.SIGKILL
    assert _run(code, name).stdout == "alive\n"
