"""Which row of the source is which row here. Everything is read and written in the transaction that uses it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from twinstack.core.errors import Conflict
from twinstack.sensorthings.store.tables import transfer_id, transfer_position, transfer_range

_IN_MAX = 1_000
T = TypeVar("T")


def parts(values: Collection[T]) -> Iterator[list[T]]:
    """Lists short enough for one `IN`."""
    ordered = list(values)
    for start in range(0, len(ordered), _IN_MAX):
        yield ordered[start : start + _IN_MAX]


class Transfer:
    """One source: a store by its uuid, a server by its address."""

    def __init__(self, source: str) -> None:
        self.source = source

    def known(self, connection: sa.Connection, kind: str, ids: Collection[Any]) -> dict[str, int]:
        """Source id -> own id, for those that came before."""
        c = transfer_id.c
        found: dict[str, int] = {}
        for some in parts({str(i) for i in ids}):
            query = sa.select(c.source_id, c.own_id).where(
                c.source == self.source, c.kind == kind, c.source_id.in_(some)
            )
            found.update((row.source_id, row.own_id) for row in connection.execute(query))
        return found

    def add(self, connection: sa.Connection, kind: str, pairs: Mapping[str, int]) -> None:
        if pairs:
            rows = [
                {"source": self.source, "kind": kind, "source_id": theirs, "own_id": ours}
                for theirs, ours in pairs.items()
            ]
            connection.execute(sa.insert(transfer_id), rows)

    # --- Observations -----------------------------------------------------------------------------------------------
    def known_range(self, connection: sa.Connection, lo: int, hi: int) -> dict[int, int]:
        """Source id -> own id of the Observations from lo to hi that came before."""
        c = transfer_range.c
        first = sa.select(sa.func.max(c.lo)).where(c.source == self.source, c.lo <= lo).scalar_subquery()
        query = sa.select(c.lo, c.n, c.own_lo).where(
            c.source == self.source, c.lo <= hi, c.lo >= sa.func.coalesce(first, lo)
        )
        return {
            start + i: own + i
            for start, n, own in connection.execute(query)
            for i in range(max(0, lo - start), min(n, hi - start + 1))
        }

    def known_observations(self, connection: sa.Connection, ids: Collection[int]) -> dict[str, int]:
        """Source id -> own id of Observations anywhere, as `known` gives it for everything else."""
        found: dict[str, int] = {}
        for one in ids:
            found.update((str(theirs), ours) for theirs, ours in self.known_range(connection, one, one).items())
        return found

    def add_range(self, connection: sa.Connection, theirs: Sequence[int], ours: Sequence[int]) -> None:
        """Pairs in ascending order of the source's ids, kept as runs."""
        runs: list[list[int]] = []
        for their, our in zip(theirs, ours, strict=True):
            if runs and their == runs[-1][0] + runs[-1][1] and our == runs[-1][2] + runs[-1][1]:
                runs[-1][1] += 1
            else:
                runs.append([their, 1, our])
        if runs and self._lengthens(connection, runs[0]):
            del runs[0]
        if runs:
            connection.execute(
                sa.insert(transfer_range),
                [{"source": self.source, "lo": lo, "n": n, "own_lo": own} for lo, n, own in runs],
            )

    def _lengthens(self, connection: sa.Connection, run: list[int]) -> bool:
        """Whether the run went into the one that ends where it begins."""
        c = transfer_range.c
        lo, n, own = run
        before = sa.select(sa.func.max(c.lo)).where(c.source == self.source, c.lo < lo).scalar_subquery()
        longer = (
            sa.update(transfer_range)
            .where(c.source == self.source, c.lo == before, c.lo + c.n == lo, c.own_lo + c.n == own)
            .values(n=c.n + n)
        )
        return bool(connection.execute(longer).rowcount)

    # --- how far ----------------------------------------------------------------------------------------------------
    def position(self, connection: sa.Connection, part: str) -> str | None:
        c = transfer_position.c
        query = sa.select(c.position).where(c.source == self.source, c.part == part)
        return connection.execute(query).scalar_one_or_none()

    def advance(self, connection: sa.Connection, part: str, before: str | None, after: str) -> None:
        """Errors: Conflict when the position is not `before`: another process moved it."""
        c = transfer_position.c
        if before is None:
            if self.position(connection, part) is not None:
                raise self._overtaken(part)
            connection.execute(sa.insert(transfer_position), {"source": self.source, "part": part, "position": after})
            return
        where = (c.source == self.source) & (c.part == part) & (c.position == before)
        if connection.execute(sa.update(transfer_position).where(where).values(position=after)).rowcount != 1:
            raise self._overtaken(part)

    def _overtaken(self, part: str) -> Conflict:
        return Conflict(
            f"Another process imports or copies the same ({self.source}, {part}).",
            fix="Let one of them run; repeating it later adds nothing twice.",
        )
