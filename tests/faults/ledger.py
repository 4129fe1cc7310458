"""The ledger of a fault run: what was acknowledged against what is on the log, at the target and in history.

An observation is (Datastream, n): every Datastream counts 0, 1, 2, ... in its results, in the order of producing. An
observation whose call broke off without an answer may be there or not, but not twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

Place = dict[str, list[int]]
"""Datastream -> the numbers found there, in order."""


@dataclass
class Difference:
    missing: int = 0
    extra: int = 0
    duplicate: int = 0
    disorder: int = 0
    samples: list[str] = field(default_factory=list)

    @property
    def none(self) -> bool:
        return not (self.missing or self.extra or self.duplicate or self.disorder)

    def as_dict(self) -> dict[str, Any]:
        counts = {"missing": self.missing, "extra": self.extra, "duplicate": self.duplicate, "disorder": self.disorder}
        return {**counts, "samples": self.samples[:10]} if self.samples else counts


def compare(found: Place, wanted: Place, maybe: Place | None = None, *, ordered: bool = True) -> Difference:
    """`found` must hold each number of `wanted` once, of `maybe` at most once, no others, in order."""
    difference = Difference()
    maybe = maybe or {}
    for stream in sorted({*found, *wanted, *maybe}):
        there = Counter(found.get(stream, ()))
        must = set(wanted.get(stream, ()))
        may = must | set(maybe.get(stream, ()))
        _note(difference, "missing", stream, sorted(must - set(there)))
        _note(difference, "extra", stream, sorted(set(there) - may))
        _note(difference, "duplicate", stream, sorted(n for n, times in there.items() if times > 1))
        if ordered:
            numbers = found.get(stream, [])
            _note(difference, "disorder", stream, [b for a, b in pairwise(numbers) if b < a])
    return difference


def _note(difference: Difference, kind: str, stream: str, numbers: list[int]) -> None:
    if numbers:
        setattr(difference, kind, getattr(difference, kind) + len(numbers))
        difference.samples.append(f"{kind} {stream}: {numbers[:5]}{' ...' if len(numbers) > 5 else ''}")


def keep(place: Place, passes: Callable[[int], bool]) -> Place:
    return {stream: [n for n in numbers if passes(n)] for stream, numbers in place.items()}


def size(place: Place) -> int:
    return sum(len(numbers) for numbers in place.values())


@dataclass
class Ledger:
    log: str
    seed: int
    kills: dict[str, int]
    failpoints_reached: list[str]
    failpoints_missed: list[str]
    acknowledged: int
    unanswered: int
    counts: dict[str, int]
    differences: dict[str, Difference]
    seconds: float

    @property
    def clean(self) -> bool:
        return all(d.none for d in self.differences.values()) and not self.failpoints_missed

    def as_dict(self) -> dict[str, Any]:
        return {
            "log": self.log,
            "seed": self.seed,
            "clean": self.clean,
            "kills": self.kills,
            "failpoints_reached": self.failpoints_reached,
            "failpoints_missed": self.failpoints_missed,
            "acknowledged": self.acknowledged,
            "unanswered": self.unanswered,
            **self.counts,
            "differences": {name: d.as_dict() for name, d in self.differences.items()},
            "seconds": round(self.seconds, 1),
        }


def total(kills: Iterable[str]) -> dict[str, int]:
    return dict(Counter(kills))
