"""Event time of a stage: how far each source partition has come, and the watermark of each side that follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from twinstack.streams.onward import Mark
from twinstack.streams.operators.seam import BEGINNING_US, Watermarks


class SourceClocks:
    """`sides`: the source partitions of each side, as source codes. A partition of which nothing was heard holds its
    side at the beginning; an idle one is where it would be if it had kept up with those that are not."""

    def __init__(self, sides: Sequence[Iterable[int]], grace_us: int) -> None:
        self._sides = [tuple(side) for side in sides]
        self._grace_us = grace_us
        self._marks = {source: Mark(source, BEGINNING_US, False) for side in self._sides for source in side}

    def hear(self, marks: Iterable[Mark]) -> None:
        """A source that the plan does not know is of an older layout and counts no more."""
        for mark in marks:
            known = self._marks.get(mark.source)
            if known is not None:
                self._marks[mark.source] = mark._replace(high_us=max(mark.high_us, known.high_us))

    @property
    def marks(self) -> list[Mark]:
        """What was heard, for the state."""
        return [mark for mark in self._marks.values() if mark.idle or mark.high_us > BEGINNING_US]

    def watermarks(self) -> Watermarks:
        highs = self._highs()
        sides = tuple(self._less_grace(min((highs[s] for s in side), default=BEGINNING_US)) for side in self._sides)
        return Watermarks(sides, highs)

    def _highs(self) -> Mapping[int, int]:
        active = [mark.high_us for mark in self._marks.values() if not mark.idle]
        level = min(active) if active else max((mark.high_us for mark in self._marks.values()), default=BEGINNING_US)
        return {s: max(m.high_us, level) if m.idle else m.high_us for s, m in self._marks.items()}

    def _less_grace(self, high_us: int) -> int:
        return high_us - self._grace_us if high_us > BEGINNING_US else BEGINNING_US
