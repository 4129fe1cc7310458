"""Ctrl+C of commands that have no end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def remembered() -> Iterator[threading.Event]:
    """SIGINT raises KeyboardInterrupt as ever and is remembered in the event as well: Python drops what is raised
    within a finaliser or a callback, and a loop that only waits for the exception would then go on for ever."""
    seen = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        seen.set()
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # whoever started the command wants it to stay
        yield seen
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
