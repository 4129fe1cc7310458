"""seam.Batch over a packed batch: a window on its columns."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from twinstack.log.packed.format import Columns
from twinstack.log.seam import Headers


class PackedBatch:
    """Records `low` to `high` (indexes) of a stored batch that starts at offset `base` and spans `span` offsets."""

    __slots__ = ("_base", "_columns", "_high", "_low", "_span", "partition", "topic")

    def __init__(
        self, topic: str, partition: int, base: int, span: int, columns: Columns, low: int = 0, high: int | None = None
    ) -> None:
        self.topic = topic
        self.partition = partition
        self._base = base
        self._span = span
        self._columns = columns
        self._low = low
        self._high = len(columns) if high is None else high

    def __len__(self) -> int:
        return self._high - self._low

    @property
    def values(self) -> list[bytes | None]:
        return self._window(self._columns.values)

    @property
    def keys(self) -> list[bytes | None]:
        return self._columns.keys[self._low : self._high]

    @property
    def headers(self) -> list[Headers]:
        return self._columns.headers[self._low : self._high]

    def headers_at(self, indices: Sequence[int]) -> list[Headers]:
        headers, low = self._columns.headers, self._low
        return [headers[low + i] for i in indices]

    @property
    def timestamps_ms(self) -> list[int]:
        return self._columns.timestamps_ms[self._low : self._high]

    @property
    def offsets(self) -> list[int]:
        base = self._base
        if self._columns.dense:
            return list(range(base + self._low, base + self._high))
        return [base + offset for offset in self._columns.offsets[self._low : self._high]]

    @property
    def next_offset(self) -> int:
        if self._high == len(self._columns):
            return self._base + self._span
        return self._base + self._columns.offsets[self._high]

    def _window(self, column: list[bytes | None]) -> list[bytes | None]:
        whole = self._low == 0 and self._high == len(self._columns)
        return column if whole else column[self._low : self._high]

    def split(self, records: int) -> tuple[PackedBatch, PackedBatch]:
        """The first `records` of this window, and the rest."""
        middle = self._low + records
        parts = ((self._low, middle), (middle, self._high))
        first, rest = (
            PackedBatch(self.topic, self.partition, self._base, self._span, self._columns, low, high)
            for low, high in parts
        )
        return first, rest

    def since(self, offset: int) -> PackedBatch:
        """Without the records before `offset`."""
        if offset <= self._base:
            return self
        if self._columns.dense:
            low = min(offset - self._base, len(self._columns))
        else:
            low = bisect_left(self._columns.offsets, offset - self._base)
        return PackedBatch(self.topic, self.partition, self._base, self._span, self._columns, low, self._high)
