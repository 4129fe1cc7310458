"""Child processes of the server: start, watch, restart with back-off, stop in time.

Children are started with the server's own interpreter and an argument list, never forked and never by a shell. What
they print on stdout as JSON objects are their states (programs of the demo have none); everything else goes to
`<logs>/<name>.log`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from twinstack.core import limits

log = logging.getLogger(__name__)

State = Literal["starting", "running", "failing", "crashed", "stopping", "idle"]
TRANSITIONS: Mapping[State, frozenset[State]] = {
    "starting": frozenset({"running", "failing", "crashed", "stopping", "idle"}),
    "running": frozenset({"failing", "crashed", "stopping", "idle"}),
    "failing": frozenset({"starting", "stopping", "crashed"}),
    "crashed": frozenset({"starting", "idle"}),
    "stopping": frozenset({"idle"}),
    "idle": frozenset({"starting"}),
}
MAY_CRASH = frozenset({"app", "program"})
"""Kinds that are given up after 10 failures of their own in 10 minutes. A signal from outside (a kill, the kernel
short of memory) is no failure of theirs, and archive and outbox are never given up: without them data would wait."""

OnLine = Callable[[str, dict[str, Any]], None]
OnState = Callable[[str, State, str], None]

_BACKOFF_FIRST_S, _BACKOFF_MAX_S = 0.25, 30.0
_HEALTHY_S = 10.0
"""After running this long the back-off begins anew."""
_START_S = 3.0
"""A child counts as started with its first line, or after this long."""


@dataclass(frozen=True, slots=True)
class Child:
    """What to run: `target` is a module or a path ending in .py. Secrets go by environment, never by arguments."""

    name: str
    target: str
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    kind: str = "worker"
    stdin: bytes | None = None
    cwd: Path | None = None
    on_print: Callable[[bytes], None] | None = None
    """Gets each line of a program's stdout too; must not wait."""


class _Run:
    """One wanted child: its process, its state, its past crashes."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.state: State = "idle"
        self.reason = ""
        self.process: asyncio.subprocess.Process | None = None
        self.task: asyncio.Task[None] | None = None
        self.crashes: deque[float] = deque(maxlen=limits.APP_CRASHES_MAX)
        self.backoff_s = _BACKOFF_FIRST_S
        self.wanted = True
        self.wake = asyncio.Event()


class Supervisor:
    """All children of one server; used from the event loop's thread only (the kernel ties children to the thread
    that started them)."""

    def __init__(self, logs: Path, *, on_line: OnLine | None = None, on_state: OnState | None = None) -> None:
        self._logs = logs
        self._on_line = on_line or (lambda _name, _line: None)
        self._on_state = on_state or (lambda _name, _state, _reason: None)
        self._runs: dict[str, _Run] = {}
        # So many start at the same time, in the order they were asked for: importing is all a start does, and with all
        # at once on few cores the first would be as late as the last.
        self._turns = asyncio.Semaphore(max(2, os.cpu_count() or 1))

    def start(self, child: Child) -> None:
        """Runs `child` until it is stopped; a child of this name that runs already is left alone."""
        run = self._runs.get(child.name)
        if run is not None and run.task is not None and not run.task.done():
            return
        run = _Run(child)
        self._runs[child.name] = run
        run.task = asyncio.get_running_loop().create_task(self._keep(run), name=f"child {child.name}")

    async def stop(self, name: str, timeout_s: float = limits.STOP_MS_MAX / 1000) -> None:
        """SIGTERM, and SIGKILL to what is still there after the time-out."""
        run = self._runs.get(name)
        if run is None or run.task is None or run.task.done():
            return
        run.wanted = False
        run.wake.set()
        process = run.process
        if process is not None and process.returncode is None:
            self._set(run, "stopping", "")
            _signal(process, signal.SIGTERM)
        done, _ = await asyncio.wait({run.task}, timeout=timeout_s)
        if not done and process is not None:
            log.warning("%s did not stop within %g s and is killed", name, timeout_s)
            _signal(process, signal.SIGKILL)
            await asyncio.wait({run.task}, timeout=timeout_s)

    async def stop_kind(self, kind: str) -> None:
        await asyncio.gather(*(self.stop(n) for n, run in list(self._runs.items()) if run.child.kind == kind))

    async def stop_all(self) -> None:
        await asyncio.gather(*(self.stop(name) for name in list(self._runs)))

    async def restart(self, name: str) -> None:
        run = self._runs.get(name)
        if run is not None:
            await self.stop(name)
            self.start(run.child)

    def kill_all(self) -> None:
        """For a second Ctrl+C: no waiting."""
        for run in self._runs.values():
            run.wanted = False
            if run.process is not None and run.process.returncode is None:
                _signal(run.process, signal.SIGKILL)

    def states(self) -> dict[str, dict[str, Any]]:
        """name -> {"kind", "state", "reason", "pid"} of every child that was ever wanted."""
        return {
            name: {
                "kind": run.child.kind,
                "state": run.state,
                "reason": run.reason,
                "pid": run.process.pid if run.process is not None and run.process.returncode is None else None,
            }
            for name, run in self._runs.items()
        }

    # --- one child --------------------------------------------------------------------------------------------------
    async def _keep(self, run: _Run) -> None:
        """Starts the process again after each crash, later each time, until it is not wanted or crashes too often."""
        while run.wanted:
            started = time.monotonic()
            self._set(run, "starting", "")
            turn = await self._turn(run)
            if turn is None:
                break
            try:
                code = await self._run_once(run, turn)
            except OSError as error:
                code, run.reason = -1, str(error)
            finally:
                turn.end()
            if not run.wanted or code == 0:
                break
            now = time.monotonic()
            if now - started > _HEALTHY_S:
                run.backoff_s = _BACKOFF_FIRST_S
            reason = f"ended with {_code(code)}; see {self._logs / run.child.name}.log"
            if code > 0 and run.child.kind in MAY_CRASH:
                run.crashes.append(now)
                full = len(run.crashes) == run.crashes.maxlen
                if full and now - run.crashes[0] < limits.APP_CRASH_WINDOW_MS / 1000:
                    self._set(run, "crashed", f"{reason} ({len(run.crashes)} times)")
                    return
            self._set(run, "failing", reason)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(run.wake.wait(), run.backoff_s)
            run.backoff_s = min(run.backoff_s * 2, _BACKOFF_MAX_S)
        if run.state in ("failing", "starting", "running"):
            self._set(run, "stopping", "")
        self._set(run, "idle", "")

    async def _turn(self, run: _Run) -> _Turn | None:
        """Waits until this child may start; None when it is not wanted any more."""
        acquired = asyncio.ensure_future(self._turns.acquire())
        woken = asyncio.ensure_future(run.wake.wait())
        await asyncio.wait({acquired, woken}, return_when=asyncio.FIRST_COMPLETED)
        woken.cancel()
        if not acquired.done():
            acquired.cancel()
            return None
        return _Turn(self._turns)

    async def _run_once(self, run: _Run, turn: _Turn) -> int:
        child = run.child
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "twinstack.platform.child", child.target, *child.arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "TWINSTACK_PARENT": str(os.getpid()), "PYTHONUNBUFFERED": "1", **child.environment},
            cwd=child.cwd,
            limit=limits.BODY_BYTES_MAX,
            # Ctrl+C in a terminal reaches the whole group: children stop when the server says so, not all at once.
            start_new_session=True,
        )
        run.process = process
        if not run.wanted:
            _signal(process, signal.SIGTERM)
        if child.stdin is not None and process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                process.stdin.write(child.stdin)
                await process.stdin.drain()
        self._set(run, "running", "") if run.wanted else None
        with LogFile(self._logs / f"{child.name}.log") as file:
            await asyncio.gather(
                self._read(process.stdout, child, file, turn, states=child.kind != "program", show=child.on_print),
                self._read(process.stderr, child, file, turn, states=False, show=None),
            )
            return await process.wait()

    async def _read(
        self,
        stream: asyncio.StreamReader | None,
        child: Child,
        file: LogFile,
        turn: _Turn,
        *,
        states: bool,
        show: Callable[[bytes], None] | None,
    ) -> None:
        assert stream is not None
        while True:
            try:
                line = await stream.readline()
                turn.end()
            except ValueError:  # a line over the limit: its first part is gone, the rest follows
                continue
            if not line:
                return
            if states and line.startswith(b"{"):
                with contextlib.suppress(ValueError):
                    self._on_line(child.name, json.loads(line))
                    continue
            file.write(line)
            if show is not None:
                show(line)

    def _set(self, run: _Run, state: State, reason: str) -> None:
        if state == run.state:
            return
        if state not in TRANSITIONS[run.state]:
            raise RuntimeError(f"child {run.child.name}: {run.state} -> {state} is not a transition")
        run.state, run.reason = state, reason
        (log.warning if state in ("failing", "crashed") else log.debug)("%s %s %s", run.child.name, state, reason)
        self._on_state(run.child.name, state, reason)


class _Turn:
    """A place among the children that start at this time; ends once: with the first line, the end, or the time."""

    def __init__(self, turns: asyncio.Semaphore) -> None:
        self._turns: asyncio.Semaphore | None = turns
        self._timer = asyncio.get_running_loop().call_later(_START_S, self.end)

    def end(self) -> None:
        if self._turns is not None:
            self._timer.cancel()
            self._turns.release()
            self._turns = None


class LogFile:
    """A text file of bounded size: when full it becomes `<name>.1` and a new one begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab")

    def write(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()
        if self._file.tell() > limits.CHILD_LOG_BYTES_MAX:
            self._file.close()
            self._path.replace(self._path.with_suffix(".log.1"))
            self._file = self._path.open("ab")

    def __enter__(self) -> LogFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _code(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
