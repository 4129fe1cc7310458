"""What a task and a stateful operator say to each other.

An operator is fed batches of rows that already went through the view, FILTER and decoding, and the watermarks that hold
behind them. It gives what is settled now, what goes to the dead letters, and, when a transaction ends, the net changes
of its state as records of a compacted topic. An operator made anew and restored from those records goes on exactly as
the old one would have. It does no I/O, reads no clock and raises for no row.

A task drives it like this:

    operator = Join(plan)                       # fresh: also after every abort, nothing is ever patched
    operator.restore(records)                   # what the state topic holds; nothing on a first start
    step = operator.process((), watermarks)     # after a restore: goes on with what was cut short by `limit`
    step = operator.process([rows, ...], watermarks)     # for each batch
    while step.more:                            # a transaction may end between any two calls
        step = operator.process((), watermarks)
    changes = operator.changes()                # before each commit: key -> value, None is a tombstone

Nothing depends on how rows are cut into batches, nor on the order in which partitions arrive, as long as no partition
was declared idle and no limit was met: then also not on restarts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from twinstack.core import limits

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

LEFT, RIGHT = 0, 1
BEGINNING_US = -(2**62)
"""The watermark of a side from which nothing was read yet."""
END_US = 2**62
"""The watermark of a side from which nothing can come any more: everything settles."""

LATE, UNPAIRED, FAN_OUT = "late", "unpaired", "fan_out"
"""Reasons of letters. A record of the future (`future`) is judged against its own log timestamp, before an operator."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one side in the order of arrival; all columns have one length.

    `keys`: what `encode_key` made of the ON values (None: one of them is NULL; counted, never paired), `encode_group`
    of those of GROUP BY.
    `times_us`: event time. `sources`, `offsets`: where the record stands on the log, `source_code` and offset; with the
    event time they order rows of one key and side, so they are unique within a side.
    `values`: every other column that is needed behind the operator (results, places, the record's id, names), as
    `as_values` makes them: float64 (NaN is NULL), int64 (never NULL) or objects (None is NULL).
    `highs_us`: the greatest event time read from the record's source partition up to and with this record, those
    included that FILTER took out; needed only by operators with `clock='key'`.
    """

    side: int
    keys: Sequence[bytes | None]
    times_us: Integers
    sources: Integers
    offsets: Integers
    values: Mapping[str, Array] = field(default_factory=dict)
    highs_us: Integers | None = None

    def __len__(self) -> int:
        return len(self.times_us)


@dataclass(frozen=True, slots=True)
class Watermarks:
    """What holds after the rows of the same call: no row of a side comes any more whose time is less than `sides[side]`
    (grace subtracted, least over the side's source partitions). A watermark never falls; a lesser one is ignored.

    `highs_us`: per `source_code` the greatest event time read, needed only by operators with `clock='key'`. For a
    partition that was declared idle: what it would be if it had kept up with the others.
    """

    sides: tuple[int, ...]
    highs_us: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Block:
    """Rows as they came in, of one side."""

    keys: Sequence[bytes | None]
    times_us: Integers
    sources: Integers
    offsets: Integers
    values: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.times_us)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Settled pairs: row i of `left` belongs to row i of `right`, with equal keys. Of one call and key they stand in
    the order of (left, right)."""

    left: Block
    right: Block

    def __len__(self) -> int:
        return len(self.left)


@dataclass(frozen=True, slots=True)
class Windows:
    """Closed windows `[start, end)` in the order of (end, start, key); `values` has a column for each aggregate."""

    keys: Sequence[bytes]
    starts_us: Integers
    ends_us: Integers
    values: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.starts_us)


@dataclass(frozen=True, slots=True)
class Letters:
    """Rows of one side that go to the dead letters, all for one reason.

    `places`: for rows that were judged on arrival (`late`) their places in the batch `rows[batch]` of the call, so that
    the record itself can be kept; None for rows that leave the state, of which only the block's columns are left.
    """

    reason: str
    side: int
    block: Block
    batch: int | None = None
    places: Integers | None = None


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """`kind`: 'neighbour' (both neighbours of each row of both sides) or 'asof' (of each left row the last right row
    that is not later). `within_us`: how far apart the two of a pair may be at most.

    `rows_max`, `bytes_max`: above these the oldest rows leave as `unpaired`.
    """

    name: str = "join"
    kind: str = "neighbour"
    within_us: int = limits.JOIN_WITHIN_US
    rows_max: int = limits.JOIN_ROWS_MAX
    bytes_max: int = limits.JOIN_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One aggregate of SELECT or HAVING.

    `function`: count, sum, avg, min, max, first, last, stddev, median, percentile, count_distinct.
    `column`: the name in `Rows.values` of its argument; None for COUNT(*), and for the row's own time 'time'.
    `kind`: what of the column counts, 'number', 'string', 'time', 'bool', or 'any' (count, first, last,
    count_distinct); a value of another kind is NULL. `fraction`: of percentile, 0 to 1.
    """

    name: str
    function: str
    column: str | None = None
    kind: str = "number"
    fraction: float = 0.5


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """`TUMBLE` (slide = size) or `HOP`, aligned to 1970 UTC.

    `clock`: 'side' closes windows by the side's watermark. 'key' is for keys that each come from one source partition
    (GROUP BY the Datastream): each key has a clock of its own, its greatest event time, which goes on with the
    partition's since its last record; less `grace_us` it closes the key's windows and judges what is late. So a device
    that was cut off and sends a day's buffer at once loses nothing of it but what belongs to windows that were closed
    meanwhile.

    `panes_max`, `bytes_max`: above these the oldest panes leave as `unpaired`, and their windows do not come out.
    """

    size_us: int
    slide_us: int
    aggregates: tuple[Aggregate, ...]
    name: str = "window"
    clock: str = "side"
    grace_us: int = 0
    panes_max: int = limits.WINDOW_PANES_MAX
    bytes_max: int = limits.WINDOW_BYTES_MAX


S = TypeVar("S", Pairs, Windows)


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """What one call gave. `more`: the output was cut at the call's limit; call again with the same watermarks, without
    rows. `null_keys`, `arithmetic`: counts for the app's counters."""

    settled: S
    letters: Sequence[Letters] = ()
    null_keys: int = 0
    arithmetic: int = 0
    more: bool = False


class Stateful(Protocol[S]):
    """A join or a GROUP BY; see this module's own text for the order of the calls."""

    def process(
        self, rows: Sequence[Rows], watermarks: Watermarks, limit: int = limits.TASK_OUTPUT_RECORDS_MAX
    ) -> Step[S]:
        """Takes rows, then the watermarks, and gives what is settled by both.

        `limit`: about how many settled rows one call gives at most; each incoming row may add two, and what settles at
        one and the same moment is not cut (at most `limits.FAN_OUT_MAX` rows for one record).
        """
        ...

    def changes(self) -> dict[bytes, bytes | None]:
        """The state records to write since the last call, net: only what differs now. Keys begin with
        `k/<operator>/` or `b/<operator>/`, the operator's name in its plan."""
        ...

    def restore(self, records: Mapping[bytes, bytes]) -> None:
        """Takes the state that `changes` wrote. Only on a fresh operator. Keys of other operators are skipped.

        Errors: CorruptState.
        """
        ...

    @property
    def watermarks_us(self) -> tuple[int, ...]:
        """Per side what the operator has been told; part of its state."""
        ...

    @property
    def settled_us(self) -> int:
        """Nothing more comes out whose time (of a pair the later one, of a window its end) is less than this: the
        watermark for what stands behind the operator."""
        ...

    @property
    def rows(self) -> int:
        """Rows (of a window operator: panes) that are held."""
        ...

    @property
    def nbytes(self) -> int:
        """About the memory that is held."""
        ...


@dataclass(frozen=True, slots=True)
class Previous:
    """Of each row of a batch its key's record before it, aligned with the rows.

    `valid`: False where there is none or its time is not earlier (`PREV`, `DELTA`, `RATE` are NULL there, all values
    too). `elapsed_us`: the time between, 1 where not valid. `values`: the previous record's columns.
    """

    valid: Mask
    elapsed_us: Integers
    values: Mapping[str, Array]


class Predecessors(Protocol):
    """PREV: the record before this one of the same key in log order, before WHERE. State as of `Stateful`."""

    def process(self, rows: Rows) -> Previous: ...

    def changes(self) -> dict[bytes, bytes | None]: ...

    def restore(self, records: Mapping[bytes, bytes]) -> None: ...


def source_code(topic_rank: int, partition: int) -> int:
    """A source partition as one integer that orders as (topic, partition) do.

    `topic_rank` is the topic's place among all topics of the revision, sorted by name.
    """
    return topic_rank << 32 | partition


def as_values(items: Sequence[Any]) -> Array:
    """JSON values (or bytes) as a column of `Rows.values`: float64 if all are FLOAT or NULL, int64 if all are INT of 64
    bits, else objects. A value keeps its kind: 1 and 1.0 side by side stay what they are."""
    kinds = set(map(type, items))
    if kinds == {int}:
        try:
            return np.array(items, np.int64)
        except OverflowError:
            return objects(items)
    if kinds == {float}:
        return np.array(items, np.float64)
    if kinds == {float, type(None)}:
        return np.array([np.nan if item is None else item for item in items], np.float64)
    return objects(items)


def objects(items: Iterable[Any]) -> Array:
    """An array of Python's own objects, one an item, also where items are lists."""
    return np.fromiter(items, np.object_)
