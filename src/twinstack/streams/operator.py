"""What a task runs: batches in, records and dead letters out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from twinstack.log.seam import Batch, Headers, OutRecord


@dataclass(slots=True)
class Output:
    """Of one input batch: records for the target as columns of one length, and whole dead letters."""

    values: list[bytes] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    letters: list[OutRecord] = field(default_factory=list)
    arithmetic: int = 0
    """Conditions that were NULL because of an overflow or a division by zero."""


class Operator(Protocol):
    @property
    def topics(self) -> Sequence[str]:
        """The topics that the task reads."""
        ...

    def process(self, batch: Batch) -> Output:
        """Never raises for what stands in a record."""
        ...
