from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from twinstack.core import failpoints

SRC = Path(failpoints.__file__).resolve().parents[1]
PROGRAM = "from twinstack.core.failpoints import hit; hit('{0}'); hit('{0}'); print('alive')"


def run(name: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM.format(name)]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)


def test_a_process_dies_at_the_named_hit_and_only_there() -> None:
    name = next(iter(failpoints.NAMES))
    assert run(name, TWINSTACK_FAILPOINT=name).returncode == -signal.SIGKILL
    assert run(name, TWINSTACK_FAILPOINT=f"{name}:2").returncode == -signal.SIGKILL
    assert run(name, TWINSTACK_FAILPOINT=f"{name}:3").stdout == "alive\n"


def test_once_lets_the_next_process_live(tmp_path: Path) -> None:
    name = next(iter(failpoints.NAMES))
    env = {"TWINSTACK_FAILPOINT": name, "TWINSTACK_FAILPOINT_ONCE": str(tmp_path / "once")}
    assert run(name, **env).returncode == -signal.SIGKILL
    assert run(name, **env).stdout == "alive\n"


def test_an_unknown_name_is_said() -> None:
    done = run("x", TWINSTACK_FAILPOINT="no.such.place")
    assert done.returncode == 1
    assert "no.such.place" in done.stderr


@pytest.mark.parametrize("count", ["x", "0", "-1"])
def test_a_wrong_count_is_said(count: str) -> None:
    done = run("x", TWINSTACK_FAILPOINT=f"{next(iter(failpoints.NAMES))}:{count}")
    assert done.returncode == 1
    assert "no count of hits" in done.stderr


def test_every_registered_name_is_used_and_every_used_name_is_registered() -> None:
    used = set()
    for path in SRC.rglob("*.py"):
        used |= set(re.findall(r"""\bhit\(\s*["']([a-z_.]+)["']""", path.read_text(encoding="utf-8")))
    assert used == set(failpoints.NAMES)
