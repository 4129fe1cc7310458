"""The entry of every child process: `python -m twinstack.platform.child MODULE|SCRIPT.py [ARGS...]`.

A child never outlives its server, whatever ends that: the kernel sends SIGTERM when the parent dies (Linux), and a
thread notices on every system that the parent is another one. After the stop budget the process ends itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import runpy
import signal
import sys
import threading
import time

from twinstack.core.limits import STOP_MS_MAX

_PR_SET_PDEATHSIG = 1
_LOOK_S = 1.0
_COLLECT = (50_000, 20, 100)
"""Imports make hundreds of thousands of objects that stay: looking at them again and again costs a tenth of a start."""


def main() -> None:
    target = sys.argv[1]
    gc.set_threshold(*_COLLECT)
    follow_parent(int(os.environ.get("TWINSTACK_PARENT", "0")) or os.getppid())
    if target.endswith(".py"):
        sys.argv = sys.argv[1:]
        sys.path.insert(0, os.path.dirname(os.path.abspath(target)))  # noqa: PTH100, PTH120 (pathlib costs 10 ms here)
        runpy.run_path(target, run_name="__main__")
    else:
        sys.argv = sys.argv[1:]
        runpy.run_module(target, run_name="__main__", alter_sys=True)


def follow_parent(parent: int) -> None:
    """From now on this process ends with `parent`."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    threading.Thread(target=_watch, args=(parent,), daemon=True, name="follow-parent").start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_MS_MAX / 1000)
    os._exit(1)


if __name__ == "__main__":
    main()
