"""The write path of Observations: a whole group in one go, rows, aggregates and outbox records together.

The order is: read the stat rows (they are the locks: a deleted Datastream has none), check every row, resolve
features, insert, update the stats. All checks come first and say which row they refuse, so one bad row fails one
request and not the group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from twinstack.core import observations, timestamps
from twinstack.core.errors import InvalidInput, InvalidResult, NotFound, TwinstackError
from twinstack.core.names import DEFAULT_SYSTEM
from twinstack.sensorthings.store import aggregates, features
from twinstack.sensorthings.store.aggregates import Stream
from twinstack.sensorthings.store.outbox import LogRecord
from twinstack.sensorthings.store.prepared import Prepared
from twinstack.sensorthings.store.tables import observation
from twinstack.sensorthings.store.transaction import Tx
from twinstack.sensorthings.store.types import dumps
from twinstack.sensorthings.store.values import NewObservation, result_columns

_INSERT = Prepared(sa.insert(observation))
_COLUMNS = tuple(column.name for column in observation.columns)
Outcome = int | TwinstackError


def insert_requests(
    tx: Tx, requests: Sequence[tuple[Sequence[NewObservation], bool]], *, received: bool = False
) -> list[list[Outcome]]:
    """Stores requests `(rows, partial)`: per row the new id or the error. With `partial` a bad row is left out,
    without it one bad row leaves out its request.

    `received` is the archive's way: rows come from the log, so nothing goes to the outbox, copies may be written,
    and a Thing without Location is no error (the Observation then has no feature).
    """
    known = aggregates.streams(tx.connection, sorted({row.datastream_id for rows, _ in requests for row in rows}))
    checked = [[checked_value(known, row, received=received) for row in rows] for rows, _ in requests]
    resolved = _features(tx, requests, checked, known, received=received)
    result: list[list[Outcome]] = []
    accepted: list[tuple[NewObservation, bytes]] = []
    for (rows, partial), outcomes in zip(requests, checked, strict=True):
        first = next((o for o in outcomes if isinstance(o, TwinstackError)), None)
        if first is not None and not partial:
            result.append([o if isinstance(o, TwinstackError) else first for o in outcomes])
            continue
        out: list[Outcome] = []
        for row, outcome in zip(rows, outcomes, strict=True):
            if isinstance(outcome, TwinstackError):
                out.append(outcome)
            else:
                out.append(len(accepted))  # its place; becomes the id below
                feature_id = resolved.get(row.datastream_id) if row.feature_id is None else row.feature_id
                accepted.append((row._replace(feature_id=feature_id), outcome))
        result.append(out)
    new_ids = store_rows(tx, accepted, known, received=received)
    return [[o if isinstance(o, TwinstackError) else new_ids[o] for o in out] for out in result]


def checked_value(known: dict[int, Stream], row: NewObservation, *, received: bool) -> bytes | TwinstackError:
    """The record's value for the log (empty for a received row), or why the row is refused."""
    stream = known.get(row.datastream_id)
    if stream is None or (stream.copy and not received) or row.multi not in (None, stream.multi):
        kind = "MultiDatastream" if row.multi else "Datastream"
        return NotFound(f"There is no {kind} {row.datastream_id}.", fix=f"Send the id of an existing {kind}.")
    try:
        check_result(stream, row.result)
        return b"" if received else log_value(stream, row)
    except TwinstackError as error:
        return error


def check_result(stream: Stream, result: Any) -> None:
    """Errors: InvalidResult. The members of a MultiDatastream's result are as many as its observationTypes; what the
    log's schemas promise of a registered system's results holds for each (null: not measured)."""
    strict = stream.system != DEFAULT_SYSTEM
    if stream.multi:
        types = stream.types
        if not isinstance(result, list) or len(result) != len(types):
            raise InvalidResult(
                f"A result of the MultiDatastream '{stream.log_key}' is an array of {len(types)}.",
                fix="Send one value for each of its ObservedProperties, in their order.",
                quantity=stream.log_key,
            )
        if strict:
            for value, kind in zip(result, types, strict=True):
                if value is not None:
                    observations.check_result(value, kind, stream.log_key)
    elif strict:
        observations.check_result(result, stream.observation_type, stream.log_key)


def log_value(stream: Stream, row: NewObservation) -> bytes:
    """The Observation as the binding writes it on `.int`. Errors: InvalidResult, RecordTooLarge."""
    attributes = row.extra
    if attributes and "validTime" in attributes:
        attributes = {**attributes, "validTime": timestamps.format_interval_us(*attributes["validTime"])}
    return observations.encode(
        phenomenon_time=timestamps.format_interval_us(row.t, row.t_end),
        result_time=None if row.result_time is None else timestamps.format_us(row.result_time),
        result=row.result,
        datastream_id=stream.id,
        log_key=stream.log_key,
        attributes=attributes,
    )


def _features(
    tx: Tx,
    requests: Sequence[tuple[Sequence[NewObservation], bool]],
    checked: list[list[bytes | TwinstackError]],
    known: dict[int, Stream],
    *,
    received: bool,
) -> dict[int, int]:
    """Resolves the features of all rows, marking in `checked` those without one; Datastream -> generated feature.

    Features are made last, for requests that will be stored: a refused request leaves no orphan.
    """
    good = [
        (i, j, row)
        for i, (rows, _) in enumerate(requests)
        for j, row in enumerate(rows)
        if not isinstance(checked[i][j], TwinstackError)
    ]
    given = sorted({row.feature_id for _, _, row in good if row.feature_id is not None})
    owners = features.systems_of(tx.connection, given) if given else {}
    wanted = sorted({row.datastream_id for _, _, row in good if row.feature_id is None})
    sources = features.generated(tx.connection, wanted) if wanted else {}
    for i, j, row in good:
        if row.feature_id is None:
            if row.datastream_id not in sources and not received:
                checked[i][j] = InvalidInput(
                    f"The Observation has no FeatureOfInterest, and the Thing of Datastream {row.datastream_id} "
                    "has no Location to take one from.",
                    fix="Send a FeatureOfInterest, or give the Thing a Location.",
                )
        elif owners.get(row.feature_id) != known[row.datastream_id].system_id:
            checked[i][j] = NotFound(f"There is no FeatureOfInterest {row.feature_id}.", fix="Send an existing id.")
    needed = {
        row.datastream_id
        for (rows, partial), outcomes in zip(requests, checked, strict=True)
        if partial or not any(isinstance(o, TwinstackError) for o in outcomes)
        for row, outcome in zip(rows, outcomes, strict=True)
        if row.feature_id is None and not isinstance(outcome, TwinstackError)
    }
    made: dict[int, int] = {}
    resolved: dict[int, int] = {}
    for datastream_id in sorted(needed & sources.keys()):
        location_id, feature_id = sources[datastream_id]
        if feature_id is None:
            feature_id = made.get(location_id) or features.generate(tx, location_id)
            made[location_id] = feature_id
        resolved[datastream_id] = feature_id
    return resolved


def store_rows(
    tx: Tx, accepted: list[tuple[NewObservation, bytes]], known: dict[int, Stream], *, received: bool
) -> list[int]:
    """Inserts rows that were checked, and brings what depends on them up to date; the new ids in order."""
    if not accepted:
        return []
    new_ids = tx.observation_ids.take(tx.connection, len(accepted))
    rows: list[tuple[Any, ...]] = []
    touched: dict[int, Stream] = {}
    pairs: set[tuple[int, int]] = set()
    records, texts_apart = tx.outgoing.records, tx.texts_apart
    for new_id, (row, value) in zip(new_ids, accepted, strict=True):
        datastream_id, t, given, t_end, result_time, feature_id, more, ts_id, _ = row
        stream = touched[datastream_id] = known[datastream_id]
        result, kind, extra = result_columns(given, more, multi=stream.multi, texts_apart=texts_apart)
        rows.append((new_id, t, result, datastream_id, feature_id, t_end, result_time, kind, extra and dumps(extra)))
        stream.add(new_id, row)
        if feature_id is not None:
            pairs.add((datastream_id, feature_id))
        if not received:
            records.append(LogRecord(stream.system, stream.log_key, value, new_id, ts_id or ""))
    _INSERT.many(tx.connection, _COLUMNS, rows)
    features.add_pairs(tx.connection, pairs)
    aggregates.write(tx.connection, touched.values())
    return new_ids
