"""Retention: what is older than a Datastream keeps is deleted, in slices between other writes.

A Datastream's own `retention_ms` wins over its system's, that over the default; 0 keeps everything. Age is that of the
phenomenonTime (of an interval: its end), as history is asked by it; the log's topics have a retention of their own.

With each slice go its counts: `n`, `t_min`, and the other edges where the slice touches them. What only a look at all
that is left can tell (`resultTime`'s edges, which features are still used) is done after the last slice, at once for
few rows; for many of them in a read of its own, while others write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import sqlalchemy as sa

from twinstack.core import limits
from twinstack.core.errors import InvalidInput, NotFound, TwinstackError
from twinstack.sensorthings.store import aggregates, features
from twinstack.sensorthings.store.store import Store
from twinstack.sensorthings.store.tables import datastream, datastream_feature, datastream_stat, observation, system
from twinstack.sensorthings.store.transaction import Tx

KEEP_ALL = 0
_o = observation.c
_END = sa.func.coalesce(_o.t_end, _o.t)


class Due(NamedTuple):
    """A Datastream with Observations that end before `before` (us since 1970 UTC)."""

    datastream_id: int
    before: int


@dataclass(slots=True)
class Deleted:
    observations: int = 0
    datastreams: set[int] = field(default_factory=set)


def due(connection: sa.Connection, now_us: int, default_ms: int | None) -> list[Due]:
    """Where something may be deleted now; `default_ms` None keeps everything."""
    d, s = datastream.c, datastream_stat.c
    keep = sa.func.coalesce(d.retention_ms, system.c.retention_ms, default_ms or KEEP_ALL)
    query = (
        sa.select(s.datastream_id, keep.label("keep_ms"))
        .join(datastream, d.id == s.datastream_id)
        .join(system, system.c.id == d.system_id)
        .where(keep > 0, s.t_min < now_us - keep * 1_000)
        .order_by(s.datastream_id)
    )
    return [Due(row.datastream_id, now_us - row.keep_ms * 1_000) for row in connection.execute(query)]


def run(
    store: Store,
    default_ms: int | None,
    *,
    stopped: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] | None = None,
) -> Deleted:
    """Deletes everything that is due, until it is done or `stopped`. Errors: those of the store."""
    deleted = Deleted()
    with store.reader() as connection:
        waiting = due(connection, store.clock(), default_ms)
    for one in waiting:
        while not stopped():
            n, more = store.write(lambda tx, one=one: slice_(tx, one), emits=False).result()  # type: ignore[misc]
            deleted.observations += n
            if n:
                deleted.datastreams.add(one.datastream_id)
            if progress is not None:
                progress(deleted.observations)
            if not more:
                break
        if one.datastream_id in deleted.datastreams:
            _settle(store, one.datastream_id)
    return deleted


def slice_(tx: Tx, one: Due) -> tuple[int, bool]:
    """Deletes at most one slice of a Datastream: how many rows, and whether more may be left."""
    connection = tx.connection
    stream = aggregates.streams(connection, [one.datastream_id]).get(one.datastream_id)
    if stream is None:
        return 0, False  # deleted meanwhile
    old = (_o.datastream_id == one.datastream_id) & (_o.t < one.before) & (one.before > _END)
    some = sa.select(_o.id).where(old).order_by(_o.t).limit(limits.CASCADE_SLICE_ROWS)
    n = connection.execute(sa.delete(observation).where(_o.id.in_(some))).rowcount
    if n:
        stream.n -= n
        aggregates.refresh(connection, stream, gone_before=one.before)
    return n, n == limits.CASCADE_SLICE_ROWS


def _settle(store: Store, datastream_id: int) -> None:
    """The edges of `resultTime`, and the features that are still used."""
    r_edges = sa.func.min(_o.result_time), sa.func.max(_o.result_time)
    with store.reader() as connection:
        stream = aggregates.streams(connection, [datastream_id]).get(datastream_id)
        if stream is None:
            return
        if stream.n > limits.CASCADE_ROWS_MAX:
            seen = connection.execute(sa.select(sa.func.coalesce(sa.func.max(_o.id), 0))).scalar_one()
            mine = (_o.datastream_id == datastream_id) & (_o.id <= seen)
            low, high = connection.execute(sa.select(*r_edges).where(mine)).one()
            used = set(connection.execute(sa.select(_o.feature_id).where(mine).distinct()).scalars())
        else:
            seen, low, high, used = 0, None, None, set()
    before = (stream.r_min, stream.r_max)

    def work(tx: Tx) -> None:
        now = aggregates.streams(tx.connection, [datastream_id]).get(datastream_id)
        if now is None:
            return
        later = (_o.datastream_id == datastream_id) & (_o.id > seen)
        if seen == 0 or (now.r_min, now.r_max) == before:
            late_low, late_high = tx.connection.execute(sa.select(*r_edges).where(later)).one()
            now.r_min = min((r for r in (low, late_low) if r is not None), default=None)
            now.r_max = max((r for r in (high, late_high) if r is not None), default=None)
            aggregates.write(tx.connection, [now])
        late = tx.connection.execute(sa.select(_o.feature_id).where(later).distinct()).scalars()
        _forget_features(tx.connection, datastream_id, used | set(late))

    store.write(work, emits=False).result()


def _forget_features(connection: sa.Connection, datastream_id: int, used: set[int | None]) -> None:
    c = datastream_feature.c
    having = connection.execute(sa.select(c.feature_id).where(c.datastream_id == datastream_id)).scalars().all()
    unused = [feature_id for feature_id in having if feature_id not in used]
    for feature_id in unused:
        connection.execute(
            sa.delete(datastream_feature).where(c.datastream_id == datastream_id, c.feature_id == feature_id)
        )
    if unused:
        features.recompute_box(connection, [datastream_id])


# --- settings -------------------------------------------------------------------------------------------------------
class Kept(NamedTuple):
    """What is set for a system or a Datastream; None is the default."""

    kind: str
    name: str
    retention_ms: int | None


def kept(connection: sa.Connection) -> list[Kept]:
    """Everything that has a retention of its own."""
    found = [
        Kept("system", row.name, row.retention_ms)
        for row in connection.execute(
            sa.select(system.c.name, system.c.retention_ms)
            .where(system.c.retention_ms.is_not(None))
            .order_by(system.c.name)
        )
    ]
    d = datastream.c
    query = sa.select(d.log_key, d.retention_ms).where(d.retention_ms.is_not(None)).order_by(d.log_key)
    return found + [Kept("datastream", row.log_key, row.retention_ms) for row in connection.execute(query)]


def keep(tx: Tx, name: str, retention_ms: int | None) -> Kept:
    """Sets it for a system, or for a Datastream by its log key. Errors: NotFound, InvalidInput."""
    if retention_ms is not None and retention_ms < 0:
        raise InvalidInput("History cannot be kept for less than no time.", fix="Use 0 to keep everything.")
    set_it = sa.update(system).where(system.c.name == name)
    values = {"retention_ms": retention_ms, "version": system.c.version + 1, "updated_at": tx.now_us}
    if tx.connection.execute(set_it.values(values)).rowcount:
        return Kept("system", name, retention_ms)
    streams = sa.update(datastream).where(datastream.c.log_key == name, datastream.c.copy_of.is_(None))
    if tx.connection.execute(streams.values(retention_ms=retention_ms)).rowcount:
        return Kept("datastream", name, retention_ms)
    error: TwinstackError = NotFound(f"There is no system or Datastream '{name}'.", fix="Give its full name.")
    raise error
