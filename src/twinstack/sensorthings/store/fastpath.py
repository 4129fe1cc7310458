"""The hot path on PostgreSQL: a group of plain Observations is one call of `obs_write`, one round trip with its commit.

Columns go as binary arrays of our own making, through a statement that is planned once; the planner is told to use
indexes, because it otherwise scans the small tables of counters at every commit. Everything that is not plain (a bad
row, a feature that is new to its Datastream, a Datastream just renamed) goes the slow way, which has the words for it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg
import sqlalchemy as sa
from psycopg.pq import ExecStatus

from twinstack.core import limits
from twinstack.core.errors import TwinstackError, Unavailable
from twinstack.core.failpoints import hit
from twinstack.sensorthings.store import outbox
from twinstack.sensorthings.store.aggregates import Stream
from twinstack.sensorthings.store.errors import message, of_sqlstate
from twinstack.sensorthings.store.observations import checked_value
from twinstack.sensorthings.store.outbox import LogRecord, Outgoing
from twinstack.sensorthings.store.tables import datastream, system
from twinstack.sensorthings.store.transaction import ObservationIds
from twinstack.sensorthings.store.types import dumps
from twinstack.sensorthings.store.values import NewObservation, result_columns

_NULL = -(2**63)
_INT32_MAX = 2**31 - 1
_STREAMS_KEPT_MAX = 100_000
_STATEMENT = b"obs_write"
_CALL = b"SELECT obs_write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
_INT2, _INT4, _INT8, _FLOAT8, _TEXT, _BYTEA = 21, 23, 20, 701, 25, 17
_ARRAY_OF = {_INT4: 1007, _INT8: 1016, _FLOAT8: 1022, _TEXT: 1009, _BYTEA: 1001}
_TYPES = [
    *(_ARRAY_OF[t] for t in (_INT8, _INT8, _FLOAT8, _INT4, _INT4, _INT8, _INT8)),
    _TEXT,
    *(_ARRAY_OF[t] for t in (_TEXT, _INT4, _INT4, _INT4, _BYTEA)),
    _INT8,
]
_PLANNER = {
    "plan_cache_mode": "force_generic_plan",
    **{f"enable_{way}": "off" for way in ("seqscan", "hashjoin", "mergejoin", "bitmapscan")},
}
_ELEMENTS = {
    oid: np.dtype([("bytes", ">i4"), ("value", code)])
    for oid, code in ((_INT4, ">i4"), (_INT8, ">i8"), (_FLOAT8, ">f8"))
}
_c = datastream.c
_LOAD = (
    sa.select(_c.id, _c.version, _c.system_id, system.c.name, _c.log_key, _c.observation_type, _c.multi_types)
    .join(system, system.c.id == _c.system_id)
    .where(_c.id.in_(sa.bindparam("wanted", expanding=True)), _c.copy_of.is_(None))
)


def array(oid: int, values: Sequence[Any]) -> bytes:
    """Numbers as PostgreSQL's binary array."""
    if not values:
        return struct.pack(">iii", 0, 0, oid)
    elements = np.empty(len(values), _ELEMENTS[oid])
    elements["value"] = values
    elements["bytes"] = elements.dtype["value"].itemsize
    return struct.pack(">iiiii", 1, 0, oid, len(values), 1) + elements.tobytes()


def array_of_bytes(oid: int, values: Sequence[bytes | None]) -> bytes:
    if not values:
        return struct.pack(">iii", 0, 0, oid)
    parts = [struct.pack(">iiiii", 1, int(None in values), oid, len(values), 1)]
    for value in values:
        parts += [struct.pack(">i", -1)] if value is None else [struct.pack(">i", len(value)), value]
    return b"".join(parts)


def _broken(text: str) -> Unavailable:
    return Unavailable(f"The store does not answer: {text}.", fix="Repeat it; see the server's log if it persists.")


class NotPlain(Exception):
    """The group goes the slow way; nothing of it is stored."""


class FastPath:
    """One connection of the writer's thread, which lends its ids of Observations."""

    def __init__(self, engine: sa.Engine, ids: ObservationIds) -> None:
        self._engine = engine
        self._ids = ids
        self._connection: psycopg.Connection[Any] | None = None
        self._streams: dict[int, tuple[int, Stream]] = {}

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def write(self, requests: Sequence[Sequence[NewObservation]]) -> list[list[int]]:
        """Stores all rows and returns their ids per request. Errors: NotPlain; Unavailable, StorageFull, TimedOut."""
        rows = [row for request in requests for row in request]
        known = self._known({row.datastream_id for row in rows})
        outgoing = Outgoing()
        try:
            streams = {i: stream for i, (_, stream) in known.items()}
            values = [_plain(checked_value(streams, row, received=False)) for row in rows]
            ids = self._ids.take(self._engine, len(rows))
            outgoing.records = [
                LogRecord((of := streams[row.datastream_id]).system, of.log_key, value, i, row.ts_id or "")
                for i, row, value in zip(ids, rows, values, strict=True)
            ]
            payloads = [(shard, outbox.pack(payload)) for shard, payload in outgoing.payloads()]
            parameters = _parameters(ids, rows, known, payloads)
        except (OverflowError, ValueError, TypeError) as error:
            raise NotPlain from error
        hit("store.before_commit")
        try:
            self._call(parameters)
        except NotPlain:
            self._ids.give_back(ids)
            raise
        except psycopg.Error as error:
            raise _broken(message(error)) from error
        hit("store.after_commit")
        each = iter(ids)
        return [[next(each) for _ in request] for request in requests]

    def _known(self, wanted: set[int]) -> dict[int, tuple[int, Stream]]:
        missing = sorted(wanted.difference(self._streams))
        if missing:
            if not 0 < missing[0] <= missing[-1] <= _INT32_MAX:
                raise NotPlain
            if len(self._streams) > _STREAMS_KEPT_MAX:
                self._streams.clear()
                missing = sorted(wanted)
            with self._engine.connect() as connection:
                for row in connection.execute(_LOAD, {"wanted": missing}):
                    # Aggregates are the function's business here.
                    stream = Stream(row[0], *row[2:6], False, row[6], 0, None, None, None, None, None, None)
                    self._streams[stream.id] = (row[1], stream)
        if not wanted <= self._streams.keys():
            raise NotPlain
        return {i: self._streams[i] for i in sorted(wanted)}

    def _call(self, parameters: list[bytes]) -> None:
        connection = self._open()
        result = connection.pgconn.exec_prepared(_STATEMENT, parameters, [1] * len(parameters), 1)
        if result.status == ExecStatus.TUPLES_OK:
            return
        code = (result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) or b"").decode()
        if not code:
            # The connection broke: whether the commit came through, nobody knows.
            self.close()
            self._connection = None
            raise _broken(result.get_error_message().strip())
        self._streams.clear()
        if code.startswith("53") and (full := of_sqlstate(code, "")) is not None:
            raise full
        raise NotPlain(code)

    def _open(self) -> psycopg.Connection[Any]:
        connection = self._connection
        if connection is None or connection.closed:
            _, arguments = self._engine.dialect.create_connect_args(self._engine.url)
            settings = {**_PLANNER, "lock_timeout": str(limits.STORE_BUSY_MS_MAX)}
            options = " ".join(f"-c {name}={value}" for name, value in settings.items())
            timeout = limits.STORE_CONNECT_S_MAX
            more = {"options": options, "connect_timeout": timeout, "application_name": "twinstack-write"}
            connection = psycopg.connect(**{**arguments, **more}, autocommit=True)
            prepared = connection.pgconn.prepare(_STATEMENT, _CALL, _TYPES)
            if prepared.status != ExecStatus.COMMAND_OK:
                connection.close()
                raise NotPlain(prepared.get_error_message())
            self._connection = connection
        return connection


def _plain(value: bytes | TwinstackError) -> bytes:
    if isinstance(value, TwinstackError):
        raise NotPlain from value
    return value


def _parameters(
    ids: list[int],
    rows: Sequence[NewObservation],
    known: dict[int, tuple[int, Stream]],
    payloads: list[tuple[int, bytes]],
) -> list[bytes]:
    """The arguments of `obs_write`. A column of nulls only is empty."""
    datastreams, times, _, ends, result_times, features, *_ = zip(*rows, strict=True)
    columns = [
        result_columns(row.result, row.extra, multi=known[row.datastream_id][1].multi, texts_apart=True) for row in rows
    ]
    results, kinds, extras = zip(*columns, strict=True)
    nan = float("nan")
    return [
        array(_INT8, ids),
        array(_INT8, times),
        array(_FLOAT8, [nan if result is None else result for result in results]),
        array(_INT4, datastreams),
        array(_INT4, _or_empty(features, 0)),
        array(_INT8, _or_empty(ends, _NULL)),
        array(_INT8, _or_empty(result_times, _NULL)),
        "".join([kind or " " for kind in kinds]).encode(),
        array_of_bytes(_TEXT, [dumps(extra).encode() if extra else None for extra in extras] if any(extras) else []),
        array(_INT4, list(known)),
        array(_INT4, [version for version, _ in known.values()]),
        array(_INT4, [shard for shard, _ in payloads]),
        array_of_bytes(_BYTEA, [data for _, data in payloads]),
        struct.pack(">q", limits.OUTBOX_BYTES_MAX),
    ]


def _or_empty(column: Sequence[int | None], null: int) -> list[int]:
    if not any(value is not None for value in column):
        return []
    return [null if value is None else value for value in column]
