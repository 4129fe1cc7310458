"""Who writes, and what a write answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from twinstack.sensorthings.model import Version

Status = Literal["created", "changed", "unchanged"]


@dataclass(frozen=True, slots=True)
class WriteContext:
    """`system`: the one of the credential or of the header `Twinstack-System`. `lab`: what belongs nowhere goes to
    the default system. `writable`: the systems the actor may write (None = all)."""

    system: str | None = None
    lab: bool = False
    version: Version = "1.1"
    writable: frozenset[str] | None = None
    client: str | None = None

    def may_write(self, system: str) -> bool:
        return self.writable is None or system in self.writable


class Created(NamedTuple):
    """`changed` and `unchanged` answer a POST that repeats the name of a registered system's entity."""

    id: int
    status: Status
