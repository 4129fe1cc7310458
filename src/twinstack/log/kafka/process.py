"""A Java process that outlives its starter: found again by its id, and only touched when it is still the same one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

_POLL_S = 0.05

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Processes started by this one: they must be reaped, or a killed one stays as a zombie."""


def spawn(command: Sequence[str], output: Path) -> int:
    """Starts a process in a session of its own (Ctrl-C of the terminal does not reach it); returns its id."""
    with output.open("ab") as file:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    _children[child.pid] = child
    return child.pid


def is_running(pid: int | None, mark: str) -> bool:
    """Whether `pid` lives and has the argument `mark`: an id that the system gave to another program is not ours."""
    if pid is None:
        return False
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]
        return False
    return mark in _arguments(pid)


def _arguments(pid: int) -> list[str]:
    """The arguments of a process; none for a dead one or a zombie."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return []
    told = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return told.stdout.split()


def send(pid: int, mark: str, number: signal.Signals) -> bool:
    """Sends a signal to the process if it is still ours; False when it is gone."""
    if not is_running(pid, mark):
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def wait_gone(pid: int, mark: str, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while is_running(pid, mark):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True
