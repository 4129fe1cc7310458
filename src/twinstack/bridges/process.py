"""What the archive and the outbox have in common as child processes: stopping, state lines, back-off.

A child prints one JSON object a line on standard output: {"bridge", "event", "time", ...}. It stops at SIGTERM, at
SIGINT and when its parent is gone: the kernel tells (Linux; the parent is the thread that started it), and standard
input ends where it is a pipe.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import msgspec

from twinstack.core.errors import TwinstackError
from twinstack.core.settings import STORE_ENV
from twinstack.log.connect import connect
from twinstack.log.seam import Log
from twinstack.sensorthings.store import Store, open_store

TOKEN_ENV = "TWINSTACK_TOKEN"  # noqa: S105 - the name of a variable
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.1, 5.0
_PR_SET_PDEATHSIG = 1

Report = Callable[[str, dict[str, Any]], None]
"""Takes an event's name and its fields."""


class Stop:
    """Set once; everything that waits looks at it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleeps, or wakes when it is time to stop; whether it is."""
        return self._event.wait(seconds)


class Backoff:
    """Doubles from 0.1 to 5 s; `reset` after something worked."""

    def __init__(self) -> None:
        self._next_s = BACKOFF_FIRST_S

    def wait(self, stop: Stop) -> bool:
        pause_s, self._next_s = self._next_s, min(self._next_s * 2, BACKOFF_MAX_S)
        return stop.wait(pause_s)

    def reset(self) -> None:
        self._next_s = BACKOFF_FIRST_S


def main(bridge: str, run: Callable[[Store, Log, Stop, Report], None], argv: list[str] | None = None) -> int:
    """Runs a bridge until it is stopped; the exit code. Options: --store URL, --log ADDRESS; the log's token, and a
    store's URL with a password, come from the environment: arguments can be read by everybody on the machine."""
    parser = argparse.ArgumentParser(prog=f"python -m twinstack.bridges.{bridge}")
    store_url = os.environ.get(STORE_ENV)
    parser.add_argument("--store", default=store_url, required=not store_url, help="sqlite:/path/to/store.sqlite")
    parser.add_argument("--log", required=True, help="http://host:port of a server, or host:port of Kafka brokers")
    options = parser.parse_args(argv)
    stop = Stop()
    _stop_by_signals(stop)
    _follow_parent(stop)
    report = reporter(bridge)
    try:
        store = open_store(options.store)
        log = connect(options.log, client_id=f"twinstack-{bridge}", token=os.environ.get(TOKEN_ENV))
    except TwinstackError as error:
        report("failed", error.as_dict())
        return error.exit_code
    try:
        run(store, log, stop, report)
        report("stopped", {})
        return 0
    finally:
        with contextlib.suppress(TwinstackError):
            log.close()
        store.close()


def reporter(bridge: str) -> Report:
    def report(event: str, fields: dict[str, Any]) -> None:
        line = {"bridge": bridge, "event": event, "time": time.time(), **fields}
        with contextlib.suppress(BrokenPipeError, ValueError):
            sys.stdout.buffer.write(msgspec.json.encode(line, enc_hook=str) + b"\n")
            sys.stdout.buffer.flush()

    return report


def _stop_by_signals(stop: Stop) -> None:
    def handle(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def _follow_parent(stop: Stop) -> None:
    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        stop.set()
    with contextlib.suppress(OSError, ValueError):
        if stat.S_ISFIFO(os.fstat(0).st_mode):
            threading.Thread(target=_until_end, args=(stop,), daemon=True, name="parent").start()


def _until_end(stop: Stop) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    stop.set()
