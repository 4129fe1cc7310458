"""What callers hand to the writer, and the merged transaction it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import apsw

from twinstack.log.packed.transport import Membership

Done = Callable[[Any], None]
"""Called once, on the writer thread, with the result or the error; must not block."""


T = TypeVar("T")

Step = Callable[[apsw.Connection], Callable[[], T]]
"""An action of the writer: changes the file and returns what changes memory after COMMIT and gives the result."""


class Row(NamedTuple):
    """A batch to append; `topic` and `partition` are checked again by the writer, who alone knows what still exists."""

    topic: str
    partition: int
    records: int
    newest_ms: int
    blob: bytes


class Retry(NamedTuple):
    """Idempotence of a producer: the same sequence again gets the former answer."""

    producer: str
    sequence: int


class Owner(NamedTuple):
    """A transactional id in the hand of one owner."""

    id: str
    epoch: int
    sequence: int


class Offsets(NamedTuple):
    """Next offsets (by partition id) to store for a group; `outside` = not checked against the group's members."""

    group: str
    membership: Membership | None
    next: Mapping[int, int]


class Write:
    """Rows and offsets that are stored together or not at all. The result is the first offset of each row."""

    __slots__ = ("bytes", "done", "identity", "offsets", "rows")

    def __init__(
        self,
        rows: Sequence[Row],
        done: Done,
        identity: Retry | Owner | None = None,
        offsets: Offsets | None = None,
    ) -> None:
        self.rows = rows
        self.done = done
        self.identity = identity
        self.offsets = offsets
        self.bytes = sum(len(row.blob) for row in rows)


class Action:
    """Something else in a transaction of its own: `run(connection)` may return a function to call after COMMIT, whose
    result is the call's result."""

    __slots__ = ("bytes", "done", "run")

    def __init__(self, run: Callable[[apsw.Connection], Any], done: Done) -> None:
        self.run = run
        self.done = done
        self.bytes = 0


class Plan:
    """A merged transaction, laid out before BEGIN."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int, int, int, bytes]] = []
        self.next: dict[int, int] = {}
        self.peak_ms: dict[int, int] = {}
        self.loose: dict[int, int] = {}
        self.producers: dict[str, tuple[int, list[int], int]] = {}
        self.owners: dict[str, tuple[int, int]] = {}
        self.offsets: dict[tuple[str, int], int] = {}
        self.outcomes: list[tuple[Write, Any]] = []
