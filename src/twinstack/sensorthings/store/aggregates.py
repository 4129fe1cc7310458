"""The aggregates of Datastreams (`datastream_stat`): counts, edges and the latest Observation, kept with each write."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from twinstack.sensorthings.store.prepared import Prepared, ids, in_ids
from twinstack.sensorthings.store.tables import datastream, datastream_stat, observation, system
from twinstack.sensorthings.store.values import NewObservation, start_of


@dataclass(slots=True)
class Stream:
    """What a group needs to know of one Datastream, and its aggregates as they will be after the group."""

    id: int
    system_id: int
    system: str
    log_key: str
    observation_type: str
    copy: bool
    multi_types: str | list[str] | None
    """Of a MultiDatastream: the observationType of each member of its results (JSON text on SQLite)."""
    n: int
    t_min: int | None
    t_max: int | None
    r_min: int | None
    r_max: int | None
    latest_id: int | None
    latest_t: int | None

    @property
    def multi(self) -> bool:
        return self.multi_types is not None

    @property
    def types(self) -> list[str]:
        types = self.multi_types
        return json.loads(types) if isinstance(types, str) else types or []

    def add(self, observation_id: int, row: NewObservation) -> None:
        end = row.t if row.t_end is None else row.t_end
        self.n += 1
        self.t_min = row.t if self.t_min is None or row.t < self.t_min else self.t_min
        self.t_max = end if self.t_max is None or end > self.t_max else self.t_max
        if (r := row.result_time) is not None:
            self.r_min = r if self.r_min is None or r < self.r_min else self.r_min
            self.r_max = r if self.r_max is None or r > self.r_max else self.r_max
        # The row that `$orderby=phenomenonTime desc` gives first: greatest time, then lowest id.
        if self.latest_t is None or row.t > self.latest_t or (row.t == self.latest_t and _less(observation_id, self)):
            self.latest_t, self.latest_id = row.t, observation_id


def _less(observation_id: int, stream: Stream) -> bool:
    return stream.latest_id is None or observation_id < stream.latest_id


_s, _d = datastream_stat.c, datastream.c
_STREAMS = Prepared(
    sa.select(
        _d.id,
        _d.system_id,
        system.c.name,
        _d.log_key,
        _d.observation_type,
        _d.copy_of.is_not(None),
        _d.multi_types,
        _s.n,
        _s.t_min,
        _s.t_max,
        _s.r_min,
        _s.r_max,
        _s.latest_id,
        _s.latest_t,
    )
    .join(datastream, _d.id == _s.datastream_id)
    .join(system, system.c.id == _d.system_id)
    .where(in_ids(_s.datastream_id))
)
_AGGREGATES = ("n", "t_min", "t_max", "r_min", "r_max", "latest_id", "latest_t")
_UPDATE_COLUMNS = (*(f"new_{name}" for name in _AGGREGATES), "of")
_UPDATE_STAT = Prepared(
    sa.update(datastream_stat)
    .where(_s.datastream_id == sa.bindparam("of"))
    .values({name: sa.bindparam(f"new_{name}") for name in _AGGREGATES})
)


def streams(connection: sa.Connection, datastream_ids: Sequence[int]) -> dict[int, Stream]:
    return {row[0]: Stream(*row) for row in _STREAMS.rows(connection, ids=ids(datastream_ids))}


def recompute(connection: sa.Connection, datastream_id: int) -> None:
    """The aggregates of one Datastream from all its rows: after many of them went."""
    stream = streams(connection, [datastream_id])[datastream_id]
    o = observation.c
    stream.n = connection.execute(sa.select(sa.func.count()).where(o.datastream_id == datastream_id)).scalar_one()
    for name, column in _EDGES.items():
        setattr(stream, name, _edge(connection, datastream_id, column))
    _latest(connection, stream)
    write(connection, [stream])


def forget(connection: sa.Connection, row: Any) -> None:
    """Takes a row that was deleted or moved out of its Datastream's aggregates. Only the edges it lay on are read
    again: `t_min` and `latest` by index, the others by reading the Datastream."""
    stream = streams(connection, [row.datastream_id])[row.datastream_id]
    stream.n -= 1
    t = start_of(row)
    end = t if row.t_end is None else row.t_end
    for name, value in (("t_min", t), ("t_max", end), ("r_min", row.result_time), ("r_max", row.result_time)):
        if value is not None and getattr(stream, name) == value:
            setattr(stream, name, _edge(connection, stream.id, _EDGES[name]))
    if stream.latest_id == row.id:
        _latest(connection, stream)
    write(connection, [stream])


def refresh(connection: sa.Connection, stream: Stream, *, gone_before: int) -> None:
    """After the oldest rows of a Datastream went, all of which ended before `gone_before`; its `n` is right already.
    Read again is what lay there, by index; the edges of the result time are left to the caller."""
    stream.t_min = _edge(connection, stream.id, _EDGES["t_min"])
    if stream.t_max is not None and stream.t_max < gone_before:
        stream.t_max = _edge(connection, stream.id, _EDGES["t_max"])
    if stream.latest_t is not None and stream.latest_t < gone_before:
        _latest(connection, stream)
    write(connection, [stream])


def remember(connection: sa.Connection, observation_id: int, row: NewObservation) -> None:
    """Adds a row that was moved or changed to its Datastream's aggregates."""
    stream = streams(connection, [row.datastream_id])[row.datastream_id]
    stream.add(observation_id, row)
    write(connection, [stream])


_EDGES: dict[str, sa.ColumnElement[Any]] = {
    "t_min": sa.func.min(observation.c.t),
    "t_max": sa.func.max(sa.func.coalesce(observation.c.t_end, observation.c.t)),
    "r_min": sa.func.min(observation.c.result_time),
    "r_max": sa.func.max(observation.c.result_time),
}


def _edge(connection: sa.Connection, datastream_id: int, column: sa.ColumnElement[Any]) -> int | None:
    query = sa.select(column).where(observation.c.datastream_id == datastream_id)
    return connection.execute(query).scalar_one()  # type: ignore[no-any-return]


def _latest(connection: sa.Connection, stream: Stream) -> None:
    o = observation.c
    query = sa.select(o.id, o.t).where(o.datastream_id == stream.id).order_by(o.t.desc(), o.id).limit(1)
    row = connection.execute(query).one_or_none()
    stream.latest_id = row.id if row else None
    stream.latest_t = start_of(row) if row else None


_values = attrgetter(*_AGGREGATES)


def write(connection: sa.Connection, changed: Iterable[Stream]) -> None:
    """Writes the aggregates back, in the order of ids: every writer locks them in the same order."""
    ordered = sorted(changed, key=lambda s: s.id)
    _UPDATE_STAT.many(connection, _UPDATE_COLUMNS, [(*_values(s), s.id) for s in ordered])
