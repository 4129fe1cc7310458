"""Lines that the demo's programs print, on the terminal: `car_1 | The air temperature at the demo car 1 is ...`."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TextIO

from twinstack.cli.output import cell

_LINES_MAX = 1_000
_END_S = 1.0


class Printed:
    """Writes lines to `out` in a thread of its own: a terminal that stands still (Ctrl+S, a reader that does not read)
    holds up neither the programs nor the server. What does not fit into the queue meanwhile is counted, and said."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lines: queue.Queue[str | None] = queue.Queue(_LINES_MAX)
        self._left_out = 0
        self._thread = threading.Thread(target=self._write, name="printed", daemon=True)
        self._thread.start()

    def add(self, name: str, line: bytes) -> None:
        """One line of the program `name`, as its pipe gave it; never waits."""
        text = cell(line.decode("utf-8", "replace").rstrip("\r\n"))
        try:
            self._lines.put_nowait(f"{name} | {text}")
        except queue.Full:
            self._left_out += 1

    def close(self) -> None:
        """Ends after the lines that are there, unless nobody takes them."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=_END_S)
        self._thread.join(_END_S)

    def _write(self) -> None:
        encoding = self._out.encoding or "utf-8"
        broken = False  # nobody looks any more: the lines go on to the log files alone
        while (line := self._lines.get()) is not None:
            if broken:
                continue
            left_out, self._left_out = self._left_out, 0
            if left_out:
                line += f"\n... | {left_out} lines were not shown, they are in the folder logs"
            try:
                self._out.write(line.encode(encoding, "replace").decode(encoding) + "\n")
                self._out.flush()
            except (OSError, ValueError):
                broken = True
