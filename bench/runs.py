"""A program under measurement: a process that prints `first`, `half` and `end` with its wall and CPU seconds."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

RUN_S_MAX = 900
STOP_S_MAX = 30
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """Of one run: wall and CPU seconds per million records, whole and over the second half, and the peak RSS."""

    cpu_s: float
    warm_cpu_s: float
    warm_rate: float
    """Records a second over the second half."""
    start_s: float
    """From the start of the process to its first record."""
    rss_mib: float


def run(command: list[str], records: int) -> Run:
    """Runs the program to its `end` and stops it. Errors: RuntimeError with what it printed."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watchdog = threading.Timer(RUN_S_MAX, process.kill)
    watchdog.start()
    marks: dict[str, tuple[float, float]] = {}
    said: list[str] = []
    first_s = rss = 0.0
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            name, *figures = line.split()
            if name in ("first", "half", "end") and len(figures) == 2:
                marks[name] = (float(figures[0]), float(figures[1]))
            if name == "first":
                first_s = time.monotonic() - began
            if name == "end":
                rss = peak_rss_bytes(process.pid) / MIB
                break
        stop(process)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
    if len(marks) < 3:
        raise RuntimeError(f"{command[0]} did not come to its end: {''.join(said)[-2000:]}")
    million = records / 1e6
    (half_wall, half_cpu), (end_wall, end_cpu) = marks["half"], marks["end"]
    warm = million / 2
    return Run(end_cpu / million, (end_cpu - half_cpu) / warm, records / 2 / (end_wall - half_wall), first_s, rss)


def stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=STOP_S_MAX)
    except subprocess.TimeoutExpired:
        print(f"pid {process.pid} did not end within {STOP_S_MAX} s of SIGTERM", file=sys.stderr)


def peak_rss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
