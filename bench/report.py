"""What every benchmark prints: one line a measurement, for people or (`--json`) for programs."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Line:
    """`ours` and `peer` in `unit`. Units with "/s" are rates (more is better), all others costs (less is better).
    Without a peer or a goal the line only informs."""

    name: str
    unit: str
    ours: float
    peer: float | None = None
    goal: float | None = None

    @property
    def ratio(self) -> float | None:
        """The peer's cost divided by ours: 1 is equal, 2 is twice as good."""
        if not self.peer or not self.ours:
            return None
        return self.ours / self.peer if "/s" in self.unit else self.peer / self.ours

    @property
    def ok(self) -> bool:
        return self.goal is None or (self.ratio is not None and self.ratio >= self.goal)

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": _rounded(self.ours),
            "peer": _rounded(self.peer),
            "ratio": _rounded(self.ratio),
            "goal": self.goal,
            "ok": self.ok,
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def show(line: Line, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(line.as_dict()), flush=True)
        return
    peer = "" if line.peer is None else f"  peer {line.peer:>14,.1f}"
    ratio = "" if line.ratio is None else f"  ratio {line.ratio:5.2f}"
    goal = "" if line.goal is None else f"  goal {line.goal} {'ok' if line.ok else 'MISSED'}"
    print(f"{line.name:<36} {line.ours:>14,.1f} {line.unit:<10}{peer}{ratio}{goal}", flush=True)


def rate(work: Callable[[], int], *, seconds: float, rounds: int = 3) -> float:
    """The best rate of several rounds: `work` does something and returns how much; it is repeated for `seconds`."""
    best = 0.0
    for _ in range(rounds):
        done, started = 0, time.perf_counter()
        while (spent := time.perf_counter() - started) < seconds:
            done += work()
        best = max(best, done / spent)
    return best


def race(ours: Callable[[], int], peer: Callable[[], int], *, seconds: float, rounds: int = 3) -> tuple[float, float]:
    """The rates of both, in turns, so that a busy moment of the machine meets both."""
    pairs = [(rate(ours, seconds=seconds, rounds=1), rate(peer, seconds=seconds, rounds=1)) for _ in range(rounds)]
    return max(first for first, _ in pairs), max(second for _, second in pairs)


def main(description: str, measure: Callable[[bool], Iterable[Line]]) -> int:
    """The command line of a benchmark; `measure(quick)` yields lines as they are ready. Returns the exit code."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--quick", action="store_true", help="shorter rounds, less exact")
    options = parser.parse_args()
    good = True
    for line in measure(options.quick):
        show(line, as_json=options.json)
        good = good and line.ok
    return 0 if good else 1
