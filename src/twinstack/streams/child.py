"""One app in a process of its own: `python -m twinstack.streams.child`.

The spec (AppSpec.to_json) is the first argument, or the first line of standard input. Each report is a line of JSON on
standard output: {"event", "state", "reason", "message", "at_us", "counters"}. Further lines of standard input are
`pause`, `resume` or `stop`; its end, or the parent's, stops the app, and so do SIGTERM and SIGINT: what is open is
committed or aborted, then the process exits with 0 (idle) or 1 (crashed).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import sys
import threading
from types import FrameType

import msgspec

from twinstack.core.errors import TwinstackError
from twinstack.log.connect import connect
from twinstack.streams.app import run_app
from twinstack.streams.spec import AppSpec
from twinstack.streams.states import CRASHED, Report

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> int:
    parent = os.getppid()
    collect_rarely()
    stop, pause = threading.Event(), threading.Event()
    _stop_by_signals(stop)
    _follow_parent(parent, stop)
    text = argv[1] if len(argv) > 1 else sys.stdin.readline()
    try:
        spec = AppSpec.from_json(text)
        log = connect(spec.address, client_id=f"ts.{spec.uid}", token=spec.token)
    except TwinstackError as error:
        _write({"event": "state", "state": CRASHED, "reason": "error", "message": str(error)})
        return 1
    threading.Thread(target=_obey, args=(stop, pause), daemon=True, name="orders").start()
    try:
        return 1 if run_app(spec, log, stop=stop, pause=pause, on_state=_report) == CRASHED else 0
    finally:
        with contextlib.suppress(TwinstackError):
            log.close()


def collect_rarely() -> None:
    """Batches make thousands of objects that live for milliseconds and hold no cycles: by default the collector would
    look at them again and again, a tenth of a task's time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _stop_by_signals(stop: threading.Event) -> None:
    def handle(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def _follow_parent(parent: int, stop: threading.Event) -> None:
    """SIGTERM when the parent dies, where the system can (Linux); elsewhere the end of standard input tells."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call
        stop.set()


def _obey(stop: threading.Event, pause: threading.Event) -> None:
    for line in sys.stdin:
        order = line.strip()
        if order == "pause":
            pause.set()
        elif order == "resume":
            pause.clear()
        elif order == "stop":
            break
    stop.set()


def _report(report: Report) -> None:
    _write(msgspec.to_builtins(report))


def _write(line: dict[str, object]) -> None:
    """A parent that reads no more is gone or going: its end is told elsewhere."""
    with contextlib.suppress(BrokenPipeError, ValueError):
        sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
